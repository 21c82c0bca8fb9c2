"""A schedule as people are shown it: whose the nodes are, whose next, and how the days go."""

from datetime import datetime, timedelta

from gpuctl.model.schedule import NextOwner, OwnedSpan, PoolWindows, ScheduleStatus
from gpuctl.policy.windows import owners


def view(status: ScheduleStatus, at: datetime, *, since: datetime, until: datetime, team: str | None = None) -> PoolWindows:
    """The schedule at ``at``, with the spans of [since, until) and the view of ``team`` (by default of those who ask)."""
    ahead = timedelta(seconds=status.clock_ahead)
    at += ahead
    schedule = status.obeyed
    if schedule is None:
        return PoolWindows(
            name=status.name,
            cluster=status.cluster,
            at=at,
            node_count=status.node_count,
            team=team if team is not None else status.team,
            problems=status.problems,
            notes=status.notes,
        )
    spans = tuple(
        OwnedSpan(
            start=each.start,
            end=each.end,
            owner=each.owner,
            window=each.window.name if each.window is not None else None,
            lends=each.lends,
        )
        for each in owners.intervals(schedule, since, until)
    )
    present = next(iter(owners.intervals(schedule, at, at + (until - since))))
    change = owners.next_change(schedule, at)
    following = None
    if change is not None:
        window = change.window.name if change.window is not None else None
        following = NextOwner(owner=change.owner, at=change.at, window=window)
    return PoolWindows(
        name=status.name,
        cluster=status.cluster,
        time_zone=schedule.spec.time_zone,
        at=at,
        owner=present.owner,
        nodes=status.nodes,
        node_count=status.node_count,
        gpus=status.gpus,
        gpu_type=status.gpu_type,
        window=present.window.name if present.window is not None else None,
        lends=present.lends,
        next=following,
        team=team if team is not None else status.team,
        spans=spans,
        notes=status.notes,
    )
