"""Nodes: what they have, and whether they may be used."""

import msgspec

from gpuctl.kube.objects.meta import Condition, Meta, Quantities


class Taint(msgspec.Struct, gc=False):
    """What keeps pods off that do not bear it."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(msgspec.Struct, rename="camel", gc=False):
    """What administrators say of it; ``unschedulable`` is a cordon."""

    unschedulable: bool = False
    taints: list[Taint] | None = None
    provider_id: str = msgspec.field(default="", name="providerID")


class NodeAddress(msgspec.Struct, gc=False):
    """Where it is reached: ``InternalIP``, ``Hostname``."""

    type: str = ""
    address: str = ""


class NodeInfo(msgspec.Struct, rename="camel", gc=False):
    """What its kubelet says it runs."""

    kubelet_version: str = ""
    kernel_version: str = ""
    container_runtime_version: str = ""
    architecture: str = ""
    operating_system: str = ""


class NodeStatus(msgspec.Struct, rename="camel", gc=False):
    """What its kubelet reports."""

    capacity: Quantities | None = None
    allocatable: Quantities | None = None
    conditions: list[Condition] | None = None
    addresses: list[NodeAddress] | None = None
    node_info: NodeInfo | None = None


class Node(msgspec.Struct, gc=False):
    """A node."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)
