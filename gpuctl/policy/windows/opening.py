"""When a job could start as far as windows go, what ends it, and how that is said."""

from collections.abc import Sequence
from datetime import datetime

from gpuctl.base import duration
from gpuctl.model.reason import Reason
from gpuctl.policy.placement import Placement, place
from gpuctl.policy.space import Space
from gpuctl.policy.values import NodeState, QueueJob
from gpuctl.policy.windows import edges
from gpuctl.policy.windows.clocks import when, when_and_in
from gpuctl.policy.windows.edges import Edge
from gpuctl.policy.wording import shape


def opens(job: QueueJob, nodes: Sequence[NodeState], now: datetime) -> datetime | None:
    """The first instant from ``now`` at which windows would let the job start, were all nodes empty; None: not in sight."""
    # Nodes of one schedule share its spans: one of each kind tells whether an instant is worth a packing of them all.
    kinds = {(id(node.spans), node.owner, node.closing, node.lends_idle): node for node in nodes}.values()
    for moment in (now, *edges.starts(nodes, now)):
        if job.fit_window and moment > now and any(len(node.spans) > 1 and moment >= node.spans[-1].start for node in nodes):
            return None  # nobody looked for the end of that window
        if all(edges.barred(job, edges.at(node, moment)) for node in kinds):
            continue
        if isinstance(place(job, Space.empty([edges.at(node, moment) for node in nodes])), Placement):
            return moment
    return None


def closed(job: QueueJob, nodes: Sequence[NodeState], now: datetime) -> tuple[Reason, datetime | None]:
    """Why windows keep the job waiting and from when on they do not: the sentence says both, the advice what would change it."""
    shut = [node for node in nodes if edges.barred(job, node)]
    handed = [node for node in shut if node.closing is not None]
    foreign = [node for node in shut if node.owner is not None and not edges.admits(job, node.owner, lends=node.lends_idle)]
    opening = opens(job, nodes, now)
    zone = next((node.zone for node in shut), None)
    start = f"can start at {when(opening, now, zone)}" if opening is not None else _no_start(shut, now, zone)
    what = f"needs {shape(job)}"
    if handed and len(handed) >= len(foreign):
        sentence = f"{what}, {_handed_over(handed, len(nodes), now, zone)}, {start}"
    elif foreign:
        owners = ", ".join(sorted({node.owner for node in foreign if node.owner is not None}))
        sentence = f"{what}, {len(foreign)} of {len(nodes)} {'nodes belong' if len(nodes) > 1 else 'node belongs'} to {owners}, {start}"
    else:
        sentence = f"{what}, {_ends_too_soon(job, shut, now)}, {start}"
    command = f"gpuctl windows --team {job.team}" if job.team is not None else "gpuctl windows"
    reason = Reason(code="window", sentence=sentence, what="wait", advice=_advice(job, foreign, shut, now), command=command)
    return reason, opening


def _no_start(shut: Sequence[NodeState], now: datetime, zone: str | None) -> str:
    """Who only knows the present owner cannot name a start."""
    ends = [node.owner_until for node in shut if node.owner_until is not None and not node.spans]
    if ends:
        return f"until {when(min(ends), now, zone)}"
    if any(node.spans for node in shut):
        return "no window ahead lets it start"
    return "can start when that is done" if any(node.closing is not None for node in shut) else "nobody says until when"


def _handed_over(handed: Sequence[NodeState], total: int, now: datetime, zone: str | None) -> str:
    """``2 of 4 nodes are closed: they go to team-train at 22:00 CET``."""
    owners = ", ".join(sorted({node.closing for node in handed if node.closing is not None}))
    at = min((edge for node in handed if (edge := node.owner_until) is not None), default=None)
    goes = f"{'they go' if len(handed) > 1 else 'it goes'} to {owners}" + (f" at {when(at, now, zone)}" if at is not None else " now")
    return f"{len(handed)} of {total} {'nodes' if total > 1 else 'node'} {'are' if len(handed) > 1 else 'is'} closed: {goes}"


def _ends_too_soon(job: QueueJob, shut: Sequence[NodeState], now: datetime) -> str:
    edge = edges.first_edge(job, shut)
    assert edge is not None  # a node that is ours, open and barred is barred by its edge
    ends = f"the window ends at {when(edge.at, now, shut[0].zone)}"
    if job.fit_window and job.time_limit is not None:
        return f"{ends}, too soon for {duration.canonical(job.time_limit)}"
    return f"{ends}, and nothing starts in its last {duration.short((edge.at - edges.closes_at(edge)).total_seconds())} that would be cut"


def _advice(job: QueueJob, foreign: Sequence[NodeState], shut: Sequence[NodeState], now: datetime) -> str | None:
    if foreign and job.team is None:
        return "no team is set: export GPUCTL_TEAM=NAME, or set team in the profile"
    if any(node.lends_idle for node in foreign):
        return "--requeue lets it use what stands idle now, until the owner needs it"
    edge = edges.first_edge(job, shut) if not foreign and all(node.closing is None for node in shut) else None
    if edge is not None:
        most = int((edge.at - now).total_seconds()) // 60 * 60
        shorter = f"a --time of at most {duration.canonical(most)} would start now" if most >= 60 else None
        without = "without --fit-window it starts now and is cut" if job.fit_window and now < edges.closes_at(edge) else None
        return "; ".join(part for part in (shorter, without) if part) or None
    return None


def cut_note(job: QueueJob, edge: Edge, now: datetime, zone: str | None, *, ends_by: datetime | None) -> Reason | None:
    """That a job started now will be cut, when, and what would change it; None when it ends before, or is not cut.

    Args:
        job: the job.
        edge: where it loses its nodes.
        now: the present instant.
        zone: in which people read instants.
        ends_by: when its own time limit ends it, None without one.
    """
    if edge.cut_at is None or (ends_by is not None and ends_by <= edge.cut_at):
        return None
    to = f": the {'nodes go' if job.pods > 1 else 'node goes'} to {edge.owner}" if edge.owner is not None else ""
    sentence = f"will be cut at {when_and_in(edge.cut_at, now, zone)}{to}"
    most = int((edge.cut_at - now).total_seconds()) // 60 * 60
    wishes = [f"--time {duration.canonical(most)} or less ends in time"] if most >= 60 else []
    wishes.append("it goes back in line then" if job.requeue else "--requeue puts it back in line then")
    return Reason(code="window", sentence=sentence, what="change", advice="; ".join(wishes), command="gpuctl windows")
