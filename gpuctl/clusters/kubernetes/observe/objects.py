"""What is read here beyond the types of ``kube.objects``: a job's own object of any kind at once, and pods as the inventory reads them.

A list of 10,000 jobs or pods must cost tenths of a second, so these name only the few fields that are looked at.
"""

from datetime import datetime

import msgspec

from gpuctl.kube.objects.jobs import ReplicatedJobStatus
from gpuctl.kube.objects.kubeflow import ReplicaStatus
from gpuctl.kube.objects.meta import Condition, Meta, Quantities


class Read(msgspec.Struct, rename="camel", frozen=True, gc=False, kw_only=True):
    """Base: camelCase, unknown fields ignored."""


# -- pods of anybody ----------------------------------------------------------------------------------------------------------------


class Requests(Read, frozen=True, gc=False, kw_only=True):
    """What a container asks for."""

    requests: Quantities | None = None


class HoldingContainer(Read, frozen=True, gc=False, kw_only=True):
    """A container as far as it takes something of a node; ``restart_policy`` is ``Always`` for a sidecar."""

    name: str = ""
    resources: Requests | None = None
    restart_policy: str = ""


class HoldingSpec(Read, frozen=True, gc=False, kw_only=True):
    """What a pod takes of a node, and nothing else."""

    node_name: str = ""
    containers: list[HoldingContainer] | None = None
    init_containers: list[HoldingContainer] | None = None
    overhead: Quantities | None = None


class Phase(Read, frozen=True, gc=False, kw_only=True):
    """Where a pod stands."""

    phase: str = ""


class HoldingMeta(Read, frozen=True, gc=False, kw_only=True):
    """Whose a pod is."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None


class HoldingPod(Read, frozen=True, gc=False, kw_only=True):
    """A pod of anybody as the inventory reads it: ten thousand of them are read at once."""

    metadata: HoldingMeta = HoldingMeta()
    spec: HoldingSpec = HoldingSpec()
    status: Phase = Phase()


# -- what a job is ------------------------------------------------------------------------------------------------------------------


class RunPolicy(Read, frozen=True, gc=False, kw_only=True):
    """Of a PyTorchJob."""

    suspend: bool | None = None


class RootSpec(Read, frozen=True, gc=False, kw_only=True):
    """The few fields of a job object's specification that its state depends on, of any kind."""

    suspend: bool | None = None
    parallelism: int | None = None
    completions: int | None = None
    run_policy: RunPolicy | None = None
    active_deadline_seconds: int | None = None


class RayRun(Read, frozen=True, gc=False, kw_only=True):
    """When Ray started and ended the entrypoint of a RayJob."""

    start_time: datetime | None = None
    end_time: datetime | None = None


class RootStatus(Read, frozen=True, gc=False, kw_only=True):
    """The union of what the kinds of job objects say in their status."""

    conditions: list[Condition] | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None
    # batch/v1 Job
    active: int | None = None
    ready: int | None = None
    terminating: int | None = None
    succeeded: int | str | None = None
    failed: int | str | None = None
    completed_indexes: str = ""
    failed_indexes: str = ""
    # JobSet
    restarts: int = 0
    restarts_count_towards_max: int | None = None
    terminal_state: str = ""
    replicated_jobs_status: list[ReplicatedJobStatus] | None = None
    # TrainJob
    jobs_status: list[ReplicatedJobStatus] | None = None
    # PyTorchJob
    replica_statuses: dict[str, ReplicaStatus] | None = None
    # RayJob
    job_status: str = ""
    job_deployment_status: str = ""
    reason: str = ""
    message: str = ""
    ray_cluster_name: str = ""
    ray_job_info: RayRun | None = None
    end_time: datetime | None = None


class Root(Read, frozen=True, gc=False, kw_only=True):
    """The object that is a job: Job, JobSet, TrainJob, PyTorchJob or RayJob. ``kind`` is filled in by who lists."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: RootSpec = RootSpec()
    status: RootStatus = RootStatus()
    kind: str = ""


def latest(conditions: list[Condition] | None, *types: str, status: str | None = "True") -> Condition | None:
    """The condition of one of these types that changed last; with this status, unless None.

    Never by position: Kubernetes sorts some lists of conditions by type.
    """
    found = [each for each in conditions or () if (not types or each.type in types) and status in (None, each.status)]
    return max(found, key=_when, default=None)


def condition(conditions: list[Condition] | None, type_: str) -> Condition | None:
    """The condition of this type, whatever its status."""
    return latest(conditions, type_, status=None)


def _when(condition: Condition) -> float:
    at = condition.last_transition_time
    return at.timestamp() if at is not None else 0.0
