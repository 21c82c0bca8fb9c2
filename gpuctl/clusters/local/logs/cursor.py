"""A place in a log that moves forward, from segment to segment, while a writer appends, rotates and drops.

No file stays open between two reads: an array of a thousand tasks has a thousand logs, and a process 1,024 descriptors.
"""

import os
import re

from gpuctl.clusters.local.logs.layout import Segments

BLOCK = 1 << 18
"""Bytes per read: large enough to be fast, small enough to hold one for each of hundreds of ranks."""
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
        self._complete = False
        self._gap = offset == 0 and number > 0 and not os.path.exists(files.path(number - 1))
        self.rest = b""
        """What follows the last whole record and has no end yet."""

    def read(self) -> bytes:
        """The next whole records, at most ``BLOCK`` bytes; empty when there are none now."""
        while True:
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
            self._number, self._offset, self._complete = following, 0, False

    def _records(self) -> bytes:
        room = BLOCK
        if self._end is not None and self._number >= self._end[0]:
            room = min(BLOCK, self._end[1] - self._offset)
        file = self._files.open(self._number) if room > 0 else None
        if file is None:
            self.rest = b""
            return b""
        try:
            block = os.pread(file, room, self._offset)
        finally:
            os.close(file)
        cut = block.rfind(b"\n") + 1
        self.rest = block[cut:]
        self._offset += cut
        return block[:cut] if cut < len(block) else block

    def _following(self) -> int | None:
        """The segment after the present one, None if there is none (yet). Lists the directory only when the present one was dropped."""
        following = None
        if os.path.exists(self._files.path(self._number + 1)):
            following = self._number + 1
        elif not os.path.exists(self._files.path(self._number)):
            following = min((number for number in self._files.kept() if number > self._number), default=None)
        if self._end is not None and following is not None and following > self._end[0]:
            return None
        return following
