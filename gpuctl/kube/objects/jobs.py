"""Jobs and JobSets."""

from datetime import datetime

import msgspec

from gpuctl.kube.objects.meta import Condition, Meta
from gpuctl.kube.objects.pods import PodTemplate


class JobSpec(msgspec.Struct, rename="camel", gc=False):
    """What a Job asks for."""

    parallelism: int | None = None
    completions: int | None = None
    completion_mode: str = ""
    backoff_limit: int | None = None
    backoff_limit_per_index: int | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    suspend: bool | None = None
    template: PodTemplate = msgspec.field(default_factory=PodTemplate)


class JobStatus(msgspec.Struct, rename="camel", gc=False):
    """How a Job fares. The two index lists are such as ``0,3-5``."""

    active: int = 0
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    terminating: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    completed_indexes: str = ""
    failed_indexes: str = ""
    conditions: list[Condition] | None = None


class Job(msgspec.Struct, gc=False):
    """A ``batch/v1`` Job."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: JobSpec = msgspec.field(default_factory=JobSpec)
    status: JobStatus = msgspec.field(default_factory=JobStatus)


class JobTemplate(msgspec.Struct, gc=False):
    """The Job a ReplicatedJob makes."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: JobSpec = msgspec.field(default_factory=JobSpec)


class ReplicatedJob(msgspec.Struct, gc=False):
    """Alike Jobs in a JobSet."""

    name: str = ""
    replicas: int = 1
    template: JobTemplate = msgspec.field(default_factory=JobTemplate)


class JobSetFailurePolicy(msgspec.Struct, rename="camel", gc=False):
    """What happens when one of its Jobs fails."""

    max_restarts: int = 0


class JobSetSpec(msgspec.Struct, rename="camel", gc=False):
    """What a JobSet asks for."""

    replicated_jobs: list[ReplicatedJob] | None = None
    suspend: bool | None = None
    failure_policy: JobSetFailurePolicy | None = None
    ttl_seconds_after_finished: int | None = None


class ReplicatedJobStatus(msgspec.Struct, gc=False):
    """Jobs of one ReplicatedJob by state."""

    name: str = ""
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    active: int = 0
    suspended: int = 0


class JobSetStatus(msgspec.Struct, rename="camel", gc=False):
    """How a JobSet fares. ``terminal_state``: Completed, Failed, or ``""`` while it goes on."""

    conditions: list[Condition] | None = None
    restarts: int = 0
    restarts_count_towards_max: int = 0
    terminal_state: str = ""
    replicated_jobs_status: list[ReplicatedJobStatus] | None = None


class JobSet(msgspec.Struct, gc=False):
    """A ``jobset.x-k8s.io`` JobSet."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: JobSetSpec = msgspec.field(default_factory=JobSetSpec)
    status: JobSetStatus = msgspec.field(default_factory=JobSetStatus)
