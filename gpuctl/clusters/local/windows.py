"""The schedule of this machine: a file, read when it has changed, and what it means for jobs here.

A file that has become wrong must neither let everybody in nor end anything: whoever read it when it was right goes on with that, and who
never did treats the machine as not ready, with the reason.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import GpuctlError, InvalidInput, UsageError
from gpuctl.clusters.local.launchplan import WindowEnd
from gpuctl.model.schedule import PoolSchedule, ScheduleStatus
from gpuctl.model.spec import JobSpec
from gpuctl.policy.values import NodeState, OwnerSpan, QueueJob
from gpuctl.policy.windows import edges

if TYPE_CHECKING:
    from gpuctl.clusters.local.inventory import Machine

Identity = tuple[int, int, int]


class _Read(NamedTuple):
    identity: Identity
    schedule: PoolSchedule


class ScheduleFile:
    """One schedule file. ``path`` is absolute."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._good: _Read | None = None
        self._spans: tuple[PoolSchedule, tuple[OwnerSpan, ...], datetime] | None = None

    def load(self) -> PoolSchedule:
        """What the file holds now.

        Raises:
            UsageError: ``bad-schedule``: it is not there, cannot be read, or is no YAML.
            InvalidInput: ``bad-schedule``: every wrong field.
        """
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                identity = (status.st_ino, status.st_mtime_ns, status.st_size)
                if self._good is not None and self._good.identity == identity:
                    return self._good.schedule
                text = file.read()
        except OSError as error:
            hint = "gpuctl config explain schedule"
            raise UsageError(f"cannot read schedule {self.path}", code="bad-schedule", cause=error.strerror, hint=hint) from error
        from gpuctl.policy.windows import review

        schedule, problems = review.read(text, source=self.path, now=clock.now())
        if schedule is None:
            raise InvalidInput(f"cannot use schedule {self.path}", problems, code="bad-schedule", hint=f"gpuctl windows check {self.path}")
        self._good = _Read(identity, schedule)
        return schedule

    def in_force(self) -> PoolSchedule:
        """What the file holds, or held when it was right.

        Raises:
            GpuctlError: it is wrong, and was never read when it was right.
        """
        try:
            return self.load()
        except GpuctlError:
            if self._good is None:
                raise
            return self._good.schedule

    def spans(self, schedule: PoolSchedule, now: datetime) -> tuple[OwnerSpan, ...]:
        """The present owner and those that follow; remembered until the next change."""
        from gpuctl.policy.windows import spans

        if self._spans is not None:
            known, found, since = self._spans
            if known is schedule and since <= now and (found[0].until is None or now < found[0].until) and (now - since).days < 1:
                return found
        found = spans.spans(schedule, now)
        self._spans = (schedule, found, now)
        return found


def status(file: ScheduleFile, machine: "Machine") -> ScheduleStatus:
    """The schedule, and whether it is about this machine.

    Raises:
        GpuctlError: ``bad-schedule``.
    """
    from gpuctl.policy.windows import selection

    schedule = file.load()
    devices = machine.discover().devices
    node = selection.PoolNode(machine.cluster, machine.node, machine.labels(devices))
    ours = selection.selects(schedule, node)
    return ScheduleStatus(
        cluster=machine.cluster,
        name=schedule.metadata.name,
        schedule=schedule,
        nodes=(machine.node,) if ours else (),
        node_count=1,
        gpus=len(devices) if ours else 0,
        gpu_type=devices[0].type if devices else None,
        team=machine.team,
    )


def labels(cluster: str, name: str, gpu_type: str | None, product: str | None) -> Mapping[str, str]:
    """The labels by which a schedule's ``nodeSelector`` finds this machine: as a node of a Kubernetes cluster would have them."""
    found = {"kubernetes.io/hostname": name, "gpuctl.io/cluster": cluster}
    if gpu_type is not None:
        found["gpuctl.io/gpu"] = gpu_type
    if product is not None:
        found["nvidia.com/gpu.product"] = product.replace(" ", "-")
    return found


def applied(state: NodeState, file: ScheduleFile, known: Mapping[str, str], now: datetime) -> NodeState:
    """The machine as the schedule has it now; as it is where the schedule is not about it."""
    from gpuctl.policy.windows import selection

    try:
        schedule = file.in_force()
    except GpuctlError as error:
        return msgspec.structs.replace(state, ready=False, why=f"{error.message}; gpuctl windows check {file.path}")
    if not selection.selects(schedule, selection.PoolNode(state.cluster, state.name, known)):
        return state
    found = edges.owned(state, file.spans(schedule, now), at=now)
    return msgspec.structs.replace(found, zone=schedule.spec.time_zone)


def end_of(job: QueueJob, spec: JobSpec, state: NodeState) -> WindowEnd | None:
    """How the machine's windows end the job, were it running here now; None when they do not."""
    edge = edges.edge_of(job, state)
    if edge is None or edge.cut_at is None:
        return None
    kill = edge.cut_at.timestamp()
    grace = min(spec.grace_seconds, edge.span.grace)
    signal = edge.span.signal if spec.signal is None and edge.span.policy == "CheckpointThenEvict" else None
    return WindowEnd(
        at=kill,
        grace=grace,
        owner=edge.owner,
        window=edge.span.window,
        signal=signal,
        signal_before=max(edge.span.grace, grace) if signal is not None else 0,
        notify=edge.span.notify,
    )
