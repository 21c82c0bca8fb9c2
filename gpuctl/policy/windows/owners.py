"""Whose nodes, when: the owner at an instant, the intervals of a span of time, the next change.

A window is open when its last start is later than its last end, so nothing has to be remembered and nothing can be missed. It is open from
its start on, and no longer at its end. An exception concerns the windows that *begin* on its date. Of several open windows the highest
priority owns, of equal ones (which ``review`` refuses) the first in the document; where none is open, the default owner.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from gpuctl.model.schedule import PoolSchedule, ScheduleException, Window, day
from gpuctl.policy.windows import cron, selection
from gpuctl.policy.windows.cron import Firing
from gpuctl.policy.windows.selection import PoolNode

HORIZON = timedelta(days=400)
"""How far ahead anything is looked for."""


class Interval(NamedTuple):
    """The nodes are ``owner``'s from ``start`` until ``end`` (not included) by ``window``, None outside every window."""

    start: datetime
    end: datetime
    owner: str
    window: Window | None

    @property
    def lends(self) -> bool:
        """Whether others may use what stands idle."""
        return self.window is not None and self.window.borrow.idle


class Opening(NamedTuple):
    """One time that a window is open, from ``start`` until ``end`` (not included)."""

    start: datetime
    end: datetime
    owner: str


class Change(NamedTuple):
    """At ``at`` the nodes become ``owner``'s."""

    at: datetime
    owner: str
    window: Window | None


def owner(schedule: PoolSchedule, node: PoolNode, at: datetime, *, fleet: Sequence[PoolNode] | None = None) -> str | None:
    """Who owns ``node`` at ``at``; None when the schedule is not about it.

    Args:
        schedule: one that passed ``review``.
        node: a node of any pool.
        at: the instant.
        fleet: every node there is, which matters where the schedule takes only some of those it selects; only ``node`` by default.
    """
    if node.key not in selection.chosen(schedule, fleet if fleet is not None else (node,)):
        return None
    return owner_at(schedule, at)


def owner_at(schedule: PoolSchedule, at: datetime) -> str:
    """Who owns the schedule's nodes at ``at``."""
    best: tuple[int, str] | None = None
    for window in schedule.spec.windows:
        holder = _open_for(schedule, window, at)
        if holder is not None and (best is None or window.priority > best[0]):
            best = (window.priority, holder)
    return best[1] if best is not None else schedule.spec.default_owner


def intervals(schedule: PoolSchedule, start: datetime, end: datetime) -> Iterator[Interval]:
    """[start, end) cut where owner or window changes, without gaps; neighbours differ."""
    spans = [(window, opening) for window in schedule.spec.windows for opening in openings(schedule, window, start, end)]
    edges = sorted({start, end, *(each.start for _, each in spans), *(each.end for _, each in spans)})
    edges = [edge for edge in edges if start <= edge <= end]
    pending = sorted(spans, key=lambda span: span[1].start)
    order = {window.name: position for position, window in enumerate(schedule.spec.windows)}
    live: list[tuple[Window, Opening]] = []
    found: Interval | None = None
    taken = 0
    for first, second in pairwise(edges):
        while taken < len(pending) and pending[taken][1].start <= first:
            live.append(pending[taken])
            taken += 1
        live = [span for span in live if span[1].end > first]
        top = min(live, key=lambda span: (-span[0].priority, order[span[0].name]), default=None)
        holder, window = (top[1].owner, top[0]) if top is not None else (schedule.spec.default_owner, None)
        if found is not None and (found.owner, found.window) == (holder, window):
            found = found._replace(end=second)
            continue
        if found is not None:
            yield found
        found = Interval(first, second, holder, window)
    if found is not None:
        yield found


def next_change(schedule: PoolSchedule, at: datetime) -> Change | None:
    """When the owner changes next after ``at``, and to whom; None when it does not within 400 days."""
    for reach in (timedelta(days=8), HORIZON):
        every = list(intervals(schedule, at, at + reach))
        for each in every:
            if each.owner != every[0].owner:
                return Change(each.start, each.owner, each.window)
    return None


def openings(schedule: PoolSchedule, window: Window, start: datetime, end: datetime) -> Iterator[Opening]:
    """Every time the window is open in [start, end): the first may have begun before, the last may go on (it is told up to ``end``).

    A start while it is open makes it longer where it has a duration, and nothing where an end ends it.
    """
    zone = schedule.spec.time_zone
    exceptions = _by_date(schedule, window)
    before = _running_at(window, zone, exceptions, start)
    starts = [before] if before is not None else []
    moment = start + timedelta(microseconds=1)
    starts += [each for each in cron.firings(window.start, zone, moment, end) if not _skipped(exceptions, each.wall.date())]
    closings = _closings(window, zone, starts, moment, end)
    for position, each in enumerate(starts):
        following = starts[position + 1].at if position + 1 < len(starts) else end
        close = min(closings[position], following, end)
        if close > max(each.at, start):
            yield Opening(max(each.at, start), close, _holder(window, exceptions, each.wall.date()))


def _closings(window: Window, zone: str, starts: Sequence[Firing], since: datetime, end: datetime) -> list[datetime]:
    """When each opening ends: by its duration, else by the first end that is no earlier than its start (with it: it never opens)."""
    if window.seconds is not None:
        return [each.at + timedelta(seconds=window.seconds) for each in starts]
    assert window.end is not None
    ends = list(cron.firings(window.end, zone, since, end)) if starts else []
    found = []
    position = 0
    for each in starts:
        while position < len(ends) and ends[position] < each:
            position += 1
        found.append(ends[position].at if position < len(ends) else end)
    return found


def _open_for(schedule: PoolSchedule, window: Window, at: datetime) -> str | None:
    """The owner that the window gives the nodes at ``at``, None when it is not open."""
    zone = schedule.spec.time_zone
    exceptions = _by_date(schedule, window)
    began = _running_at(window, zone, exceptions, at)
    return _holder(window, exceptions, began.wall.date()) if began is not None else None


def _running_at(window: Window, zone: str, exceptions: Mapping[date, ScheduleException], at: datetime) -> Firing | None:
    """The start by which the window is open at ``at``, None when it is not: when its last start is not later than its last end."""
    began = cron.last(window.start, zone, at)
    while began is not None and _skipped(exceptions, began.wall.date()):
        began = cron.last(window.start, zone, began.at - timedelta(microseconds=1))
    if began is None:
        return None
    if window.seconds is not None:
        return began if at < began.at + timedelta(seconds=window.seconds) else None
    assert window.end is not None
    ended = cron.last(window.end, zone, at)
    return began if ended is None or ended < began else None


def _holder(window: Window, exceptions: Mapping[date, ScheduleException], on: date) -> str:
    exception = exceptions.get(on)
    return exception.owner if exception is not None and exception.owner is not None else window.owner


def _by_date(schedule: PoolSchedule, window: Window) -> Mapping[date, ScheduleException]:
    """The exceptions that concern the window; of two for one date the first counts."""
    found: dict[date, ScheduleException] = {}
    for exception in schedule.spec.exceptions:
        on = day(exception.date)
        if on is not None and (not exception.windows or window.name in exception.windows):
            found.setdefault(on, exception)
    return found


def _skipped(exceptions: Mapping[date, ScheduleException], on: date) -> bool:
    return on in exceptions and exceptions[on].skip
