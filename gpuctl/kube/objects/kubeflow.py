"""Kubeflow's two generations of training jobs: TrainJob with its runtimes, and PyTorchJob."""

from datetime import datetime

import msgspec

from gpuctl.kube.objects.jobs import ReplicatedJobStatus
from gpuctl.kube.objects.meta import Condition, Document, Meta


class RuntimeRef(msgspec.Struct, rename="camel", gc=False):
    """The runtime a TrainJob is made from."""

    name: str = ""
    api_group: str = ""
    kind: str = ""


class Trainer(msgspec.Struct, rename="camel", gc=False):
    """The training part of a TrainJob."""

    image: str = ""
    num_nodes: int | None = None
    num_proc_per_node: int | str | None = None


class TrainJobSpec(msgspec.Struct, rename="camel", gc=False):
    """What a TrainJob asks for."""

    runtime_ref: RuntimeRef = msgspec.field(default_factory=RuntimeRef)
    trainer: Trainer | None = None
    suspend: bool | None = None
    active_deadline_seconds: int | None = None


class TrainJobStatus(msgspec.Struct, rename="camel", gc=False):
    """How a TrainJob fares (conditions Suspended, Complete, Failed)."""

    conditions: list[Condition] | None = None
    jobs_status: list[ReplicatedJobStatus] | None = None


class TrainJob(msgspec.Struct, gc=False):
    """A ``trainer.kubeflow.org`` TrainJob."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: TrainJobSpec = msgspec.field(default_factory=TrainJobSpec)
    status: TrainJobStatus = msgspec.field(default_factory=TrainJobStatus)


class MlPolicy(msgspec.Struct, rename="camel", gc=False):
    """How a runtime starts its ranks; ``torch`` is set for torchrun."""

    num_nodes: int | None = None
    torch: Document | None = None
    mpi: Document | None = None


class RuntimeSpec(msgspec.Struct, rename="camel", gc=False):
    """What a runtime makes of a TrainJob."""

    ml_policy: MlPolicy | None = None
    template: Document | None = None


class TrainingRuntime(msgspec.Struct, gc=False):
    """A TrainingRuntime or ClusterTrainingRuntime."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: RuntimeSpec = msgspec.field(default_factory=RuntimeSpec)


class ReplicaStatus(msgspec.Struct, gc=False):
    """Pods of one kind of replica by state."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0


class ReplicaSpec(msgspec.Struct, rename="camel", gc=False):
    """One kind of replica."""

    replicas: int | None = None
    restart_policy: str = ""


class RunPolicy(msgspec.Struct, rename="camel", gc=False):
    """How long it may run and what stays."""

    suspend: bool | None = None
    clean_pod_policy: str = ""
    backoff_limit: int | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None


class PyTorchJobSpec(msgspec.Struct, rename="camel", gc=False):
    """What a PyTorchJob asks for; replicas by kind (``Master``, ``Worker``)."""

    pytorch_replica_specs: dict[str, ReplicaSpec] | None = None
    run_policy: RunPolicy | None = None
    nproc_per_node: str | None = None


class PyTorchJobStatus(msgspec.Struct, rename="camel", gc=False):
    """How a PyTorchJob fares (conditions Created, Running, Suspended, Restarting, Succeeded, Failed)."""

    conditions: list[Condition] | None = None
    replica_statuses: dict[str, ReplicaStatus] | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None


class PyTorchJob(msgspec.Struct, gc=False):
    """A ``kubeflow.org`` PyTorchJob."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: PyTorchJobSpec = msgspec.field(default_factory=PyTorchJobSpec)
    status: PyTorchJobStatus = msgspec.field(default_factory=PyTorchJobStatus)
