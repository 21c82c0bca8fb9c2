"""Building blocks of the scheduler's tests: nodes, jobs and whole situations, by hand and by hypothesis."""

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from gpuctl.model.job import State
from gpuctl.policy.values import (
    After,
    ArrayProgress,
    Claim,
    NodeState,
    PodPlace,
    QueueJob,
    Running,
    Snapshot,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=timezone.utc)


def minutes(count: float) -> timedelta:
    """A span of minutes."""
    return timedelta(minutes=count)


def job(ident: str, *, age: float = 10, **fields: Any) -> QueueJob:
    """A job submitted ``age`` minutes ago, named ``<ident>-x``."""
    return QueueJob(id=ident, name=f"{ident}-x", submitted_at=NOW - minutes(age), **fields)


def machine(*, size: int = 8, taken: tuple[int, ...] = (), **fields: Any) -> NodeState:
    """A workstation of ``size`` slots, of which the indices ``taken`` are not free."""
    free = tuple(index for index in range(size) if index not in taken)
    fields = {"cluster": "local", "name": "ws", **fields}
    return NodeState(gpus=size, gpus_free=len(free), devices=tuple(range(size)), devices_free=free, **fields)


def counted(name: str, free: int, *, size: int = 8, cluster: str = "res-a", tier: str | None = "reserved", **fields: Any) -> NodeState:
    """A node of a cluster that only counts its GPUs."""
    fields = {"gpu_type": "H100", **fields}
    return NodeState(cluster=cluster, name=name, tier=tier, gpus=size, gpus_free=free, **fields)


def running(ident: str, *slots: tuple[int, ...], ends: float | None = None, age: float = 60, **fields: Any) -> Running:
    """A job that holds these device indices of the workstation; ``ends`` in minutes from now."""
    places = tuple((PodPlace(cluster="local", node="ws", devices=slot, gpus=len(slot)),) for slot in slots)
    fields = {"gpus": len(slots[0]) if slots else 1, **fields}
    ends_at = NOW + minutes(ends) if ends is not None else None
    return Running(id=ident, name=f"{ident}-x", submitted_at=NOW - minutes(age), slots=places, ends_at=ends_at, **fields)


def snapshot(*nodes: NodeState, running: tuple[Running, ...] = (), **fields: Any) -> Snapshot:
    """A snapshot of these nodes."""
    return Snapshot(nodes=nodes, running=running, **fields)


@st.composite
def situations(draw: st.DrawFn, *, claims: bool = True) -> tuple[list[QueueJob], Snapshot]:
    """Workstations or small clusters with running jobs and arrays on them, and a line of waiting jobs."""
    indexed = draw(st.booleans())
    nodes: list[NodeState] = []
    ran: list[Running] = []
    for number in range(draw(st.integers(1, 1 if indexed else 4))):
        size = draw(st.sampled_from([2, 4, 8]))
        free = list(range(size))
        cluster = "local" if indexed else draw(st.sampled_from(["res-a", "od-b"]))
        name = "ws" if indexed else f"n{number}"
        for _ in range(draw(st.integers(0, 2))):
            width = draw(st.integers(1, size))
            parts = draw(st.integers(1, 3))
            array = draw(st.booleans())
            slots = []
            for _ in range(parts if array else 1):
                if len(free) < width:
                    break
                taken, free = tuple(free[:width]), free[width:]
                slots.append((PodPlace(cluster=cluster, node=name, devices=taken if indexed else (), gpus=width),))
            if not slots:
                continue
            progress = None
            if array:
                parallel = draw(st.none() | st.integers(len(slots), 6))
                progress = ArrayProgress(ready=draw(st.integers(0, 4)), running=draw(st.integers(0, len(slots))), parallel=parallel)
            ends = draw(st.none() | st.integers(0, 90))
            ran.append(
                Running(
                    id=f"r{len(ran)}",
                    name=f"r{len(ran)}-x",
                    submitted_at=NOW - minutes(draw(st.integers(0, 100))),
                    priority=draw(st.integers(0, 1)),
                    slots=tuple(slots),
                    ends_at=NOW + minutes(ends) if ends is not None and not array else None,
                    array=progress,
                    shrinking=draw(st.integers(0, len(slots))) if array and draw(st.booleans()) else 0,
                    gpus=width,
                )
            )
        if indexed:
            nodes.append(machine(size=size, taken=tuple(index for index in range(size) if index not in free)))
        else:
            tier = "reserved" if cluster == "res-a" else "on-demand"
            nodes.append(counted(name, len(free), size=size, cluster=cluster, tier=tier))
    waiting = [draw(_waiting(number, indexed)) for number in range(draw(st.integers(0, 7)))]
    rivals = tuple(
        Claim(user="anna", since=NOW - minutes(draw(st.integers(0, 60))), gpus=draw(st.integers(1, 4)))
        for _ in range(draw(st.integers(0, 2)) if claims and indexed else 0)
    )
    return waiting, Snapshot(nodes=tuple(nodes), running=tuple(ran), claims=rivals)


