"""What was read of a pod and not yet asked for: a queue of lists of records, in memory first, then in a file without a name.

Who reads several pods waits for the slowest of them, and what a node has rotated away meanwhile cannot be read again: so reading goes on.
"""

import tempfile
from collections import deque
from itertools import chain
from typing import IO

BLOCK = 1 << 17
"""Most bytes handed out at once, unless one list alone is more. What is larger does not stay in a processor's cache until it is merged."""


class Spool:
    """A queue. Not for two threads at once: whoever shares it holds a lock.

    Args:
        memory: bytes kept in memory.
    """

    def __init__(self, *, memory: int) -> None:
        self.size = 0
        """Bytes that wait, wherever they are."""
        self._memory = memory
        self._kept = 0
        self._queue: deque[tuple[int, list[bytes] | int]] = deque()
        """By entry its bytes, and its records or where they begin in the file."""
        self._file: IO[bytes] | None = None
        self._end = 0
        self._filed = 0

    def put(self, records: list[bytes]) -> None:
        """Append records, none of which has a newline in it."""
        size = sum(map(len, records)) + len(records)
        self.size += size
        if self._kept + size <= self._memory:
            self._kept += size
            self._queue.append((size, records))
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="gpuctl-")  # noqa: SIM115
        self._file.seek(self._end)
        self._file.write(b"\n".join([*records, b""]))
        self._queue.append((size, self._end))
        self._end += size
        self._filed += size

    def take(self) -> list[bytes]:
        """The next records, of at most about ``BLOCK`` bytes; empty when there are none."""
        lists: list[list[bytes]] = []
        size = 0
        while self._queue and (not lists or size + self._queue[0][0] <= BLOCK):
            length, entry = self._queue.popleft()
            size += length
            if isinstance(entry, int):
                entry = self._read(entry, length)
            else:
                self._kept -= length
            lists.append(entry)
        self.size -= size
        return lists[0] if len(lists) == 1 else list(chain.from_iterable(lists))

    def close(self) -> None:
        """Forget everything."""
        self._queue.clear()
        self.size = self._kept = self._filed = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, start: int, length: int) -> list[bytes]:
        assert self._file is not None
        self._file.seek(start)
        records = self._file.read(length).split(b"\n")
        records.pop()
        self._filed -= length
        if not self._filed:
            self._file.seek(0)
            self._file.truncate()
            self._end = 0
        return records
