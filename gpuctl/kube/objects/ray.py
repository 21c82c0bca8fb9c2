"""KubeRay's RayJob and RayCluster."""

from datetime import datetime

import msgspec

from gpuctl.kube.objects.meta import Condition, Meta


class RayJobSpec(msgspec.Struct, rename="camel", gc=False):
    """What a RayJob asks for, as far as we read it back."""

    entrypoint: str = ""
    submission_mode: str = ""
    shutdown_after_job_finishes: bool = False
    active_deadline_seconds: int | None = None
    backoff_limit: int | None = None
    suspend: bool = False


class RayClusterState(msgspec.Struct, rename="camel", gc=False):
    """The Ray cluster below a RayJob."""

    state: str = ""
    reason: str = ""
    available_worker_replicas: int = 0
    ready_worker_replicas: int = 0
    desired_worker_replicas: int = 0
    max_worker_replicas: int = 0
    conditions: list[Condition] | None = None


class RayJobStatus(msgspec.Struct, rename="camel", gc=False):
    """How a RayJob fares. Read both states: a job may have ended well while its deployment has not, and the reverse."""

    job_id: str = ""
    job_status: str = ""
    job_deployment_status: str = ""
    reason: str = ""
    message: str = ""
    ray_cluster_name: str = ""
    dashboard_url: str = msgspec.field(default="", name="dashboardURL")
    start_time: datetime | None = None
    end_time: datetime | None = None
    succeeded: int | None = None
    failed: int | None = None
    ray_cluster_status: RayClusterState | None = None


class RayJob(msgspec.Struct, gc=False):
    """A ``ray.io`` RayJob."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: RayJobSpec = msgspec.field(default_factory=RayJobSpec)
    status: RayJobStatus = msgspec.field(default_factory=RayJobStatus)


class RayCluster(msgspec.Struct, gc=False):
    """A ``ray.io`` RayCluster."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    status: RayClusterState = msgspec.field(default_factory=RayClusterState)
