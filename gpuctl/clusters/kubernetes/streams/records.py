"""From a pod's log, as the API server sends it, to records of :mod:`gpuctl.port.stream`, marked with their ranks.

With ``timestamps=true`` the kubelet puts an RFC 3339 instant before each line: nine digits and ``Z`` as a rule, which is a record's own
instant; other runtimes cut zeros off or write an offset, and those lines are rewritten. The kubelet also says, as a line without an
instant, why it cannot go on. All of it is done by whole lists, in as few steps a line as can be.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from operator import add, itemgetter
from typing import cast

from gpuctl.port.stream import HEADER

INSTANT = 30
"""Bytes of an instant."""
TEXT = 31
"""Where a canonical line's text begins."""
_SHAPE = b"0000-00-00T00:00:00.000000000Z "
_DIGITS = bytes(0x30 if 0x30 <= code <= 0x39 else code for code in range(256))
_TIMED = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)(?: |\Z)")
_FULL = b"oF "
_HEADED = bytes((0x80 + HEADER,))
_UNWANTED = b"\n"
"""How a record ends that nobody wants; no record has a newline."""


def canonical(lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Lines that begin with an instant of 30 bytes and a space; and those that have no instant at all.

    Args:
        lines: whole lines without their newlines.
    """
    if b"".join([line[:TEXT] for line in lines]).translate(_DIGITS) == _SHAPE * len(lines):
        return lines, []
    good: list[bytes] = []
    strange: list[bytes] = []
    for line in lines:
        if line[:TEXT].translate(_DIGITS) == _SHAPE:
            good.append(line)
            continue
        found = _TIMED.match(line)
        if found is None:
            strange.append(line)
        else:
            good.append(_instant(found[1], found[2] or b"", found[3]) + b" " + line[found.end() :])
    return good, strange


def _instant(second: bytes, fraction: bytes, zone: bytes) -> bytes:
    if zone != b"Z":
        text = f"{second.decode()}{zone.decode()}"
        second = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S").encode()
    return second + b"." + fraction.ljust(9, b"0") + b"Z"


class Marking:
    """Marks the lines of one container with whose they are (see :class:`gpuctl.port.stream.Together`).

    Instants that go back (the runtime stamps stdout and stderr in two threads; a clock was set) are held at the latest one before.

    Args:
        marks: what stands at the end of the records of each rank (None: the agent); the lines of others are left out.
        ranks: the pod's ranks, ascending.
        prefixed: whether ``[rank] `` before a line says whose it is. A number that is none of the pod's ranks is the agent's text.
        alone: whose lines they are when there is no prefix; None is the agent.
    """

    def __init__(self, marks: Mapping[int | None, bytes], *, ranks: Sequence[int], prefixed: bool, alone: int | None = None) -> None:
        self.last = b""
        """The latest instant so far."""
        by_width: dict[int, dict[bytes, bytes]] = {}
        for rank in ranks if prefixed else ():
            prefix = b"[%d] " % rank
            by_width.setdefault(len(prefix), {})[prefix] = _ending(marks.get(rank), TEXT + len(prefix))
        self._widths = sorted(((TEXT + width, ends) for width, ends in by_width.items()), key=lambda entry: -len(entry[1]))
        self._otherwise = _ending(marks.get(alone), TEXT)
        self._some = _UNWANTED in (self._otherwise, *(end for _, ends in self._widths for end in ends.values()))
        # What concerns all is told to the agent, else to the first rank.
        self._told = marks[None] if None in marks else marks[min(rank for rank in marks if rank is not None)]

    def records(self, lines: list[bytes], *, since: bytes | None = None) -> list[bytes]:
        """The marked records of those who have a mark.

        Args:
            lines: canonical ones.
            since: what is older is left out.
        """
        lines = self._ascending(lines)
        if since is not None:
            lines = lines[bisect_left(lines, since) :]
        if len(self._widths) == 1 and not self._some:
            ((end, ends),) = self._widths
            try:  # the quick way, on which nothing is kept of a line but its record
                return list(map(add, lines, map(ends.__getitem__, map(itemgetter(slice(TEXT, end)), lines))))
            except KeyError:
                pass
        endings: list[bytes | None] = [None] * len(lines)
        for place, (end, ends) in enumerate(self._widths):
            these = map(ends.get, [line[TEXT:end] for line in lines])
            endings = list(these) if place == 0 else [one or other for one, other in zip(endings, these, strict=True)]
            if None not in endings:
                break
        else:
            endings = [ending or self._otherwise for ending in endings]
        marked = list(map(add, lines, cast("list[bytes]", endings)))
        return [record for record in marked if record[-1:] != _UNWANTED] if self._some else marked

    def part(self, line: bytes, *, since: bytes | None = None) -> list[bytes]:
        """The record of a line that has no newline and will get none."""
        records = [headed(record) for record in self.records([line], since=since)]
        return [record[:32] + b"P" + record[33:] for record in records]

    def note(self, text: str, at: bytes) -> bytes:
        """A record of gpuctl's own, for one of those who have a mark."""
        return b"%b gF %b%b" % (at, text.replace("\n", " ").encode("utf-8", "replace"), _ending(self._told, HEADER))

    def _ascending(self, lines: list[bytes]) -> list[bytes]:
        if not lines:
            return lines
        if lines[0][:INSTANT] >= self.last and lines == sorted(lines):  # which only equal instants make false without need
            self.last = lines[-1][:INSTANT]
            return lines
        heads = [line[:INSTANT] for line in lines]
        if heads[0] < self.last or heads != sorted(heads):
            latest, moved = self.last, []
            for line, head in zip(lines, heads, strict=True):
                if head < latest:
                    line = latest + line[INSTANT:]
                else:
                    latest = head
                moved.append(line)
            lines, self.last = moved, latest
        else:
            self.last = heads[-1]
        return lines


def headed(record: bytes) -> bytes:
    """A marked record with a header's rest before its text."""
    start = record[-1] - 0x80
    return record if start == HEADER else record[:TEXT] + _FULL + record[start:-1] + _HEADED


def is_note(record: bytes) -> bool:
    """Whether a marked record is one of gpuctl's own."""
    return record[-1:] == _HEADED and record[31:32] == b"g"


def plain(records: list[bytes]) -> bytes:
    """Records with an empty mark as a block of records of :mod:`gpuctl.port.stream`."""
    kinds = set(map(itemgetter(-1), records))
    start = kinds.pop() - 0x80
    if kinds or start == HEADER:
        return b"\n".join([*[headed(record)[:-1] for record in records], b""])
    return b"\n".join([*[record[:TEXT] + _FULL + record[start:-1] for record in records], b""])


def now() -> bytes:
    """The present instant."""
    from gpuctl.base import clock

    return f"{clock.now():%Y-%m-%dT%H:%M:%S.%f}000Z".encode()


def last_lines(records: list[bytes], count: int) -> list[bytes]:
    """The last ``count`` of these records, and the notes of gpuctl's own before them."""
    start, left = len(records), count
    while start and left:
        start -= 1
        left -= not is_note(records[start])
    return list(filter(is_note, records[:start])) + records[start:]


def _ending(mark: bytes | None, start: int) -> bytes:
    return _UNWANTED if mark is None else mark + bytes((0x80 + start,))
