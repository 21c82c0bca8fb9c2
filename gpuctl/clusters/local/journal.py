"""The journal of one launch: an append-only file of JSON lines, written by the supervisor, read by whoever keeps the store.

Each line is one :class:`Entry`, numbered from 1, written with a single ``write`` and ending in a newline; a last line without one (a
crash between the bytes) does not count. Entries are in order of ``seq``, also when the clock goes back; ``at`` is UNIX time in seconds.
The reader remembers the byte offset up to which it has ingested, so that reading twice changes nothing.
"""

import os
import time
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from gpuctl.model import decoding

What = Literal[
    "supervisor",  # data: pid, start (its start time in clock ticks), boot (boot id), cgroup
    "task-started",  # task, attempt; data: pid, slot, devices
    "rank-ended",  # task, attempt, rank; data: code or signal
    "evidence",  # task, attempt, rank; data: code, text, source, data (a map of text: what it carries)
    "task-ended",  # task, attempt; data: state, code or signal
    "stopping",  # task (None for all); data: why, signal
    "grown",  # data: slots
    "shrunk",  # data: slots (how many are left)
    "time-limit",  # data: time_limit
    "note",  # data: text
    "ended",  # the supervisor is done: every process is gone and every device released after this
]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. ``task`` is the array index, None for a job that is no array."""

    seq: int
    at: float
    what: What
    task: int | None = None
    attempt: int | None = None
    rank: int | None = None
    data: dict[str, Any] = {}


_ENCODER = msgspec.json.Encoder()
_DECODER = decoding.decoder(Entry)


class Journal:
    """The writing end. One per supervisor; not for several processes at once.

    A full disk must not end a job: entries that cannot be written wait in memory, in order, and go with the next one that can.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._seq = 0
        self._unwritten = b""

    def write(self, what: What, *, task: int | None = None, attempt: int | None = None, rank: int | None = None, **data: Any) -> Entry:
        """Append one entry; unless it is ``waiting``, a kill -9 cannot lose it any more (a power cut can)."""
        self._seq += 1
        entry = Entry(seq=self._seq, at=time.time(), what=what, task=task, attempt=attempt, rank=rank, data=data)
        self._unwritten += _ENCODER.encode(entry) + b"\n"
        self.flush()
        return entry

    @property
    def waiting(self) -> bool:
        """Whether there are entries that could not be written yet."""
        return bool(self._unwritten)

    def flush(self) -> None:
        """Write what waits, as far as there is room. What was written of an entry counts once its end is."""
        while self._unwritten:
            try:
                written = os.write(self._fd, self._unwritten)
            except OSError:
                return
            self._unwritten = self._unwritten[written:]

    def close(self) -> None:
        """Close the file; what still waits is lost."""
        os.close(self._fd)


def read(path: str, offset: int = 0) -> Iterator[tuple[Entry, int]]:
    """Entries after ``offset`` with the offset behind each. A missing file is an empty journal; an unreadable line is skipped."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            block = file.read()
    except FileNotFoundError:
        return
    position = offset
    for line in block.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return
        position += len(line)
        try:
            yield _DECODER.decode(line), position
        except msgspec.DecodeError:
            continue
