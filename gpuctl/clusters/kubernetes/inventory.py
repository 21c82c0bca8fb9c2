"""What a cluster has and how much of it is free: nodes, less the requests of every bound pod that has not ended.

A bound pod that is still Pending holds its devices. What a 403 hides is unknown (None), never zero.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes import amounts, names
from gpuctl.clusters.kubernetes.observe.objects import HoldingContainer, HoldingPod, HoldingSpec
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.errors import Forbidden
from gpuctl.kube.objects.meta import Quantities
from gpuctl.kube.objects.nodes import Node as ApiNode
from gpuctl.kube.resources import NODES, PODS
from gpuctl.model import gputype
from gpuctl.model.ask import Listing
from gpuctl.model.place import ClusterStatus, Node
from gpuctl.policy import away, placement
from gpuctl.policy.described import node_state
from gpuctl.policy.values import NodeState

PRODUCT_LABELS = ("nvidia.com/gpu.product", "amd.com/gpu.product-name", "beta.amd.com/gpu.product-name")
BOUND = "status.phase!=Succeeded,status.phase!=Failed,spec.nodeName!="
_IGNORED_TAINTS = ("nvidia.com/gpu", "amd.com/gpu", "gpu", "virtual-kubelet.io/provider")
"""Taints of GPU nodes as such, which jobs that ask for GPUs tolerate."""
_MARKS = (names.OWNER_TAINT, names.LENDS_TAINT, names.CLOSING_TAINT)
"""Taints that say whose a node is: see :func:`marks`."""
_BAD_CONDITIONS = ("DiskPressure", "MemoryPressure", "PIDPressure", "NetworkUnavailable")


FRESH_S = 3.0
"""For how long what was read of nodes and pods is good for a launch."""


class Taken(NamedTuple):
    """What pods hold of one node."""

    gpus: int
    cpu_millis: int
    memory: int


class Inventory(NamedTuple):
    """Nodes as people and as the scheduler see them.

    Attributes:
        counted: whether everybody's pods could be read, so that what is free is known.
        note: why not.
        products: values of ``product_label`` on the nodes.
        tier_labels: whether nodes carry tiers themselves.
        resources: GPUs by the name of their resource.
        labels: of the nodes, by name.
    """

    nodes: tuple[Node, ...]
    counted: bool
    note: str | None = None
    products: tuple[str, ...] = ()
    product_label: str = "nvidia.com/gpu.product"
    tier_labels: bool = False
    resources: Mapping[str, int] = {}
    labels: Mapping[str, Mapping[str, str]] = {}


def read(around: Surroundings, *, count: bool = True) -> Inventory:
    """The nodes; with ``count`` also what is free on them.

    Raises:
        Forbidden: nodes may not be listed.
    """
    found = around.api.list(NODES.path(), ApiNode)
    taken: Mapping[str, Taken] | None = None
    note = None
    if count:
        try:
            taken = holding(around.api.list(PODS.path(), HoldingPod, params={"fieldSelector": BOUND}), around.gpu_resources)
        except Forbidden as error:
            note = error.message
    nodes = tuple(sorted((node(each, around, taken) for each in found), key=lambda each: each.name))
    label = max(PRODUCT_LABELS, key=lambda key: sum(bool(each.metadata.label(key)) for each in found))
    return Inventory(
        nodes=(*nodes, *growth(around, nodes)),
        counted=taken is not None,
        note=note,
        products=tuple(sorted({each.metadata.label(label) for each in found} - {""})),
        product_label=label,
        tier_labels=any(each.metadata.label(names.NODE_TIER) for each in found),
        resources={key: sum(amounts.whole(amounts.of(each.status.allocatable, key)) for each in found) for key in around.gpu_resources},
        labels={each.metadata.name: each.metadata.labels or {} for each in found},
    )


def listing(around: Surroundings) -> Listing[Node]:
    """For ``gpuctl nodes``. Nodes that may not be listed are missing, and the answer says so."""
    try:
        found = read(around)
        around.shown = time.monotonic(), found
        return Listing(items=found.nodes)
    except Forbidden as error:
        return Listing(incomplete={around.name: error.message})


def just_shown(around: Surroundings, *, keep: bool = False) -> Inventory | None:
    """What :func:`listing` showed less than ``FRESH_S`` ago, unless it was used: 10,000 pods need not be read again and again.

    ``keep``: it may be used again. Whoever launches by it takes it away, since it is not so any more.
    """
    shown = around.shown
    if not keep:
        around.shown = None
    return shown[1] if shown is not None and time.monotonic() - shown[0] <= FRESH_S else None


def holding(pods: Iterable[HoldingPod], gpu_resources: Sequence[str]) -> dict[str, Taken]:
    """What bound pods that have not ended hold, by node. Ten thousand of them take a tenth of a second."""
    found: dict[str, Taken] = {}
    nothing = Taken(0, 0, 0)
    for pod in pods:
        name = pod.spec.node_name
        if not name or pod.status.phase in ("Succeeded", "Failed"):
            continue
        held, more = found.get(name, nothing), _effective(pod.spec, gpu_resources)
        found[name] = Taken(held.gpus + more.gpus, held.cpu_millis + more.cpu_millis, held.memory + more.memory)
    return found


def gpus_of(spec: HoldingSpec, gpu_resources: Sequence[str]) -> int:
    """The GPUs that a pod of this specification holds."""
    return _effective(spec, gpu_resources).gpus


def _effective(spec: HoldingSpec, gpu_resources: Sequence[str]) -> Taken:
    """What the scheduler counts: containers with sidecars, or the largest moment of the init containers if that is more; plus overhead."""
    containers = spec.containers or ()
    if len(containers) == 1:
        steady = _asks(containers[0], gpu_resources)
    else:
        asked = [_asks(each, gpu_resources) for each in containers]
        steady = Taken(sum(each.gpus for each in asked), sum(each.cpu_millis for each in asked), sum(each.memory for each in asked))
    if not spec.init_containers:
        return steady if not spec.overhead else _plus(steady, _amounts(spec.overhead, gpu_resources))
    sidecars = peak = Taken(0, 0, 0)
    for each in spec.init_containers:
        asks = _asks(each, gpu_resources)
        moment = _plus(sidecars, asks)
        if each.restart_policy == "Always":
            sidecars = moment
        peak = Taken(max(peak.gpus, moment.gpus), max(peak.cpu_millis, moment.cpu_millis), max(peak.memory, moment.memory))
    steady = _plus(steady, sidecars)
    most = Taken(max(peak.gpus, steady.gpus), max(peak.cpu_millis, steady.cpu_millis), max(peak.memory, steady.memory))
    return most if not spec.overhead else _plus(most, _amounts(spec.overhead, gpu_resources))


def _plus(one: Taken, other: Taken) -> Taken:
    return Taken(one.gpus + other.gpus, one.cpu_millis + other.cpu_millis, one.memory + other.memory)


def _asks(container: HoldingContainer, gpu_resources: Sequence[str]) -> Taken:
    return _amounts(container.resources.requests if container.resources is not None else None, gpu_resources)


def _amounts(requests: Quantities | None, gpu_resources: Sequence[str]) -> Taken:
    if not requests:
        return Taken(0, 0, 0)
    gpus = 0
    for resource in gpu_resources:
        if resource in requests:
            gpus += amounts.whole(requests[resource])
    return Taken(gpus, amounts.millis(requests.get("cpu", 0)), amounts.whole(requests.get("memory", 0)))


def node(found: ApiNode, around: Surroundings, taken: Mapping[str, Taken] | None) -> Node:
    """One node. ``taken`` None: nobody could say what is free."""
    status, labels = found.status, found.metadata.labels or {}
    room = status.allocatable or status.capacity
    gpus = sum(amounts.whole(amounts.of(room, each)) for each in around.gpu_resources)
    cpu, memory = amounts.millis(amounts.of(room, "cpu")), amounts.whole(amounts.of(room, "memory"))
    held = taken.get(found.metadata.name, Taken(0, 0, 0)) if taken is not None else None
    ready = next((each for each in status.conditions or () if each.type == "Ready"), None)
    bad = [each.type for each in status.conditions or () if each.type in _BAD_CONDITIONS and each.status == "True"]
    marked = marks(found)
    why = _why_not(found, ready.status if ready is not None else "Unknown", ready.message if ready is not None else "")
    return Node(
        name=found.metadata.name,
        cluster=around.name,
        tier=labels.get(names.NODE_TIER) or around.options.tier,
        ready=why is None,
        gpu_type=gpu_type(labels, room, around) if gpus else None,
        gpus=gpus,
        gpus_free=max(0, gpus - held.gpus) if held is not None else None,
        cpu_millis=cpu,
        cpu_millis_free=max(0, cpu - held.cpu_millis) if held is not None else None,
        memory=memory,
        memory_free=max(0, memory - held.memory) if held is not None else None,
        owner=marked.owner,
        lends=marked.lends,
        closing=marked.closing,
        schedule=labels.get(names.NODE_SCHEDULE),
        taints=tuple(
            f"{each.key}={each.value}:{each.effect}" if each.value else f"{each.key}:{each.effect}" for each in found.spec.taints or ()
        ),
        conditions=tuple([] if ready is not None and ready.status == "True" else ["NotReady"]) + tuple(bad),
        why=why,
    )


class Marks(NamedTuple):
    """Whose a node is by its taints, which the scheduler obeys, else by its label; whether idle GPUs are lent; the next owner."""

    owner: str | None
    lends: bool
    closing: str | None


def marks(found: ApiNode) -> Marks:
    """What a node says of its owner."""
    taints = {taint.key: taint.value for taint in found.spec.taints or () if taint.effect == "NoSchedule" and taint.key in _MARKS}
    owner, lender = taints.get(names.OWNER_TAINT), taints.get(names.LENDS_TAINT)
    return Marks(
        owner=owner or lender or found.metadata.label(names.NODE_OWNER) or None,
        lends=lender is not None and owner is None,
        closing=taints.get(names.CLOSING_TAINT),
    )


def gpu_type(labels: Mapping[str, str], room: Quantities | None, around: Surroundings) -> str:
    """The short name of a node's GPUs: by the profile's mapping, by feature discovery's labels, else by the vendor."""
    for rule, kind in around.options.gpu_map.items():
        key, _, value = rule.partition("=")
        if labels.get(key) == value if value else key in labels:
            return kind
    for key in PRODUCT_LABELS:
        if labels.get(key):
            return gputype.short(labels[key])
    return "AMD" if amounts.whole(amounts.of(room, "amd.com/gpu")) else "GPU"


