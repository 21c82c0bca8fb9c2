"""Logs on their way into the merge: pulled batch by batch, parts joined to lines, every record tagged with the log it is of."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter

from gpuctl.port.stream import HEADER, RankLog

INSTANT = 30
"""Bytes of a record's instant."""
TAG = 4
"""Bytes at the end of a tagged record: three that name its log and one that says where its text begins (see ``port.stream.Together``)."""
PART = re.compile(rb"P (?<=Z [oeg]P )")  # what stands first is searched for as a whole, and "P " is rare
"""How a part's header ends. Found in a text it means nothing, only that the block is looked at record by record."""
_MOST = 1 << 21

START = 0x80
"""The last byte of a record is this and where its text begins."""
WHENCE = slice(-TAG, -1)
"""Where in a tagged record its log is named."""

by_instant = itemgetter(slice(0, INSTANT))
"""Sort key of records; the sort must be stable, since lines of one log may share an instant."""


class Source:
    """Logs that are being read as one: a single log, or those that come in one stream (``RankLog.together``).

    Args:
        logs: what to read; several only if they come together.
        number: the first one's place among all logs, the others follow it; all below 2,097,152.
        since: instant to begin at.
        follow: go on until its attempt has ended.
        tail: begin with the last so many lines.
    """

    def __init__(self, logs: Sequence[RankLog], number: int, *, since: str | None, follow: bool, tail: int | None) -> None:
        if number + len(logs) > _MOST:
            raise ValueError(f"at most {_MOST} logs can be merged")
        self.tagged = [(_tag(place), log) for place, log in enumerate(logs, number)]
        """The logs with their tags."""
        self.open = True
        self.idle = False
        """Whether the last pull found nothing new."""
        together = logs[0].together if len(logs) > 1 else None
        self._batches: Iterator[list[bytes]]
        if together is not None:
            marks = {log.rank: tag for tag, log in self.tagged}
            self._batches = _joined(together.records(marks, since=since, follow=follow, tail=tail))
        else:
            ((tag, log),) = self.tagged
            self._batches = _alone(log.blocks(since=since, follow=follow, tail=tail), tag)
        self._records: list[bytes] = []

    def pull(self) -> bool:
        """Read one batch more. Whether there was anything."""
        batch = next(self._batches, None)
        if batch is None:
            self.open, self.idle = False, False
            return False
        self.idle = not batch
        self._records += batch
        batch.clear()  # the generators it came through hold it until the next one, and with it the memory of its records
        return not self.idle

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


def sources(logs: Sequence[RankLog], number: int, *, since: str | None, follow: bool, tail: int | None) -> list[Source]:
    """As few sources as ``logs`` can be read through, numbered from ``number`` on."""
    groups: dict[int, list[RankLog]] = {}
    for log in logs:
        groups.setdefault(id(log if log.together is None else log.together), []).append(log)
    made = []
    for group in groups.values():
        made.append(Source(group, number, since=since, follow=follow, tail=tail))
        number += len(group)
    return made


class _Parts:
    """Lines that have not ended yet, by log and stream."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[bytes, bytes], list[bytes]] = {}

    def join(self, records: list[bytes]) -> list[bytes]:
        """The tagged records with parts made into full lines, each at the instant at which it was complete."""
        out = []
        for record in records:
            start = record[-1] - START
            key = record[WHENCE], record[31:32] if start == HEADER else b"o"
            if _is_part(record):
                self.waiting.setdefault(key, []).append(record)
            elif key in self.waiting:
                begun = self.waiting.pop(key)
                out.append(record[:start] + b"".join([part[HEADER:-TAG] for part in begun]) + record[start:])
            else:
                out.append(record)
        return out

    def rest(self, after: bytes = b"") -> list[bytes]:
        """Lines that never ended, by the instant of their last part, but not before ``after``."""
        rest = []
        for parts in self.waiting.values():
            last = parts[-1]
            text = b"".join([part[HEADER:-TAG] for part in parts])
            rest.append(max(last[:INSTANT], after) + last[INSTANT:32] + b"F " + text + last[-TAG:])
        return sorted(rest, key=by_instant)


def _is_part(record: bytes) -> bool:
    return record[32:33] == b"P" and record[-1] - START == HEADER


def _tag(number: int) -> bytes:
    return bytes((0x80 | number >> 14, 0x80 | number >> 7 & 0x7F, 0x80 | number & 0x7F))  # never a newline


def _alone(blocks: Iterator[bytes], tag: bytes) -> Iterator[list[bytes]]:
    """One log's tagged records. What is only parts yet is no batch: an empty one would say that nothing is new."""
    parts = _Parts()
    ending = tag + bytes((START + HEADER,)) + b"\n"
    for block in blocks:
        records = block.replace(b"\n", ending).split(b"\n")
        records.pop()
        if parts.waiting or PART.search(block):
            records = parts.join(records)
            if not records:
                continue
        yield records
    if parts.waiting:
        yield parts.rest()


def _joined(batches: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    """Batches of several logs, of which a part can only be the last record."""
    parts = _Parts()
    last = b""
    for batch in batches:
        if batch:
            last = batch[-1][:INSTANT]
        if batch and (parts.waiting or _is_part(batch[-1])):
            batch = parts.join(batch)
            if not batch:
                continue
        yield batch
    if parts.waiting:
        yield parts.rest(last)
