"""One log on its way into the merge: pulled block by block, parts joined to lines, every record tagged with where it came from."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter

from gpuctl.port.stream import HEADER, RankLog

INSTANT = 30
"""Bytes of a record's instant."""
TAG = 3
"""Bytes at the end of a tagged record that name its source."""
PART = re.compile(rb"P (?<=Z [oeg]P )")  # what stands first is searched for as a whole, and "P " is rare
"""How a part's header ends. Found in a text it means nothing, only that the block is looked at record by record."""
_MOST = 1 << 21

by_instant = itemgetter(slice(0, INSTANT))
"""Sort key of records; the sort must be stable, since lines of one log may share an instant."""


class Source:
    """A log that is being read.

    Args:
        log: what to read.
        number: its place among all logs, below 2,097,152.
        since: instant to begin at.
        follow: go on until its attempt has ended.
        tail: begin with the last so many lines.
    """

    def __init__(self, log: RankLog, number: int, *, since: str | None, follow: bool, tail: int | None) -> None:
        if number >= _MOST:
            raise ValueError(f"at most {_MOST} logs can be merged")
        self.log = log
        self.tag = bytes((0x80 | number >> 14, 0x80 | number >> 7 & 0x7F, 0x80 | number & 0x7F))  # never a newline
        self.open = True
        self.idle = False
        """Whether the last pull found nothing new."""
        self._blocks: Iterator[bytes] = _blocks(log, since=since, follow=follow, tail=tail)
        self._records: list[bytes] = []
        self._parts: dict[bytes, list[bytes]] = {}

    def pull(self) -> bool:
        """Read one block more. Whether there was anything."""
        block = next(self._blocks, None)
        if block is None:
            self.open, self.idle = False, False
            self._records += [head + b"".join(parts) + self.tag for head, parts in self._unfinished()]
            return bool(self._records)
        self.idle = not block
        if block:
            if self._parts or PART.search(block):
                block = self._joined(block)
            tagged = block.replace(b"\n", self.tag + b"\n").split(b"\n")
            tagged.pop()
            self._records += tagged
        return bool(block)

    @property
    def waiting(self) -> int:
        """How many records wait here."""
        return len(self._records)

    @property
    def last(self) -> bytes:
        """The instant of the last record that waits here."""
        return self._records[-1][:INSTANT]

    def take(self, until: bytes | None) -> list[bytes]:
        """Hand over the records at or before an instant (all with None), in order."""
        if until is None:
            taken, self._records = self._records, []
            return taken
        count = bisect_right(self._records, until + b"!")  # behind every record of that instant: their next byte is a space
        taken, self._records = self._records[:count], self._records[count:]
        return taken

    def _joined(self, block: bytes) -> bytes:
        """The block with parts made into full lines, each at the instant at which it was complete."""
        out = []
        for record in block.split(b"\n")[:-1]:
            stream = record[31:32]
            if record[32:33] == b"P":
                self._parts.setdefault(stream, []).append(record)
            elif stream in self._parts:
                begun = self._parts.pop(stream)
                out.append(record[:HEADER] + b"".join([part[HEADER:] for part in begun]) + record[HEADER:] + b"\n")
            else:
                out.append(record + b"\n")
        return b"".join(out)

    def _unfinished(self) -> list[tuple[bytes, list[bytes]]]:
        """Lines that never ended, as (header, texts), by the instant of their last part."""
        rest = [(parts[-1][:32] + b"F ", [part[HEADER:] for part in parts]) for parts in self._parts.values()]
        self._parts = {}
        return sorted(rest, key=lambda entry: by_instant(entry[0]))


def _blocks(log: RankLog, *, since: str | None, follow: bool, tail: int | None) -> Iterator[bytes]:
    return iter(log.blocks(since=since, follow=follow, tail=tail))
