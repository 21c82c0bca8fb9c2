"""From pipes to logs: what each process says, with the instant at which it was read."""

import collections
import os
import time
from collections.abc import Callable

from gpuctl.clusters.local.launchplan import LaunchPlan, Task
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


class Streams:
    """Everything one task says: a sink per rank and agent, and the sources that are still open."""

    def __init__(self, plan: LaunchPlan, task: Task, *, watch: Callable[[Source], None], unwatch: Callable[[Source], None]) -> None:
        self._plan = plan
        self._task = task
        self._watch = watch
        self._unwatch = unwatch
        self._sinks: dict[tuple[int, int | None], Sink] = {}
        self._sources: list[Source] = []
        self._flush_at: float | None = None
        self.complaints: list[str] = []
        """Logs that cannot be written, to be told once."""

    def sink(self, node: int, rank: int | None) -> Sink:
        """The log of one rank, or of a node's agent (``rank`` None)."""
        key = (node, rank)
        if key not in self._sinks:
            name = LogName(task=self._task.index, attempt=self._task.attempt, node=node, rank=rank)
            self._sinks[key] = Sink(self._plan.logs, name, limit=self._plan.log_limit, complain=self.complaints.append)
        return self._sinks[key]

    def listen(self, descriptor: int, *, node: int, rank: int | None, stream: bytes) -> None:
        """Read this descriptor into that log until it ends."""
        source = Source(descriptor, self.sink(node, rank), stream)
        self._sources.append(source)
        self._watch(source)

    def ended(self, source: Source) -> None:
        """Nobody has the other end open any more."""
        self._unwatch(source)
        self._sources.remove(source)
        source.close()

    def read_now(self) -> None:
        """Read what is there without waiting to be told."""
        for source in self._sources:
            source.pump()

    def next_flush(self) -> float | None:
        """When :meth:`flush` has something to do, on the monotonic clock."""
        if self._flush_at is None and any(sink.unfinished for sink in self._sinks.values()):
            self._flush_at = time.monotonic() + FLUSH_AFTER
        return self._flush_at

    def flush(self, now: float) -> None:
        """Write lines that have waited for their end long enough."""
        if self._flush_at is not None and now >= self._flush_at:
            self._flush_at = None
            for sink in self._sinks.values():
                sink.flush()

    def tails(self) -> dict[LogName, bytes]:
        """The end of what each rank and agent said."""
        return {sink.name: sink.tail() for sink in self._sinks.values()}

    def close_sources(self) -> None:
        """Take what is left in the pipes; no process has them any more."""
        for source in list(self._sources):
            self.ended(source)

    def close(self) -> None:
        """Nothing more will be said."""
        self.close_sources()
        for sink in self._sinks.values():
            sink.close()


def pipe() -> tuple[int, int]:
    """A pipe, both ends close-on-exec."""
    return os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()


def fifo(path: str) -> int:
    """Make a FIFO and open it for reading and writing, so that it never ends while we have it, whoever comes and goes."""
    os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
