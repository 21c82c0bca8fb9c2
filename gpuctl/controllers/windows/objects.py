"""Objects of a cluster as the window controller reads them: ten thousand pods stay in memory, so only what is looked at is kept."""

from datetime import datetime

import msgspec

from gpuctl.clusters.kubernetes.observe.objects import HoldingSpec, Phase, Read
from gpuctl.kube.objects.meta import Document, Meta, OwnerReference, Quantities


class PodMeta(Read, frozen=True, gc=False, kw_only=True):
    """Whose a pod is, and the marks on it."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None
    resource_version: str = ""


class WatchedSpec(HoldingSpec, frozen=True, gc=False, kw_only=True):
    """What a pod takes of its node, how long it takes to end, and whether others come before it."""

    priority: int | None = None
    termination_grace_period_seconds: int | None = None


class WatchedPhase(Phase, frozen=True, gc=False, kw_only=True):
    """Where a pod stands, and since when it is on its node."""

    start_time: datetime | None = None


class WatchedPod(Read, frozen=True, gc=False, kw_only=True):
    """A pod of anybody."""

    metadata: PodMeta = PodMeta()
    spec: WatchedSpec = WatchedSpec()
    status: WatchedPhase = WatchedPhase()


class NodeRoom(Read, frozen=True, gc=False, kw_only=True):
    """What a node has."""

    capacity: Quantities | None = None
    allocatable: Quantities | None = None


class NodeTaints(Read, frozen=True, gc=False, kw_only=True):
    """Taints whole, since a write has to give back the foreign ones as they are."""

    taints: list[Document] | None = None


class WatchedNode(Read, frozen=True, gc=False, kw_only=True):
    """A node."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: NodeTaints = NodeTaints()
    status: NodeRoom = NodeRoom()


class WatchedNamespace(Read, frozen=True, gc=False, kw_only=True):
    """A namespace."""

    metadata: Meta = msgspec.field(default_factory=Meta)


class WatchedSchedule(Read, frozen=True, gc=False, kw_only=True):
    """A PoolSchedule: its specification as it is, since it may say nonsense."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    api_version: str = ""
    kind: str = ""
    spec: Document | None = None
    status: Document | None = None