@st.composite
def _waiting(draw: st.DrawFn, number: int, indexed: bool) -> QueueJob:
    fields: dict[str, Any] = {
        "priority": draw(st.integers(0, 1)),
        "pods": draw(st.integers(1, 3)),
        "gpus": draw(st.integers(0, 8)),
        "time_limit": draw(st.none() | st.integers(1, 120).map(lambda count: count * 60)),
    }
    if draw(st.integers(0, 4)) == 0:
        fields["array"] = ArrayProgress(ready=draw(st.integers(0, 4)), running=0, parallel=draw(st.none() | st.integers(1, 4)))
    if draw(st.integers(0, 5)) == 0:
        fields["hold"] = True
    if draw(st.integers(0, 5)) == 0:
        mode = draw(st.sampled_from(["ok", "any", "fail"]))
        fields["after"] = (After(job="gone", name="gone-x", mode=mode, state=draw(st.none() | st.sampled_from(list(State)))),)
    if draw(st.integers(0, 5)) == 0:
        fields["not_before"] = NOW + minutes(draw(st.integers(-5, 5)))
    if indexed and draw(st.integers(0, 4)) == 0:
        fields["devices"] = tuple(sorted(draw(st.sets(st.integers(0, 7), min_size=1, max_size=4))))
    if not indexed and draw(st.integers(0, 3)) == 0:
        fields["cluster"] = draw(st.sampled_from(["res-a", "od-b"]))
    return job(f"j{number}", age=draw(st.integers(0, 100)), **fields)


@st.composite
def contended(draw: st.DrawFn) -> tuple[list[QueueJob], Snapshot]:
    """One node on which jobs with an end run, a head that is too wide to start now, and narrow jobs behind it."""
    indexed = draw(st.booleans())
    free = draw(st.integers(1, 6))
    ran: list[Running] = []
    taken = free
    while taken < 8:
        width = draw(st.integers(1, 8 - taken))
        devices = tuple(range(taken, taken + width))
        place = PodPlace(cluster="local" if indexed else "res-a", node="ws", devices=devices if indexed else (), gpus=width)
        ends = NOW + minutes(draw(st.integers(1, 60)))
        ran.append(Running(id=f"r{taken}", name="r-x", submitted_at=NOW - minutes(200), slots=((place,),), ends_at=ends, gpus=width))
        taken += width
    node = machine(taken=tuple(range(free, 8))) if indexed else counted("ws", free)
    behind = [
        job(
            f"j{number}",
            age=50 - number,
            gpus=draw(st.integers(1, 3)),
            time_limit=draw(st.none() | st.integers(1, 80).map(lambda count: count * 60)),
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    return [job("head", age=100, gpus=draw(st.integers(free + 1, 8))), *behind], Snapshot(nodes=(node,), running=tuple(ran))
