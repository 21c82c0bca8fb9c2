"""A schedule as the spans that a node carries into the scheduler."""

from collections.abc import Collection
from datetime import datetime, timedelta

from gpuctl.base import duration
from gpuctl.model.schedule import Drain, PoolSchedule
from gpuctl.policy.values import OwnerSpan
from gpuctl.policy.windows.owners import Interval, intervals

_REACHES = (timedelta(days=9), timedelta(days=63), timedelta(days=400))


def spans(schedule: PoolSchedule, now: datetime) -> tuple[OwnerSpan, ...]:
    """The present span and those that follow: as far as the next change and nine days at least, 400 days at most. The last has no end."""
    found: list[Interval] = []
    for reach in _REACHES:
        found = list(intervals(schedule, now, now + reach))
        if len(found) > 1:
            break
    return tuple(_span(each, last=each is found[-1]) for each in found)


def history(schedule: PoolSchedule, now: datetime, *, owners: Collection[str] = ()) -> tuple[OwnerSpan, ...]:
    """What came before ``now``, the latest first: as far back as the last change and nine days at least, 400 days at most.

    The first ends at ``now`` at the latest; where the present span began earlier, the first is its own past. With ``owners`` it goes back
    until each of them had the nodes.
    """
    found: list[Interval] = []
    for reach in _REACHES:
        found = list(intervals(schedule, now - reach, now))
        if len(found) > 1 and {each.owner for each in found} >= set(owners):
            break
    return tuple(_span(each, last=False) for each in reversed(found))


def _span(interval: Interval, *, last: bool) -> OwnerSpan:
    window = interval.window
    drain = window.drain if window is not None else Drain()
    return OwnerSpan(
        owner=interval.owner,
        start=interval.start,
        until=None if last else interval.end,
        lends=interval.lends,
        window=window.name if window is not None else None,
        policy=drain.policy,
        notify=duration.parse(drain.notify),
        lead=duration.parse(drain.lead),
        grace=duration.parse(drain.grace),
        max_overrun=duration.parse(drain.max_overrun) if drain.max_overrun is not None else None,
        signal=drain.signal,
    )
