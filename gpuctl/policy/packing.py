"""Packing equal pods onto the nodes of one cluster and tier: which nodes, and how many pods on each.

All pods of a gang are of one size, so whether it fits is exact: the sum of what each node can hold. What needs a search is the choice
among the fits: fewest entirely free nodes opened, then fewest nodes, then least left over on them. The first two are greedy and exact.
The third is a small knapsack, searched depth first over classes of like nodes within a bounded number of steps, from the greedy answer
on; so with more classes than that the answer is still a fit, only its left-over may not be the least.
"""

from collections.abc import Sequence
from typing import NamedTuple

STEPS = 4000
"""Most steps of the search; a few milliseconds. Twenty nodes of any sizes stay far below."""
CLASSES = 200
"""Most classes of like nodes that are searched at all: the depth of the recursion."""


class Option(NamedTuple):
    """One node: how many pods it can hold (at least 1), its free devices, whether it is entirely free, and its number among the rooms."""

    capacity: int
    free: int
    whole: bool
    room: int


class Packing(NamedTuple):
    """What to put where, as (room, pods), with the three numbers by which packings are compared."""

    opened: int
    nodes: int
    left: int
    pods: tuple[tuple[int, int], ...]


def pack(options: Sequence[Option], pods: int, gpus: int) -> Packing | None:
    """The best way to put ``pods`` pods of ``gpus`` devices onto these nodes, None when they do not fit."""
    if sum(option.capacity for option in options) < pods:
        return None
    ranked = sorted(options, key=lambda option: (-option.capacity, option.free, option.room))
    whole = [option for option in ranked if option.whole]
    broken = [option for option in ranked if not option.whole]
    in_broken = sum(option.capacity for option in broken)
    opened = _fewest(whole, pods - in_broken)
    more = _fewest(broken, pods - sum(option.capacity for option in whole[:opened]))
    greedy = whole[:opened] + broken[:more]
    chosen = _least_left(whole, opened, broken, more, pods, greedy)
    chosen.sort(key=lambda option: (option.free, option.room))
    placed: list[tuple[int, int]] = []
    rest = pods
    # The fullest nodes are filled first, so that what is left over is left in one piece.
    for option in chosen:
        count = min(option.capacity, rest)
        placed.append((option.room, count))
        rest -= count
    placed.sort()
    left = sum(option.free for option in chosen) - pods * gpus
    return Packing(opened, len(chosen), left, tuple(placed))


def _fewest(ranked: Sequence[Option], needed: int) -> int:
    count = 0
    while needed > 0:
        needed -= ranked[count].capacity
        count += 1
    return count


def _least_left(whole: Sequence[Option], opened: int, broken: Sequence[Option], more: int, pods: int, greedy: list[Option]) -> list[Option]:
    """The ``opened`` + ``more`` nodes that hold all pods with the fewest free devices among them."""
    classes = _classes(whole, opened) + _classes(broken, more)
    split = len(_classes(whole, opened))
    if len(classes) > CLASSES:
        return greedy
    sizes = [(members[0].capacity, members[0].free, len(members)) for members in classes]
    best_free = sum(option.free for option in greedy)
    best: list[int] | None = None
    steps = STEPS
    counts: list[int] = []

    def descend(at: int, wholes: int, brokens: int, needed: int, free: int) -> None:
        nonlocal best, best_free, steps
        steps -= 1
        if steps < 0 or free >= best_free:
            return
        if at == len(sizes):
            if needed <= 0 and not wholes and not brokens:
                best, best_free = [*counts], free
            return
        left = wholes if at < split else brokens
        if at == split and wholes:
            return
        capacity, each, members = sizes[at]
        # Classes are in descending capacity within their half: nothing behind this one can hold more per node.
        reach = capacity * left + (sizes[split][0] * brokens if at < split and split < len(sizes) else 0)
        if needed > reach:
            return
        for count in range(min(left, members), -1, -1):
            counts.append(count)
            descend(
                at + 1,
                wholes - count if at < split else wholes,
                brokens if at < split else brokens - count,
                needed - count * capacity,
                free + count * each,
            )
            counts.pop()

    descend(0, opened, more, pods, 0)
    if best is None:
        return greedy
    return [option for members, count in zip(classes, best, strict=True) for option in members[:count]]


def _classes(options: Sequence[Option], most: int) -> list[list[Option]]:
    """Like nodes together, in descending capacity; of each class no more members than could be used."""
    if not most:
        return []
    grouped: dict[tuple[int, int], list[Option]] = {}
    for option in options:
        members = grouped.setdefault((option.capacity, option.free), [])
        if len(members) < most:
            members.append(option)
    return list(grouped.values())
