"""Pods: what they ask for, where they are, how their containers fare."""

from datetime import datetime

import msgspec

from gpuctl.kube.objects.meta import Condition, Document, Meta, Quantities


class Requests(msgspec.Struct, gc=False):
    """Resources of a container."""

    requests: Quantities | None = None
    limits: Quantities | None = None


class EnvVar(msgspec.Struct, gc=False):
    """A variable with a literal value (``value_from`` is not read: it may lead to a secret)."""

    name: str = ""
    value: str = ""


class VolumeMount(msgspec.Struct, rename="camel", gc=False):
    """A volume in a container."""

    name: str = ""
    mount_path: str = ""
    read_only: bool = False


class Container(msgspec.Struct, rename="camel", gc=False):
    """A container as asked for. ``restart_policy`` is ``Always`` for a sidecar among the init containers."""

    name: str = ""
    image: str = ""
    resources: Requests | None = None
    env: list[EnvVar] | None = None
    volume_mounts: list[VolumeMount] | None = None
    restart_policy: str = ""


class ClaimSource(msgspec.Struct, rename="camel", gc=False):
    """A PVC as a volume."""

    claim_name: str = ""
    read_only: bool = False


class NameSource(msgspec.Struct, rename="camel", gc=False):
    """A Secret or ConfigMap as a volume; a Secret's name is ``secret_name``."""

    name: str = ""
    secret_name: str = ""


class Volume(msgspec.Struct, rename="camel", gc=False):
    """A pod's volume, as far as it is a claim, a Secret or a ConfigMap."""

    name: str = ""
    persistent_volume_claim: ClaimSource | None = None
    secret: NameSource | None = None
    config_map: NameSource | None = None


class Toleration(msgspec.Struct, rename="camel", gc=False):
    """A taint the pod bears."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class SchedulingGate(msgspec.Struct, gc=False):
    """What keeps the scheduler off."""

    name: str = ""


class PodSpec(msgspec.Struct, rename="camel", gc=False):
    """What was asked for."""

    node_name: str = ""
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    overhead: Quantities | None = None
    resources: Requests | None = None
    volumes: list[Volume] | None = None
    node_selector: dict[str, str] | None = None
    tolerations: list[Toleration] | None = None
    priority: int | None = None
    priority_class_name: str = ""
    scheduler_name: str = ""
    scheduling_gates: list[SchedulingGate] | None = None
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None


class Waiting(msgspec.Struct, gc=False):
    """Why a container is not running yet."""

    reason: str = ""
    message: str = ""


class Running(msgspec.Struct, rename="camel", gc=False):
    """Since when it runs."""

    started_at: datetime | None = None


class Terminated(msgspec.Struct, rename="camel", gc=False):
    """How it ended."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(msgspec.Struct, gc=False):
    """At most one of the three is set."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct, rename="camel", gc=False):
    """How a container fares; ``last_state`` is its former life."""

    name: str = ""
    image: str = ""
    image_id: str = msgspec.field(default="", name="imageID")
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState | None = None
    last_state: ContainerState | None = None


class PodStatus(msgspec.Struct, rename="camel", gc=False):
    """How the pod fares."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    host_ip: str = msgspec.field(default="", name="hostIP")
    pod_ip: str = msgspec.field(default="", name="podIP")
    start_time: datetime | None = None
    nominated_node_name: str = ""
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class Pod(msgspec.Struct, gc=False):
    """A pod."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    @property
    def ended(self) -> bool:
        """Whether its containers are all over for good; such a pod holds no devices, whatever it asked for."""
        return self.status.phase in {"Succeeded", "Failed"}


class PodTemplate(msgspec.Struct, gc=False):
    """The pod that a controller makes; the rest of it is a document."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: Document | None = None
