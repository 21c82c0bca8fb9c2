"""Kueue: queues, what they hold, and the workloads in them (``v1beta1`` and ``v1beta2`` alike as far as we read)."""

from datetime import datetime

import msgspec

from gpuctl.kube.objects.meta import Condition, Meta


class LocalQueueSpec(msgspec.Struct, rename="camel", gc=False):
    """Where a namespace's queue leads. ``stop_policy``: None, Hold, HoldAndDrain."""

    cluster_queue: str = ""
    stop_policy: str | None = None


class LocalQueueStatus(msgspec.Struct, rename="camel", gc=False):
    """How many wait and how many were let in."""

    pending_workloads: int = 0
    reserving_workloads: int = 0
    admitted_workloads: int = 0
    conditions: list[Condition] | None = None


class LocalQueue(msgspec.Struct, gc=False):
    """A namespace's queue."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: LocalQueueSpec = msgspec.field(default_factory=LocalQueueSpec)
    status: LocalQueueStatus = msgspec.field(default_factory=LocalQueueStatus)


class ResourceLimit(msgspec.Struct, rename="camel", gc=False):
    """What a flavor holds of a resource: its own, and what may be borrowed or lent (None: no limit)."""

    name: str = ""
    nominal_quota: str | int = "0"
    borrowing_limit: str | int | None = None
    lending_limit: str | int | None = None


class FlavorQuota(msgspec.Struct, gc=False):
    """One flavor's limits."""

    name: str = ""
    resources: list[ResourceLimit] | None = None


class ResourceGroup(msgspec.Struct, rename="camel", gc=False):
    """Resources that come together, in flavors tried in order."""

    covered_resources: list[str] | None = None
    flavors: list[FlavorQuota] | None = None


class ClusterQueueSpec(msgspec.Struct, rename="camel", gc=False):
    """What a cluster queue holds. Its cohort is ``cohort`` in v1beta1 and ``cohort_name`` in v1beta2."""

    resource_groups: list[ResourceGroup] | None = None
    cohort: str = ""
    cohort_name: str = ""
    queueing_strategy: str = ""
    stop_policy: str | None = None


class ResourceUsage(msgspec.Struct, gc=False):
    """How much of a resource is used, and how much of that is borrowed."""

    name: str = ""
    total: str | int = "0"
    borrowed: str | int = "0"


class FlavorUsage(msgspec.Struct, gc=False):
    """One flavor's use."""

    name: str = ""
    resources: list[ResourceUsage] | None = None


class ClusterQueueStatus(msgspec.Struct, rename="camel", gc=False):
    """How full it is."""

    flavors_reservation: list[FlavorUsage] | None = None
    flavors_usage: list[FlavorUsage] | None = None
    pending_workloads: int = 0
    reserving_workloads: int = 0
    admitted_workloads: int = 0
    conditions: list[Condition] | None = None


class ClusterQueue(msgspec.Struct, gc=False):
    """A cluster's queue."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: ClusterQueueSpec = msgspec.field(default_factory=ClusterQueueSpec)
    status: ClusterQueueStatus = msgspec.field(default_factory=ClusterQueueStatus)


class FlavorSpec(msgspec.Struct, rename="camel", gc=False):
    """Which nodes a flavor is."""

    node_labels: dict[str, str] | None = None
    topology_name: str | None = None


class ResourceFlavor(msgspec.Struct, gc=False):
    """A flavor."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: FlavorSpec = msgspec.field(default_factory=FlavorSpec)


class PodSet(msgspec.Struct, gc=False):
    """Alike pods of a workload."""

    name: str = ""
    count: int = 0


class WorkloadSpec(msgspec.Struct, rename="camel", gc=False):
    """What waits."""

    queue_name: str = ""
    pod_sets: list[PodSet] | None = None
    priority: int | None = None
    active: bool | None = None


class PodSetAssignment(msgspec.Struct, rename="camel", gc=False):
    """The flavors of a set of pods, by resource."""

    name: str = ""
    count: int | None = None
    flavors: dict[str, str] | None = None


class Admission(msgspec.Struct, rename="camel", gc=False):
    """Where it was let in."""

    cluster_queue: str = ""
    pod_set_assignments: list[PodSetAssignment] | None = None


class RequeueState(msgspec.Struct, rename="camel", gc=False):
    """When it is tried again after an eviction."""

    count: int | None = None
    requeue_at: datetime | None = None


class WorkloadStatus(msgspec.Struct, rename="camel", gc=False):
    """How it fares (conditions QuotaReserved, Admitted, PodsReady, Evicted, Preempted, Finished)."""

    conditions: list[Condition] | None = None
    admission: Admission | None = None
    requeue_state: RequeueState | None = None


class Workload(msgspec.Struct, gc=False):
    """A job as Kueue sees it."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: WorkloadSpec = msgspec.field(default_factory=WorkloadSpec)
    status: WorkloadStatus = msgspec.field(default_factory=WorkloadStatus)


class PendingWorkload(msgspec.Struct, rename="camel", gc=False):
    """One that waits, as the visibility API tells. Positions begin at 0."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    priority: int = 0
    local_queue_name: str = ""
    position_in_cluster_queue: int = 0
    position_in_local_queue: int = 0


class PendingWorkloads(msgspec.Struct, gc=False):
    """What ``.../pendingworkloads`` of a queue answers (``visibility.kueue.x-k8s.io``); one object, not a list to page through."""

    items: list[PendingWorkload] | None = None
