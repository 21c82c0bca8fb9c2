"""From pipes to logs: what each process says, with the instant at which it was read."""

import collections
import os
import time
from collections.abc import Callable

from gpuctl.clusters.local.logs.layout import LogName
from gpuctl.clusters.local.logs.writer import RankWriter

_CHUNK = 1 << 18
_TAIL = 1 << 16
_BURST = 16
FLUSH_AFTER = 0.2
"""Seconds after which an unfinished line (a prompt, a progress bar) is written as it is."""


class Sink:
    """One rank's log, opened with its first byte, and the end of what it said, kept for evidence."""

    def __init__(self, directory: str, name: LogName, *, limit: int, complain: Callable[[str], None]) -> None:
        self.name = name
        self._directory = directory
        self._limit = limit
        self._broken = False
        self._complain = complain
        self._writer: RankWriter | None = None
        self._tail: collections.deque[bytes] = collections.deque()
        self._tail_size = 0

    def feed(self, stream: bytes, data: bytes) -> None:
        """Take bytes of one stream (``b"o"`` or ``b"e"``)."""
        self._tail.append(data[-_TAIL:])
        self._tail_size += len(self._tail[-1])
        while self._tail_size - len(self._tail[0]) >= _TAIL:
            self._tail_size -= len(self._tail.popleft())
        if self._open():
            assert self._writer is not None
            self._writer.feed(stream, data, time.time_ns())

    def note(self, text: str) -> None:
        """Put a line of gpuctl's own into the log."""
        if self._open():
            assert self._writer is not None
            self._writer.note(text, time.time_ns())

    def tail(self) -> bytes:
        """The last 64 KiB or so of both streams, as they were read."""
        return b"".join(self._tail)

    @property
    def unfinished(self) -> bool:
        """Whether a line waits for its end."""
        return self._writer is not None and self._writer.unfinished

    def flush(self) -> None:
        """Write lines that have waited for their end for a while."""
        if self._writer is not None:
            self._writer.flush(time.time_ns(), older_than_ns=int(FLUSH_AFTER * 1e9))

    def close(self) -> None:
        """Nothing more will come."""
        if self._writer is not None:
            self._writer.close()

    def _open(self) -> bool:
        if self._broken:
            return False
        if self._writer is None:
            try:
                self._writer = RankWriter(self._directory, self.name, limit=self._limit)
            except OSError as error:
                self._broken = True
                self._complain(f"cannot write {self.name.stem}: {error.strerror}")
                return False
        return True


class Source:
    """The reading end of one stream."""

    def __init__(self, descriptor: int, sink: Sink, stream: bytes) -> None:
        self.descriptor = descriptor
        self.sink = sink
        self.stream = stream
        os.set_blocking(descriptor, False)

    def pump(self, rounds: int = _BURST) -> bool:
        """Read what is there, at most ``rounds`` chunks; False once the stream has ended."""
        for _ in range(rounds):
            try:
                data = os.read(self.descriptor, _CHUNK)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self.sink.feed(self.stream, data)
        return True

    def close(self) -> None:
        """Read what is left (a process that was not ours to end may go on writing: that is not waited for) and close."""
        rounds = 64  # 16 MiB; a pipe holds 1 MiB at most, so only an endless writer meets it
        self.pump(rounds)
        os.close(self.descriptor)


def pipe() -> tuple[int, int]:
    """A pipe, both ends close-on-exec."""
    return os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()


def fifo(path: str) -> int:
    """Make a FIFO and open it for reading and writing, so that it never ends while we have it, whoever comes and goes."""
    os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