def _why_not(found: ApiNode, ready: str, message: str) -> str | None:
    """Why no new job can go there, None when it can."""
    if ready != "True":
        return "does not answer" if ready == "Unknown" else f"is not ready{': ' + message if message else ''}"
    if found.metadata.deletion_timestamp is not None:
        return "is being removed"
    if found.spec.unschedulable:
        return "is closed for maintenance (cordoned)"
    for taint in found.spec.taints or ():
        if taint.effect == "PreferNoSchedule" or taint.key in _IGNORED_TAINTS:
            continue
        if taint.key in _MARKS and taint.effect == "NoSchedule":
            continue
        if taint.key == names.NODE_TIER:
            continue
        return f"is closed by taint {taint.key}" + (f"={taint.value}" if taint.value else "")
    return None


def growth(around: Surroundings, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Nodes that the cluster would add by itself (``elastic=H100:64``), less what is there of the type already."""
    added = []
    for kind, most in around.options.elastic.items():
        there = [each for each in nodes if gputype.matches(kind, each.gpu_type)]
        size = max((each.gpus or 0 for each in there), default=0) or around.options.elastic_node
        template = next((each for each in there if each.gpus == size), None)
        missing = most - sum(each.gpus or 0 for each in there)
        room = template or Node(name="", cluster=around.name, tier=around.options.tier, gpu_type=kind)
        added += [
            Node(
                name=f"elastic-{kind.lower()}-{number + 1}",
                cluster=around.name,
                tier=room.tier,
                gpu_type=room.gpu_type,
                gpus=size,
                gpus_free=size,
                cpu_millis=room.cpu_millis,
                cpu_millis_free=room.cpu_millis,
                memory=room.memory,
                memory_free=room.memory,
                conditions=("NotStarted",),
            )
            for number in range(max(0, missing) // size)
        ]
    return tuple(added)


def states(nodes: Iterable[Node]) -> tuple[NodeState, ...]:
    """The nodes for the scheduler. Unknown free devices count as none: who asks has to look at ``Inventory.counted`` first."""
    return tuple(node_state(each) for each in nodes)


def status(around: Surroundings, *, engines: Sequence[str]) -> ClusterStatus:
    """One row of ``gpuctl clusters``. What may not be read is absent, and ``error`` says why."""
    version = around.api.version().git_version
    tier = around.options.tier
    try:
        found = read(around)
    except Forbidden as error:
        return ClusterStatus(
            name=around.name, kind="kubernetes", tier=tier, version=version, engines=tuple(engines), error=error.message, uid=around.uid
        )
    total: dict[str, int] = {}
    free: dict[str, int] = {}
    real = [each for each in found.nodes if "NotStarted" not in each.conditions]
    for each in real:
        if each.gpu_type is None:
            continue
        total[each.gpu_type] = total.get(each.gpu_type, 0) + (each.gpus or 0)
        if found.counted:
            free[each.gpu_type] = free.get(each.gpu_type, 0) + ((each.gpus_free or 0) if each.ready else 0)
    return ClusterStatus(
        name=around.name,
        kind="kubernetes",
        tier=tier,
        version=version,
        engines=tuple(engines),
        nodes=len(real),
        free=free,
        total=total,
        largest_shape=placement.largest_shape(states(found.nodes)) if found.counted else None,
        error=found.note,
        uid=around.uid,
    )


def unread(name: str, tier: str | None, error: GpuctlError) -> ClusterStatus:
    """The row of a cluster that does not answer, or refuses us."""
    return ClusterStatus(name=name, kind="kubernetes", tier=tier, health=away.health(error), error=error.line)
