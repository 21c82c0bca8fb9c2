"""Identical lines that several ranks wrote together become one: ``[x32] text``.

Two lines fold if their text is the same, they come from different ranks, and the later one is at most ``WINDOW`` after the first one. The
line is shown where the first of them was. The n-th time a rank says something meets the n-th time the others say it. No line is lost or
invented: every line is in exactly one group.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import compress
from operator import itemgetter
from typing import NamedTuple

from gpuctl.pool.logs.gather import nanoseconds
from gpuctl.pool.logs.source import TAG
from gpuctl.port.stream import HEADER

WINDOW = 0.3
"""Seconds."""
_TEXT = itemgetter(slice(HEADER, -TAG))
_WINDOW_NS = int(WINDOW * 1_000_000_000)
AHEAD = 256
"""Lines per log among which the likes of a line are looked for."""


class Folded(NamedTuple):
    """``records``: the due records that are shown, in order; ``groups``: the tags of all members, by position, where there are several.

    ``rest``: records behind the due ones that no group took.
    """

    records: list[bytes]
    groups: dict[int, frozenset[bytes]]
    rest: list[bytes]


def fold(records: list[bytes], sure: int) -> Folded:
    """Fold the first ``sure`` of these tagged records, which are in order, with whatever belongs to them among all of them."""
    texts = list(map(_TEXT, records))
    if len(set(texts)) == len(texts):
        return Folded(records[:sure], {}, records[sure:])
    where: dict[bytes, list[int]] = {text: [] for text, count in Counter(texts).items() if count > 1}
    for index, text in enumerate(texts):
        if text in where:
            where[text].append(index)
    kept = bytearray(b"\x01") * len(records)
    groups: dict[int, frozenset[bytes]] = {}
    for indices in where.values():
        first = indices[0]
        if first >= sure:
            continue
        tags = frozenset([records[index][-TAG:] for index in indices])
        if len(tags) == len(indices) and _together(records[first], records[indices[-1]]):
            groups[first] = tags  # nearly always: every rank says it once, and at once
            for index in indices[1:]:
                kept[index] = 0
            continue
        for group in _grouped(records, indices, sure):
            groups[group[0]] = frozenset([records[index][-TAG:] for index in group])
            for index in group[1:]:
                kept[index] = 0
    shown = list(compress(records[:sure], kept))
    places = _shifted(sorted(groups), kept)
    return Folded(shown, {places[first]: tags for first, tags in groups.items()}, list(compress(records[sure:], kept[sure:])))


def _grouped(records: list[bytes], indices: list[int], sure: int) -> Iterator[list[int]]:
    """The groups of several (indices of their members) among records of one text."""
    groups: list[list[int]] = []
    reached: dict[bytes, int] = {}  # how many groups a log has passed: its n-th line meets the n-th of the others
    for index in indices:
        tag = records[index][-TAG:]
        place = reached.get(tag, 0)
        while place < len(groups) and not _together(records[groups[place][0]], records[index]):
            place += 1
        reached[tag] = place + 1
        if place < len(groups):
            groups[place].append(index)
        elif index < sure:
            groups.append([index])
    yield from (group for group in groups if len(group) > 1)


def _together(first: bytes, later: bytes) -> bool:
    """Whether the later record is within the window of the first one."""
    return first[:21] == later[:21] or nanoseconds(later) - nanoseconds(first) <= _WINDOW_NS  # [:21] is the same tenth of a second


def _shifted(wanted: list[int], kept: bytearray) -> dict[int, int]:
    """Where these records are once the others are gone. ``wanted`` is ascending."""
    shifted, count, previous = {}, 0, 0
    for index in wanted:
        count += kept.count(1, previous, index)
        shifted[index], previous = count, index
    return shifted
