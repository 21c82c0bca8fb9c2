"""Quotas: whether one covers a gang, and what a cluster without quotas shows in their place."""

from collections.abc import Iterable, Sequence

import msgspec

from gpuctl.model.quota import DEVICES, SHAPES, Quota
from gpuctl.model.reason import Reason
from gpuctl.policy.placement import same_type
from gpuctl.policy.space import Room
from gpuctl.policy.values import NodeState, QueueJob
from gpuctl.policy.wording import SLOT_TYPES

NEVER = "quota-too-small"
"""The code of a quota that could never cover the gang; ``quota``: it does not now."""


def usable(nodes: Iterable[NodeState], *, free: int | None = None) -> dict[str, int]:
    """How many pods of 8, 4, 2 and 1 GPUs would start now on these nodes, with ``free`` GPUs at most; no size that no node has."""
    rooms = [Room.now(node) for node in nodes if node.ready]
    largest = max((Room.empty(room.node).free for room in rooms), default=0)
    counts = {size: sum(room.free // size for room in rooms) for size in SHAPES if size <= largest}
    return {str(size): count if free is None else min(count, max(0, free) // size) for size, count in counts.items()}


def devices_as_they_are(nodes: Iterable[NodeState], *, tier: str | None = None) -> tuple[Quota, ...]:
    """One row per cluster, tier, GPU type and owner for a place without quotas: its devices, and those of them that nobody holds now."""
    groups: dict[tuple[str, str | None, str | None, str | None], list[NodeState]] = {}
    for node in nodes:
        groups.setdefault((node.cluster, node.tier or tier, node.gpu_type, node.owner), []).append(node)
    rows = []
    for (cluster, own_tier, gpu_type, owner), members in sorted(groups.items(), key=lambda group: tuple(word or "" for word in group[0])):
        empty = sum(Room.empty(node).free for node in members)
        free = sum(Room.now(node).free for node in members if node.ready)
        if not empty:
            continue
        rows.append(
            Quota(
                cluster=cluster,
                name=DEVICES,
                source=DEVICES,
                team=owner,
                tier=own_tier,
                gpu_type=gpu_type,
                nominal=empty,
                borrowed=0,
                borrowable=0,
                used=empty - sum(Room.now(node).free for node in members),
                free=free,
                usable=usable(node for node in members if node.closing is None),
            )
        )
    return with_windows(rows, [node for members in groups.values() for node in members])


def with_windows(rows: Iterable[Quota], nodes: Sequence[NodeState]) -> tuple[Quota, ...]:
    """``rows`` with the GPUs that windows give to their team now, and until when."""
    given = [node for node in nodes if node.spans and node.spans[0].window is not None]
    found = []
    for row in rows:
        own = [node for node in given if node.owner == row.team and _is_for(node, row)] if row.team is not None else []
        if own:
            until = min((node.owner_until for node in own if node.owner_until is not None), default=None)
            row = msgspec.structs.replace(row, window=sum(Room.empty(node).free for node in own), until=until)
        found.append(row)
    return tuple(found)


def short_of(job: QueueJob, rows: Sequence[Quota], *, tier: str | None, queue: str | None) -> tuple[Reason, int] | None:
    """Why the quotas do not cover the gang, and how many GPUs are missing; None when they may, or none is known to apply.

    Several rows may apply (one per flavour and queue): one that may cover the gang is enough. What others leave idle and could be borrowed
    without a limit is not known here, and unknown is never zero. The code is ``quota`` where an unused quota would do, else
    ``quota-too-small``.
    """
    asked = job.pods * job.gpus
    counted = [row for row in rows if row.source != DEVICES and _applies(row, job, tier, queue)]
    known = [(row, left) for row in counted if (left := _left(row)) is not None]
    if not asked or not counted or len(known) < len(counted) or any(left >= asked for _, left in known):
        return None
    best, left = max(known, key=lambda pair: (pair[1], pair[0].name))
    most = max(_most(row) for row, _ in known)
    kind = best.gpu_type if best.gpu_type not in SLOT_TYPES else "GPUs"
    if most < asked:
        sentence = f"quota {best.name} is {most} {kind} at most"
        return Reason(code=NEVER, sentence=sentence, what="change", command="gpuctl quota"), asked - most
    return Reason(
        code="quota", sentence=f"quota {best.name} has {left} of {most} {kind} left", what="wait", command="gpuctl quota"
    ), asked - left


def _left(row: Quota) -> int | None:
    """The most that could be taken now; None when nobody knows."""
    if row.free is None or row.borrowable is None or (row.borrowable and row.borrowed is None):
        return None
    return row.free + max(0, row.borrowable - (row.borrowed or 0))


def _most(row: Quota) -> int:
    """The most that it may ever be, for a row whose ``_left`` is known."""
    return (row.nominal if row.nominal is not None else (row.used or 0) + (row.free or 0)) + (row.borrowable or 0)


def _applies(row: Quota, job: QueueJob, tier: str | None, queue: str | None) -> bool:
    if (queue is not None and row.queues and queue not in row.queues) or (queue is None and row.default is False):
        return False
    if row.team is not None and job.team is not None and row.team != job.team:
        return False
    if row.tier is not None and tier is not None and row.tier != tier:
        return False
    return row.gpu_type is None or job.gpu_type is None or same_type(job.gpu_type, row.gpu_type)


def with_shapes(rows: Iterable[Quota], nodes: Sequence[NodeState]) -> tuple[Quota, ...]:
    """``rows`` of one cluster with the shapes that its nodes allow now, where the cluster itself did not say."""
    found = []
    for row in rows:
        if not row.usable:
            fitting = [node for node in nodes if _is_for(node, row) and _open(node, row)]
            if fitting:
                row = msgspec.structs.replace(row, usable=usable(fitting, free=row.free))
        found.append(row)
    return tuple(found)


def _is_for(node: NodeState, row: Quota) -> bool:
    return (row.tier is None or node.tier is None or node.tier == row.tier) and (
        row.gpu_type is None or node.gpu_type == row.gpu_type or same_type(row.gpu_type, node.gpu_type)
    )


def _open(node: NodeState, row: Quota) -> bool:
    """Whether the team of the row may start something on the node now, as far as it says whose it is."""
    return node.closing is None and (node.owner is None or row.team is None or node.owner == row.team)
