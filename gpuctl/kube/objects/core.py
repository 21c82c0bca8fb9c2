"""The small kinds of the core API and its neighbours: events, secrets, claims, quotas, classes."""

from datetime import datetime

import msgspec

from gpuctl.kube.objects.meta import Condition, Meta, Quantities


class ObjectReference(msgspec.Struct, rename="camel", gc=False):
    """What an event is about."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    field_path: str = ""


class EventSource(msgspec.Struct, gc=False):
    """Who said it, in old events."""

    component: str = ""
    host: str = ""


class EventSeries(msgspec.Struct, rename="camel", gc=False):
    """How often it was said, in new events."""

    count: int = 0
    last_observed_time: datetime | None = None


class Event(msgspec.Struct, rename="camel", gc=False):
    """An event of ``v1`` or of ``events.k8s.io/v1``: both spell the same facts differently; the properties know both."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    type: str = ""
    reason: str = ""
    # v1
    involved_object: ObjectReference | None = None
    message: str = ""
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    count: int = 0
    source: EventSource | None = None
    reporting_component: str = ""
    # events.k8s.io/v1
    regarding: ObjectReference | None = None
    note: str = ""
    deprecated_first_timestamp: datetime | None = None
    deprecated_last_timestamp: datetime | None = None
    deprecated_count: int = 0
    deprecated_source: EventSource | None = None
    reporting_controller: str = ""
    # both
    event_time: datetime | None = None
    series: EventSeries | None = None
    action: str = ""

    @property
    def about(self) -> ObjectReference:
        """What it is about."""
        return self.involved_object or self.regarding or ObjectReference()

    @property
    def text(self) -> str:
        """What it says."""
        return self.message or self.note

    @property
    def at(self) -> datetime | None:
        """When it was said last."""
        series = self.series.last_observed_time if self.series else None
        return series or self.last_timestamp or self.deprecated_last_timestamp or self.event_time or self.metadata.creation_timestamp

    @property
    def since(self) -> datetime | None:
        """When it was said first, as far as that is kept."""
        return self.first_timestamp or self.deprecated_first_timestamp or self.event_time or self.metadata.creation_timestamp

    @property
    def times(self) -> int:
        """How often it was said, at least once."""
        return max(1, self.series.count if self.series else 0, self.count, self.deprecated_count)

    @property
    def by(self) -> str:
        """Who said it (``default-scheduler``, ``kubelet``)."""
        source = self.source or self.deprecated_source
        return self.reporting_component or self.reporting_controller or (source.component if source else "")


class Secret(msgspec.Struct, rename="camel", gc=False):
    """A secret. Its data are base64, has no repr here, and belong into no message."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    type: str = ""
    immutable: bool | None = None
    data: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name}, {len(self.data or {})} keys)"


class ConfigMap(msgspec.Struct, rename="camel", gc=False):
    """A config map."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    immutable: bool | None = None
    data: dict[str, str] | None = None


class ServicePort(msgspec.Struct, rename="camel", gc=False):
    """A port of a service."""

    name: str = ""
    port: int = 0
    target_port: int | str | None = None


class ServiceSpec(msgspec.Struct, rename="camel", gc=False):
    """Where a service leads; ``cluster_ip`` is ``None``, the word, for a headless one."""

    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    selector: dict[str, str] | None = None
    ports: list[ServicePort] | None = None


class Service(msgspec.Struct, gc=False):
    """A service."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)


class Namespace(msgspec.Struct, gc=False):
    """A namespace."""

    metadata: Meta = msgspec.field(default_factory=Meta)


class ClaimResources(msgspec.Struct, gc=False):
    """How much a claim asks for."""

    requests: Quantities | None = None


class ClaimSpec(msgspec.Struct, rename="camel", gc=False):
    """What a claim asks for. ``storage_class_name`` None is the cluster's default class."""

    access_modes: list[str] | None = None
    resources: ClaimResources | None = None
    storage_class_name: str | None = None
    volume_name: str = ""
    volume_mode: str = ""


class ClaimStatus(msgspec.Struct, rename="camel", gc=False):
    """What it got. ``phase``: Pending, Bound, Lost."""

    phase: str = ""
    access_modes: list[str] | None = None
    capacity: Quantities | None = None
    conditions: list[Condition] | None = None


class VolumeClaim(msgspec.Struct, gc=False):
    """A PersistentVolumeClaim."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: ClaimSpec = msgspec.field(default_factory=ClaimSpec)
    status: ClaimStatus = msgspec.field(default_factory=ClaimStatus)


class StorageClass(msgspec.Struct, rename="camel", gc=False):
    """A storage class."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    provisioner: str = ""
    reclaim_policy: str = ""
    volume_binding_mode: str = ""
    allow_volume_expansion: bool | None = None

    @property
    def default(self) -> bool:
        """Whether claims without a class get this one."""
        return self.metadata.annotation("storageclass.kubernetes.io/is-default-class") == "true"


class QuotaSpec(msgspec.Struct, gc=False):
    """The limits."""

    hard: Quantities | None = None
    scopes: list[str] | None = None


class QuotaStatus(msgspec.Struct, gc=False):
    """The limits in force and what is used of them."""

    hard: Quantities | None = None
    used: Quantities | None = None


class ResourceQuota(msgspec.Struct, gc=False):
    """A namespace's quota."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: QuotaSpec = msgspec.field(default_factory=QuotaSpec)
    status: QuotaStatus = msgspec.field(default_factory=QuotaStatus)


class PriorityClass(msgspec.Struct, rename="camel", gc=False):
    """A priority class."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    value: int = 0
    global_default: bool = False
    preemption_policy: str = ""
    description: str = ""
