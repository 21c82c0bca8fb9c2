"""From a pod's log, as the API server sends it, to records of :mod:`gpuctl.port.stream`, by rank.

With ``timestamps=true`` the kubelet puts an RFC 3339 instant before each line: nine digits and ``Z`` as a rule, which is a record's own
instant; other runtimes cut zeros off or write an offset, and those lines are rewritten. The kubelet also says, as a line without an
instant, why it cannot go on. All of it is done by list and block, not by line, where the usual form allows it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

INSTANT = 30
"""Bytes of an instant."""
TEXT = 31
"""Where a canonical line's text begins."""
LONGEST = 64 * 1024
"""Longest text of one record, in bytes; a longer line becomes several parts."""
_SHAPE = b"0000-00-00T00:00:00.000000000Z "
_DIGITS = bytes(0x30 if 0x30 <= code <= 0x39 else code for code in range(256))
_TIMED = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)(?: |\Z)")
_FULL = b"oF "


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


class Demux:
    """Divides the lines of one pod among its ranks and its agent.

    Instants that go back (the runtime stamps stdout and stderr in two threads; a clock was set) are held at the latest one before.

    Args:
        ranks: the pod's ranks, ascending.
        prefixed: whether ``[rank] `` before a line says whose it is. A number that is none of the pod's ranks is the agent's text.
        alone: whose lines they are when there is no prefix; None is the agent.
    """

    def __init__(self, *, ranks: Sequence[int], prefixed: bool, alone: int | None = None) -> None:
        self.last = b""
        """The latest instant so far."""
        self._alone = alone
        by_width: dict[int, dict[bytes, int]] = {}
        for rank in ranks if prefixed else ():
            prefix = b"[%d] " % rank
            by_width.setdefault(len(prefix), {})[prefix] = rank
        self._widths = sorted(by_width.items(), key=lambda entry: -len(entry[1]))

    def divide(self, lines: list[bytes], *, since: bytes | None = None) -> dict[int | None, bytes]:
        """Records by rank, None for the agent.

        Args:
            lines: canonical ones.
            since: what is older is left out.
        """
        lines = self._ascending(lines)
        if since is not None:
            lines = lines[bisect_left(lines, since) :]
        divided: dict[int | None, bytes] = {}
        rest = lines
        for width, ranks in self._widths:
            if not rest:
                break
            groups: dict[bytes, list[bytes]] = {prefix: [] for prefix in ranks}
            adders = {prefix: group.append for prefix, group in groups.items()}
            others: list[bytes] = []
            other = others.append
            end = TEXT + width
            for line in rest:
                adders.get(line[TEXT:end], other)(line)
            for prefix, group in groups.items():
                if group:
                    divided[ranks[prefix]] = _records(group, prefix)
            rest = others
        if rest:
            divided[self._alone] = _records(rest, b"")
        return divided

    def part(self, line: bytes) -> tuple[int | None, bytes]:
        """The record of a line that has no newline and will get none."""
        whose, records = next(iter(self.divide([line]).items()))
        return whose, records[:32] + b"P " + records[34:] if records.count(b"\n") == 1 else records

    def _ascending(self, lines: list[bytes]) -> list[bytes]:
        if not lines:
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


def note(text: str, at: bytes) -> bytes:
    """A record of gpuctl's own."""
    return b"%b gF %b\n" % (at, text.replace("\n", " ").encode("utf-8", "replace"))


def now() -> bytes:
    """The present instant."""
    from gpuctl.base import clock

    return f"{clock.now():%Y-%m-%dT%H:%M:%S.%f}000Z".encode()


def last_lines(blocks: Iterable[bytes], count: int) -> list[bytes]:
    """The records of the last ``count`` lines in ``blocks``; parts belong to the line they are of."""
    records = b"".join(blocks).split(b"\n")
    records.pop()
    start, left = len(records), count
    while start:
        if records[start - 1][32:33] == b"F" or start == len(records):
            left -= 1
            if left < 0:
                break
        start -= 1
    return [b"\n".join([*records[start:], b""])] if start < len(records) else []


def _records(lines: list[bytes], prefix: bytes) -> bytes:
    """Lines of one rank as records, their prefix gone."""
    block = b"\n".join([*lines, b""])
    if len(block) > LONGEST and max(map(len, lines)) > LONGEST:
        return b"".join([_parts(line[:TEXT], line[TEXT + len(prefix) :]) for line in lines])
    if prefix:
        mark, head = b"Z " + prefix, b"Z " + _FULL
        divided = block.replace(mark, head)
        if len(divided) - len(block) == (len(head) - len(mark)) * len(lines):  # it stands nowhere but after the instants
            return divided
    start = TEXT + len(prefix)
    return b"\n".join([*[line[:TEXT] + _FULL + line[start:] for line in lines], b""])


def _parts(head: bytes, text: bytes) -> bytes:
    out = []
    while len(text) > LONGEST:
        out.append(head + b"oP " + text[:LONGEST] + b"\n")
        text = text[LONGEST:]
    out.append(head + _FULL + text + b"\n")
    return b"".join(out)
