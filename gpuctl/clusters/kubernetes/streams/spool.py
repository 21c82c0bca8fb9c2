"""What was read of a pod and not yet asked for: queues of blocks by rank, in memory first, then in a file without a name.

A pod's log is read in one go, but its ranks' logs are asked for one by one, and a rank that says nothing makes all others wait. What a
node has rotated away cannot be read again, so reading goes on.
"""

import tempfile
from collections import deque
from typing import IO

BLOCK = 1 << 20
"""Most bytes handed out at once."""


class Spool:
    """Queues of blocks. Not for two threads at once: whoever shares it holds a lock.

    Args:
        memory: bytes kept in memory, all queues together.
    """

    def __init__(self, *, memory: int) -> None:
        self.size = 0
        """Bytes that wait, wherever they are."""
        self._memory = memory
        self._kept = 0
        self._queues: dict[int | None, deque[bytes | tuple[int, int]]] = {}
        self._file: IO[bytes] | None = None
        self._end = 0
        self._filed = 0

    def put(self, whose: int | None, block: bytes) -> None:
        """Append a block to a queue."""
        self.size += len(block)
        queue = self._queues.setdefault(whose, deque())
        if self._kept + len(block) <= self._memory:
            self._kept += len(block)
            queue.append(block)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="gpuctl-")  # noqa: SIM115
        self._file.seek(self._end)
        self._file.write(block)
        queue.append((self._end, len(block)))
        self._end += len(block)
        self._filed += len(block)

    def take(self, whose: int | None) -> bytes:
        """The next blocks of a queue as one of at most about ``BLOCK`` bytes; empty when there is none."""
        queue = self._queues.get(whose)
        if not queue:
            return b""
        parts: list[bytes] = []
        taken = kept = 0
        while queue:
            entry = queue[0]
            length = len(entry) if isinstance(entry, bytes) else entry[1]
            if parts and taken + length > BLOCK:
                break
            queue.popleft()
            taken += length
            if isinstance(entry, bytes):
                parts.append(entry)
                kept += length
            else:
                parts.append(self._read(entry))
        self.size -= taken
        self._kept -= kept
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def waiting(self, whose: int | None) -> bool:
        """Whether a queue has anything."""
        return bool(self._queues.get(whose))

    def drop(self, whose: int | None) -> None:
        """Forget a queue."""
        for entry in self._queues.pop(whose, ()):
            if isinstance(entry, bytes):
                self.size -= len(entry)
                self._kept -= len(entry)
            else:
                self.size -= entry[1]
                self._gone(entry[1])

    def close(self) -> None:
        """Forget everything."""
        for whose in list(self._queues):
            self.drop(whose)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, entry: tuple[int, int]) -> bytes:
        assert self._file is not None
        self._file.seek(entry[0])
        block = self._file.read(entry[1])
        self._gone(entry[1])
        return block

    def _gone(self, length: int) -> None:
        """So many bytes of the file are wanted no more."""
        self._filed -= length
        if not self._filed and self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._end = 0
