"""What windows do to jobs that are there: from when on they let one start, and when they will end one that runs."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes import inventory, schedules
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.model.job import Job
from gpuctl.model.reason import Reason
from gpuctl.model.spec import Tier
from gpuctl.policy import described, placement
from gpuctl.policy.line import later
from gpuctl.policy.placement import Placement
from gpuctl.policy.space import Space
from gpuctl.policy.values import NodeState, QueueJob
from gpuctl.policy.windows import edges, opening


@dataclasses.dataclass(frozen=True)
class Windows:
    """The nodes with their windows at ``now``, by the API server's clock; ``answers`` are those of jobs alike, which a list has many of."""

    nodes: Mapping[str, NodeState]
    now: datetime
    answers: dict[QueueJob, tuple[Reason, datetime | None] | None] = dataclasses.field(default_factory=dict)


def read(around: Surroundings) -> Windows | None:
    """None where the cluster has no schedules, or they or its nodes may not be read: then nobody knows."""
    if not schedules.served(around):
        return None
    now = around.now()
    try:
        held = schedules.held(around, now=now)
        if not held:
            return None
        seen = inventory.read(around, count=False)
    except GpuctlError:
        return None
    return Windows({each.name: each for each in schedules.described(around, seen, held, now=now)}, now)


def concerned(jobs: Iterable[Job]) -> bool:
    """Whether there is any job that a window could keep waiting or end."""
    return any(not job.final and not job.spec.hold for job in jobs)


def told(job: Job, windows: Windows) -> Job:
    """The job with the end that a window sets to it, or with the window that it waits for."""
    if job.final:
        return job
    if job.state.active:
        end = cut_at(job, windows)
        ends_by = min((at for at in (end, job.ends_by) if at is not None), default=None)
        return msgspec.structs.replace(job, ends_by=ends_by) if ends_by != job.ends_by else job
    found = waits(job, windows)
    return job if found is None else msgspec.structs.replace(job, reason=found[0], expected_start=found[1])


def waits(job: Job, windows: Windows) -> tuple[Reason, datetime | None] | None:
    """Why windows keep the job waiting, and from when on they do not; None when they do not."""
    if job.spec.hold:
        return None
    alike = msgspec.structs.replace(_asked(job), id="", name="", submitted_at=windows.now)
    if alike not in windows.answers:
        windows.answers[alike] = _waits(alike, tuple(windows.nodes.values()), windows.now)
    return windows.answers[alike]


def _waits(asked: QueueJob, nodes: tuple[NodeState, ...], now: datetime) -> tuple[Reason, datetime | None] | None:
    if not any(edges.barred(asked, node) for node in nodes):
        return None
    if isinstance(placement.place(asked, Space.empty(nodes)), Placement) or placement.fits_ever(asked, nodes) is not None:
        return None  # it would start but for others, or never
    usable = [node for node in nodes if placement.asks_for(asked, node) and placement.barred(asked, node) in (None, "window")]
    if not any(edges.barred(asked, node) for node in usable):
        return None
    return opening.closed(asked, usable, now)


def cut_at(job: Job, windows: Windows) -> datetime | None:
    """When a window ends the running job at the latest."""
    edge = edges.first_edge(_asked(job), _nodes(job, windows))
    return edge.cut_at if edge is not None else None


def cut_note(job: Job, windows: Windows) -> Reason | None:
    """That a window will end the running job, and when."""
    asked, nodes = _asked(job), _nodes(job, windows)
    edge = edges.first_edge(asked, nodes)
    if edge is None:
        return None
    limit = job.spec.time_seconds
    ends_by = later(job.started_at, limit) if limit is not None and job.started_at is not None else None
    return opening.cut_note(asked, edge, windows.now, nodes[0].zone, ends_by=ends_by)


def note(job: Job, windows: Windows) -> Reason | None:
    """What windows do to the job, for ``why``."""
    if job.state.active:
        return cut_note(job, windows)
    found = waits(job, windows) if not job.final else None
    return found[0] if found is not None else None


def _nodes(job: Job, windows: Windows) -> Sequence[NodeState]:
    last = max((attempt.number for attempt in job.attempts), default=0)
    names = {pod.node for attempt in job.attempts if attempt.number == last for pod in attempt.pods}
    return tuple(windows.nodes[name] for name in sorted(names) if name in windows.nodes)


def _asked(job: Job) -> QueueJob:
    tier: Tier = job.tier if job.tier in ("reserved", "on-demand") else job.spec.tier  # type: ignore[assignment]
    return described.queue_job(job.spec, job_id=job.id, name=job.name, submitted_at=job.submitted_at, team=job.team, tier=tier)
