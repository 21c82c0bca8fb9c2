"""What schedules add to nodes that say themselves whose they are: until when, and who follows.

The marks on a node are the truth about now, the schedule is about what comes. Where the two disagree the node is late (or nobody switches
it), and nothing is said about its future.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from gpuctl.base import duration
from gpuctl.model.schedule import PoolSchedule, ScheduleStatus, Window
from gpuctl.policy.values import NodeState, OwnerSpan
from gpuctl.policy.windows import edges, owners
from gpuctl.policy.windows.spans import spans

SLACK = timedelta(minutes=5)
"""How much later than planned a node may change hands before somebody should know: pods take their time to go."""

_BACK = timedelta(days=9)


class Line(NamedTuple):
    """One schedule from the present on, and the zone in which people read it."""

    schedule: str
    spans: tuple[OwnerSpan, ...]
    zone: str


def lines(schedules: Sequence[ScheduleStatus], at: datetime) -> Mapping[str, Line]:
    """By the name of the node the schedule that it is under; of those that can be obeyed."""
    found: dict[str, Line] = {}
    for status in schedules:
        schedule = status.obeyed
        if schedule is not None and status.nodes:
            line = Line(schedule.metadata.name, spans(schedule, at), schedule.spec.time_zone)
            found |= dict.fromkeys(status.nodes, line)
    return found


def applied(states: Sequence[NodeState], under: Mapping[str, Line], at: datetime) -> tuple[NodeState, ...]:
    """The nodes at ``at``, each with what its schedule says of its future; nodes alike share their spans."""
    shared: dict[tuple[str, bool], tuple[OwnerSpan, ...]] = {}
    found = []
    for state in states:
        line = under.get(state.name)
        if state.owner is None or line is None:
            found.append(msgspec.structs.replace(state, at=at))
        elif state.owner != line.spans[0].owner:
            found.append(msgspec.structs.replace(state, at=at, zone=line.zone))
        else:
            key = (line.schedule, state.lends_idle)
            if key not in shared:  # whether idle GPUs are lent now is the node's word, too
                shared[key] = (msgspec.structs.replace(line.spans[0], lends=state.lends_idle), *line.spans[1:])
            found.append(msgspec.structs.replace(edges.owned(state, shared[key], at=at), zone=line.zone))
    return tuple(found)


class Due(NamedTuple):
    """Since when the nodes should be ``owner``'s, and until when what ran there before may hold them (None: as long as it likes)."""

    owner: str
    since: datetime
    until: datetime | None


def due(schedule: PoolSchedule, at: datetime) -> Due:
    """Whose the nodes should be at ``at``, and how much time the last change may take."""
    past = list(owners.intervals(schedule, at - _BACK, at + timedelta(microseconds=1)))
    holder = past[-1].owner
    since, before = past[-1].start, None
    for each in reversed(past[:-1]):
        if each.owner != holder:
            before = each
            break
        since = each.start
    if before is None:
        return Due(holder, since, since + SLACK)
    patience = _patience(before.window)
    return Due(holder, since, since + patience + SLACK if patience is not None else None)


def _patience(window: Window | None) -> timedelta | None:
    policy = window.drain.policy if window is not None else "Evict"
    if policy in ("Evict", "CheckpointThenEvict"):
        return timedelta(0)
    overrun = window.drain.max_overrun if window is not None and policy == "RunToCompletion" else None
    return timedelta(seconds=duration.parse(overrun)) if overrun is not None else None
