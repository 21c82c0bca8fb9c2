"""Identical lines that several ranks wrote together become one: ``[x32] text``.

Two lines fold if their text is the same, they come from different ranks, and the later one is at most ``WINDOW`` after the first one. The
line is shown where the first of them was. The n-th time a rank says something meets the n-th time the others say it. No line is lost or
invented: every line is in exactly one group.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import compress
from typing import NamedTuple

from gpuctl.pool.logs.gather import nanoseconds
from gpuctl.pool.logs.source import TAG
from gpuctl.port.stream import HEADER

WINDOW = 0.3
"""Seconds."""
AHEAD = 512
"""Lines per log among which the likes of a line are looked for."""


class Folded(NamedTuple):
    """``records``: the due records that are shown, in order; ``groups``: the tags of all members, by position, where there are several.

    ``rest``: records behind the due ones that no group took.
    """

    records: list[bytes]
    groups: dict[int, list[bytes]]
    rest: list[bytes]


class _Group:
    """A line that may yet get company. ``until`` is the last instant for it, in nanoseconds."""

    __slots__ = ("members", "until")

    def __init__(self, tag: bytes, until: int) -> None:
        self.members = [tag]
        self.until = until


def fold(records: list[bytes], sure: int) -> Folded:
    """Fold the first ``sure`` of these tagged records, which are in order, with whatever belongs to them among all of them."""
    texts = [record[HEADER:-TAG] for record in records]
    if len(set(texts)) == len(texts):
        return Folded(records[:sure], {}, records[sure:])
    often = {text for text, count in Counter(texts).items() if count > 1}
    window = int(WINDOW * 1_000_000_000)
    by_text: dict[bytes, list[_Group]] = {text: [] for text in often}
    reached: dict[tuple[bytes, bytes], int] = {}  # how many groups of a text a log has passed
    begun: dict[int, _Group] = {}
    kept = bytearray(b"\x01") * len(records)
    for index in _positions(texts, often):
        text, tag = texts[index], records[index][-TAG:]
        groups = by_text[text]
        at = nanoseconds(records[index])
        place = reached.get((text, tag), 0)
        while place < len(groups) and groups[place].until < at:
            place += 1
        reached[text, tag] = place + 1
        if place < len(groups):
            groups[place].members.append(tag)
            kept[index] = 0
        elif index < sure:
            group = begun[index] = _Group(tag, at + window)
            groups.append(group)
    shown = list(compress(records[:sure], kept))
    grown = {index: group.members for index, group in begun.items() if len(group.members) > 1}
    positions = _shifted(grown, kept)
    return Folded(shown, {positions[index]: members for index, members in grown.items()}, list(compress(records[sure:], kept[sure:])))


def _positions(texts: list[bytes], often: set[bytes]) -> Iterator[int]:
    return (index for index, text in enumerate(texts) if text in often)


def _shifted(wanted: dict[int, list[bytes]], kept: bytearray) -> dict[int, int]:
    """Where these records are once the others are gone. ``wanted`` is in ascending order."""
    shifted, count, previous = {}, 0, 0
    for index in wanted:
        count += kept.count(1, previous, index)
        shifted[index], previous = count, index
    return shifted
