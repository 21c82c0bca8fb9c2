"""An owner takes back what it has lent: which borrowers give their devices back so that a waiting job of the owner can start.

Only borrowers on nodes of the job's own team, only those that may be stopped, and only if that lets the job start: a job that is
stopped for nothing is lost time. The last in line goes first.
"""

from collections.abc import Sequence

from gpuctl.policy.line import as_job, rank
from gpuctl.policy.placement import Placement, place
from gpuctl.policy.space import Space
from gpuctl.policy.values import QueueJob, Reclaim, Running, Snapshot
from gpuctl.policy.windows import edges


def reclaim(waiting: Sequence[QueueJob], space: Space, snapshot: Snapshot) -> tuple[Reclaim, ...]:
    """The borrowers to stop.

    Args:
        waiting: jobs that got nothing, in the order of the line.
        space: what is free after everything that starts now.
        snapshot: nodes and running jobs.
    """
    borrowers = sorted((each for each in snapshot.running if _borrows(each, snapshot)), key=rank, reverse=True)
    if not borrowers:
        return ()
    free = space.copy()
    for each in [one for one in borrowers if one.reclaimed]:
        _give(free, each)
    left = [one for one in borrowers if not one.reclaimed]
    found: list[Reclaim] = []
    for job in waiting:
        taken = _for_one(job, free, left, snapshot)
        if taken is None:
            continue
        for each in taken:
            _give(free, each)
            left.remove(each)
            found.append(Reclaim(job=each.id, owner=job.team or "", to=job.name))
        placed = place(job, free)
        assert isinstance(placed, Placement)
        free.take(placed.pods, cpu=job.cpu_millis, memory=job.memory)
    return tuple(found)


def owners(snapshot: Snapshot) -> frozenset[str | None]:
    """Whose the nodes are; None among them where some are nobody's."""
    return frozenset(node.owner for node in snapshot.nodes)


def borrows(job: QueueJob, owners: frozenset[str | None]) -> bool:
    """Whether the job could only use what others lend: then it stands behind the owners' own."""
    return bool(owners) and None not in owners and job.team not in owners


def _for_one(job: QueueJob, free: Space, left: Sequence[Running], snapshot: Snapshot) -> list[Running] | None:
    """The borrowers whose devices let the job start, the fewest in their order; None where all of them together do not."""
    ours = {(node.cluster, node.name) for node in snapshot.nodes if node.owner is not None and node.owner == job.team}
    if isinstance(place(job, free), Placement):
        return []
    then = free.copy()
    taken: list[Running] = []
    for each in left:
        if not any((pod.cluster, pod.node) in ours for slot in each.slots for pod in slot):
            continue
        _give(then, each)
        taken.append(each)
        if isinstance(place(job, then), Placement):
            return _needed(job, free, taken)
    return None


def _needed(job: QueueJob, free: Space, taken: Sequence[Running]) -> list[Running]:
    """``taken`` without those that the job does not need: the last ones may have been enough."""
    kept = list(taken)
    for each in taken:
        then = free.copy()
        for other in kept:
            if other is not each:
                _give(then, other)
        if isinstance(place(job, then), Placement):
            kept.remove(each)
    return kept


def _borrows(running: Running, snapshot: Snapshot) -> bool:
    held = {(pod.cluster, pod.node) for slot in running.slots for pod in slot}
    nodes = [node for node in snapshot.nodes if (node.cluster, node.name) in held]
    asked = as_job(running)
    return running.preemptible and any(
        node.owner is not None and node.lends_idle and not edges.admits(asked, node.owner, lends=False) for node in nodes
    )


def _give(space: Space, running: Running) -> None:
    for slot in running.slots:
        space.give(slot, cpu=running.cpu_millis, memory=running.memory)
