"""A place in a log that moves forward, from segment to segment, while a writer appends, rotates and drops."""

import os
import re

from gpuctl.clusters.local.logs.layout import Segments

BLOCK = 1 << 20
DROPPED = re.compile(rb"\d{4}-[^ ]{25} gF \d+ bytes of earlier output were dropped")
"""How every segment but the first begins (see layout)."""


class Cursor:
    """Reads whole records from (segment, offset) on.

    Args:
        files: the log.
        number: segment to begin in.
        offset: where in it; the beginning of a record.
        end: (segment, offset) behind which nothing is read, None to go on for as long as the log grows.
    """

    def __init__(self, files: Segments, number: int, offset: int, *, end: tuple[int, int] | None) -> None:
        self._files = files
        self._number = number
        self._offset = offset
        self._end = end
        self._file = files.open(number)
        self._complete = False
        self._gap = offset == 0 and not os.path.exists(files.path(number - 1)) if number else False
        self.rest = b""
        """What follows the last whole record and has no end yet."""

    def read(self) -> bytes:
        """The next whole records, at most 1 MiB; empty when there are none now."""
        while True:
            if self._file is None:
                self._file = self._files.open(self._number)
                if self._file is None:
                    return b""
            block = self._records()
            if block:
                if self._offset == len(block) and not self._gap and DROPPED.match(block):
                    block = block[block.index(b"\n") + 1 :]  # what it says was dropped has been read
                if block:
                    return block
                continue
            following = self._following()
            if following is None:
                return b""
            if not self._complete:
                self._complete = True  # the next one was made after the last record of this one was written: read the rest first
                continue
            self._gap = following > self._number + 1
            self.close()
            self._number, self._offset, self._complete = following, 0, False

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _records(self) -> bytes:
        assert self._file is not None
        room = BLOCK
        if self._end is not None and self._number >= self._end[0]:
            room = min(BLOCK, self._end[1] - self._offset)
        block = os.pread(self._file, room, self._offset) if room > 0 else b""
        cut = block.rfind(b"\n") + 1
        self.rest = block[cut:]
        self._offset += cut
        return block[:cut] if cut < len(block) else block

    def _following(self) -> int | None:
        """The segment after the present one, None if there is none (yet). Lists the directory only when the present one was dropped."""
        following = None
        if os.path.exists(self._files.path(self._number + 1)):
            following = self._number + 1
        elif self._file is not None and os.fstat(self._file).st_nlink == 0:
            following = min((number for number in self._files.kept() if number > self._number), default=None)
        if self._end is not None and following is not None and following > self._end[0]:
            return None
        return following
