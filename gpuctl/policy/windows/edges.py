"""What windows mean to one job on one node: whether it may use it, until when, and when it could start.

A node carries its spans: whose it is now, and the owners that follow. Nothing here reads a schedule or a clock, so that whoever describes a
node (a schedule on this machine, labels of a cluster) is judged alike.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from gpuctl.policy.values import NodeState, OwnerSpan, QueueJob

FARTHEST = 128
"""Edges ahead that are tried when a start is looked for."""


class Edge(NamedTuple):
    """At ``at`` the job loses the node.

    Attributes:
        at: the window's end.
        cut_at: when the job is ended at the latest, None when it may go on until it ends by itself.
        owner: whose the node is then, None where that is not known.
        span: the one that ends, with how its jobs make room.
    """

    at: datetime
    cut_at: datetime | None
    owner: str | None
    span: OwnerSpan


def admits(job: QueueJob, owner: str | None, *, lends: bool) -> bool:
    """Whether the job may use nodes of ``owner``: nobody's, its own team's, or those lent while they stand idle."""
    return owner is None or owner == job.team or (lends and job.preemptible)


def barred(job: QueueJob, node: NodeState) -> bool:
    """Whether windows keep the job from starting on the node now.

    They do where the node is another team's, or about to change hands; where the job has to end in time (``--fit-window``) and would not;
    and shortly before the end of a window that would cut it.
    """
    if node.closing is not None:
        return True
    if node.owner is None:
        return False
    if not admits(job, node.owner, lends=node.lends_idle):
        return True
    edge = edge_of(job, node)
    if edge is None or node.at is None:
        return False
    ends = _later(node.at, job.time_limit)
    if ends is not None and ends <= edge.at:
        return False
    return job.fit_window or (edge.cut_at == edge.at and node.at >= closes_at(edge))


def edge_of(job: QueueJob, node: NodeState) -> Edge | None:
    """When the job loses the node, were it there now; None: not in sight."""
    for span, following in zip(node.spans, node.spans[1:], strict=False):
        if not admits(job, following.owner, lends=following.lends):
            return Edge(following.start, cut_at(span, following.start), following.owner, span)
    return None


def closes_at(edge: Edge) -> datetime:
    """From when on nothing starts that the edge would cut: as the window says, and never while what runs is being told to end."""
    return edge.at - timedelta(seconds=max(edge.span.lead, edge.span.grace))


def first_edge(job: QueueJob, nodes: Sequence[NodeState]) -> Edge | None:
    """The edge of a gang: it ends where the first of its nodes is lost."""
    edges = [edge for edge in (edge_of(job, node) for node in nodes) if edge is not None]
    return min(edges, key=lambda edge: (edge.cut_at is None, edge.cut_at or edge.at), default=None)


def starts(nodes: Sequence[NodeState], now: datetime) -> list[datetime]:
    """The instants ahead at which an owner changes, ascending."""
    found = {span.start for node in nodes for span in node.spans if span.start > now}
    return sorted(found)[:FARTHEST]


def next_edge(node: NodeState, now: datetime) -> datetime | None:
    """When the node's owner, or whether it is lent, changes next."""
    if node.spans:
        return next((span.start for span in node.spans if span.start > now), None)
    return node.owner_until if node.owner_until is not None and node.owner_until > now else None


def at(node: NodeState, moment: datetime) -> NodeState:
    """The node as its windows will have it at ``moment``; once it has changed hands it is open again."""
    left = tuple(span for span in node.spans if span.until is None or span.until > moment)
    if not left:
        return node
    then = owned(node, left, at=moment)
    handed_over = node.closing is not None and node.owner_until is not None and moment >= node.owner_until
    return msgspec.structs.replace(then, closing=None) if handed_over else then


def owned(node: NodeState, spans: tuple[OwnerSpan, ...], *, at: datetime) -> NodeState:
    """The node with these spans, the first of which is the present one at ``at``."""
    first = spans[0]
    until = next((span.start for span in spans if span.owner != first.owner), None)
    return msgspec.structs.replace(node, owner=first.owner, owner_until=until, lends_idle=first.lends, spans=spans, at=at)


def cut_at(span: OwnerSpan, edge: datetime) -> datetime | None:
    """When a job that the edge ends is cut by it; None: it may go on until it ends by itself."""
    if span.policy in ("Evict", "CheckpointThenEvict"):
        return edge
    if span.policy == "RunToCompletion" and span.max_overrun is not None:
        return _later(edge, span.max_overrun)
    return None


def _later(moment: datetime, seconds: int | None) -> datetime | None:
    if seconds is None:
        return None
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return None
