"""Identical lines that several ranks wrote together become one: ``[x32] text``.

Two lines fold if their text is the same, they come from different ranks, and the later one is at most ``WINDOW`` after the first one. The
line is shown where the first of them was. The n-th time a rank says something meets the n-th time the others say it. No line is lost or
invented: every line is in exactly one group.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import compress
from operator import eq, itemgetter
from typing import NamedTuple

from gpuctl.pool.logs.gather import nanoseconds
from gpuctl.pool.logs.source import WHENCE

WINDOW = 0.3
"""Seconds."""
_WHENCE = itemgetter(WHENCE)
_INVERTED = bytes([1, 0, *[0] * 254])
_WINDOW_NS = int(WINDOW * 1_000_000_000)
AHEAD = 256
"""Lines per log among which the likes of a line are looked for."""


class Folded(NamedTuple):
    """``records``: the due records that are shown, in order; ``groups``: the tags of all members, by position, where there are several.

    ``texts``: what the shown records say. ``rest``: records behind the due ones that no group took.
    """

    records: list[bytes]
    texts: list[bytes]
    groups: dict[int, frozenset[bytes]]
    rest: list[bytes]


def fold(records: list[bytes], texts: list[bytes], sure: int) -> Folded:
    """Fold the first ``sure`` of these tagged records, which are in order, with whatever belongs to them among all of them.

    Nearly always every rank says a text once, and all of them at once. That is supposed of all lines first, by whole lists, and mended
    where it is not so: a loop over lines would be the slowest part of reading logs.

    Args:
        records: in order.
        texts: what they say.
        sure: how many of them are due.
    """
    places = range(len(records))
    met: dict[bytes, int] = {}
    firsts = list(map(met.setdefault, texts, places))  # where the text of each line is met first: the name of its group
    if len(met) == len(texts):
        return Folded(records[:sure], texts[:sure], {}, records[sure:])
    kept = bytearray(map(eq, firsts, places))
    followers = list(compress(places, kept.translate(_INVERTED)))
    shared = set(map(firsts.__getitem__, followers))
    members = sorted([*sorted(shared), *followers])  # often a few of many lines
    names = list(map(firsts.__getitem__, members))
    tags = list(map(_WHENCE, map(records.__getitem__, members)))
    last = dict(zip(names, members, strict=True))
    counts = Counter(names)
    speakers = frozenset(tags)
    odd = _repeated(list(zip(names, tags, strict=True)))
    odd |= {first for first in shared if first >= sure or not _together(records[first], records[last[first]])}
    groups = {first: speakers for first in shared - odd if counts[first] == len(speakers)}
    loose: dict[int, list[int]] = {first: [] for first in shared - groups.keys()}
    for index, first in zip(members, names, strict=True) if loose else ():
        if first in loose:
            loose[first].append(index)
    for first, indices in loose.items():
        if first not in odd:
            groups[first] = _tags(records, indices)
            continue
        for index in indices:
            kept[index] = 1
        for group in _grouped(records, indices, sure):
            groups[group[0]] = _tags(records, group)
            for index in group[1:]:
                kept[index] = 0
    moved = _shifted(sorted(groups), kept)
    return Folded(
        list(compress(records[:sure], kept)),
        list(compress(texts[:sure], kept)),
        {moved[first]: tags for first, tags in groups.items()},
        list(compress(records[sure:], kept[sure:])),
    )


def _repeated(said: list[tuple[int, bytes]]) -> set[int]:
    """The texts that one log says more than once."""
    if len(set(said)) == len(said):
        return set()
    return {text for (text, _), count in Counter(said).items() if count > 1}


def _tags(records: list[bytes], indices: list[int]) -> frozenset[bytes]:
    return frozenset([records[index][WHENCE] for index in indices])


def _grouped(records: list[bytes], indices: list[int], sure: int) -> Iterator[list[int]]:
    """The groups of several (indices of their members) among records of one text."""
    groups: list[list[int]] = []
    reached: dict[bytes, int] = {}  # how many groups a log has passed: its n-th line meets the n-th of the others
    for index in indices:
        tag = records[index][WHENCE]
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
