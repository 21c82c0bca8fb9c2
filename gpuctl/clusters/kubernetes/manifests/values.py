"""What rendering is told about the cluster and the profile, and the engines it can render for."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

from gpuctl.model.place import Node


class Engine(str, Enum):
    """The kind of object a job becomes. With kind ray, ``jobset`` and ``job`` are a Ray without its operator."""

    JOBSET = "jobset"
    TRAINJOB = "trainjob"
    PYTORCHJOB = "pytorchjob"
    JOB = "job"
    RAYJOB = "rayjob"


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """A Kubeflow Trainer runtime that was found. ``cluster_wide``: a ClusterTrainingRuntime."""

    name: str
    framework: str | None = None
    """From the label ``trainer.kubeflow.org/framework``."""
    cluster_wide: bool = True
    restarts: int = 0
    """How often Kubernetes starts a failed rank of it again."""


class ClusterFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a cluster, as far as objects depend on it.

    Attributes:
        name: the cluster's name in the profile; ``exclude`` may say ``name/node``.
        namespace: where the objects go.
        served: group and version of every API that is served (``jobset.x-k8s.io/v1alpha2``).
        runtimes: Trainer runtimes of the cluster and of the namespace.
        queues: Kueue LocalQueues of the namespace.
        nodes: as the inventory knows them, for the share of CPU and memory that goes with a GPU.
        products: values of ``product_label`` on the nodes.
        product_label: the node label that tells the GPU's product.
        tier_labels: whether nodes carry ``gpuctl.io/tier`` (else the tier is the whole cluster's and selects nothing).
        lends: whether nodes are lent here, now or in a window to come.
        preemptible_class: the priority class of pods that borrow, None where the cluster has none.
        below_zero: priority classes of negative value, as far as they could be read; the empty name: pods that name none have one.
        too_short: schedules on whose nodes a job that has to end within its window would not.
    """

    name: str
    namespace: str
    served: frozenset[str] = frozenset()
    runtimes: tuple[Runtime, ...] = ()
    queues: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    products: tuple[str, ...] = ()
    product_label: str = "nvidia.com/gpu.product"
    tier_labels: bool = False
    lends: bool = False
    preemptible_class: str | None = None
    below_zero: tuple[str, ...] = ()
    too_short: tuple[str, ...] = ()

    def serves(self, group_version: str) -> bool:
        """Whether the cluster has this API."""
        return group_version in self.served


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the profile says about jobs on this cluster.

    Attributes:
        pod: the content of ``pod: FILE``, a strategic merge patch of every pod template.
        gpu_map: GPU types by node label (``pool=big`` is ``H100``), for nodes without a product label.
        priority_classes: PriorityClasses by gpuctl priority; a job gets that of the highest priority not above its own.
        git_image: what fetches repositories; None: the job's image, or ``GIT_IMAGE`` for a default that has no git.
        ttl_seconds: how long an ended job stays.
        gang_seconds: how long a started pod waits for its peers.
        head_cpu_millis, head_memory: what a Ray head without GPUs asks for.
    """

    image: str | None = None
    queue: str | None = None
    runtime: str | None = None
    gpu_resource: str = "nvidia.com/gpu"
    gpu_map: Mapping[str, str] = {}
    priority_classes: Mapping[int, str] = {}
    service_account: str | None = None
    git_image: str | None = None
    pull_secret: str | None = None
    ttl_seconds: int = 7 * 86400
    gang_seconds: int = 1800
    ray_version: str | None = None
    head_cpu_millis: int = 2000
    head_memory: int = 8 << 30
    pod: Mapping[str, Any] | None = None
