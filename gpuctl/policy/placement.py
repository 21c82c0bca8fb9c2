"""Placement of one gang: where it goes, or why it goes nowhere.

Tier is the outer loop (no tier at all, reserved, on-demand), then the best packing over that tier's
clusters: a gang never splits over clusters or tiers. Same input, same output; the order of nodes in the snapshot does not matter.

The seam for what limits a team (quota) and a node (windows, taints) is :func:`barred`: it
judges one node for one job before anything is packed.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpuctl.base import quantity
from gpuctl.model.reason import Reason
from gpuctl.policy import footprint
from gpuctl.policy.footprint import Seated
from gpuctl.policy.packing import Option, Packing, pack
from gpuctl.policy.space import TIERS, Room, Space, total
from gpuctl.policy.values import NodeState, PodPlace, QueueJob, Snapshot
from gpuctl.policy.windows import edges
from gpuctl.policy.wording import devices_word, plural, shape


class Placement(NamedTuple):
    """A gang's place: one cluster, one tier, one entry per pod in rank order; the node of its head, where it has one (a Ray's)."""

    cluster: str
    tier: str | None
    pods: tuple[PodPlace, ...]
    head: str | None = None


class Refusal(NamedTuple):
    """Why one cluster (and tier, where it has nodes of the right kind) cannot take the gang; ``missing`` is how many devices too few.

    ``headless``: its pods would start, only its head (a Ray's) would not.
    """

    cluster: str
    tier: str | None
    reason: Reason
    missing: int = 0
    headless: bool = False


Refusals = tuple[Refusal, ...]

SEVERITY = ("fragmented", "capacity", "window", "not-ready", "unreachable", "never-fits", "no-such-gpu")
"""Refusals from the nearest to a start to the farthest: the first one found is the job's reason."""


def place(job: QueueJob, where: Snapshot | Space) -> Placement | Refusals:
    """Where ``job``'s gang (one task of an array) goes now, or one refusal per cluster and tier that it asked for."""
    space = where if isinstance(where, Space) else Space.now(where.nodes, where.unreachable)
    groups: dict[tuple[str | None, str], list[Room]] = {}
    for room in space.rooms.values():
        node = room.node
        if asks_for(job, node):
            groups.setdefault((node.tier, node.cluster), []).append(room)
    refusals: list[Refusal] = []
    for tier in sorted({tier for tier, _ in groups}, key=_tier_rank):
        best: tuple[tuple[int, int, int, str], Packing, Seated] | None = None
        for cluster in sorted(cluster for other, cluster in groups if other == tier):
            seated = None if cluster in space.unreachable else _seated(job, groups[tier, cluster])
            packing = None if seated is None else pack(list(_options(job, seated.rooms)), job.pods, job.gpus)
            if seated is None or packing is None:
                refusals.append(_refuse(job, cluster, tier, groups[tier, cluster], cluster in space.unreachable, alone=len(groups) == 1))
                continue
            key = (packing.opened, packing.nodes, packing.left, cluster)
            if best is None or key < best[0]:
                best = (key, packing, seated)
        if best is not None:
            return Placement(best[0][3], tier, _pods(job, best[1], best[2].rooms), best[2].head)
    known = {cluster for _, cluster in groups}
    unseen = [cluster for cluster in space.unreachable if cluster not in known and job.cluster in (None, cluster)]
    refusals += [Refusal(cluster, None, _unreachable(cluster)) for cluster in unseen]
    return tuple(refusals) or (_nowhere(job, space),)


def asks_for(job: QueueJob, node: NodeState) -> bool:
    """Whether the job's own words (tier, cluster, exclusions) let it use the node."""
    if job.cluster is not None and node.cluster != job.cluster:
        return False
    if job.tier == "on-demand" and node.tier != "on-demand":
        return False
    if job.tier == "reserved" and node.tier == "on-demand":
        return False
    return not job.exclude or not (node.name in job.exclude or f"{node.cluster}/{node.name}" in job.exclude or node.cluster in job.exclude)


def barred(job: QueueJob, node: NodeState) -> str | None:
    """Why the node does not count for the job, as a refusal's code, or None."""
    if job.gpu_type is not None and not same_type(job.gpu_type, node.gpu_type):
        return "no-such-gpu"
    if not node.ready:
        return "not-ready"
    if edges.barred(job, node):
        return "window"
    return None


@functools.lru_cache(maxsize=4096)
def same_type(asked: str, there: str | None) -> bool:
    """Whether a GPU type as people write it (``h100``) names the type of a node (``NVIDIA-H100-80GB-HBM3``)."""
    if there is None:
        return False
    words = asked.lower().replace(" ", "-").replace("_", "-")
    whole = there.lower().replace(" ", "-").replace("_", "-")
    return f"-{words}-" in f"-{whole}-"


def refusal_of(refusals: Refusals) -> Refusal:
    """The refusal nearest to a start."""
    return min(
        refusals, key=lambda refusal: (SEVERITY.index(refusal.reason.code) if refusal.reason.code in SEVERITY else -1, refusal.missing)
    )


def largest_shape(nodes: Iterable[NodeState]) -> str | None:
    """The shape with the most devices per node that would start now, and how many such nodes: ``2x8``. None when nothing is free."""
    return _largest([Room.now(node) for node in nodes if node.ready])


def fits_ever(job: QueueJob, nodes: Sequence[NodeState]) -> Reason | None:
    """Why ``job`` could not start even with nobody else there, or None when it could. Nodes that are not ready now count."""
    if not nodes:
        return Reason(code="never-fits", sentence=f"{shape(job)} asked, no node is there", what="change")
    space = Space.empty(nodes)
    for room in space.rooms.values():
        room.node = _idle(room.node)
    outcome = place(job, space)
    if isinstance(outcome, Placement):
        return None
    reason = refusal_of(outcome).reason
    return reason if reason.code in ("never-fits", "no-such-gpu") else _never(job, list(space.rooms.values()), None)


def _idle(node: NodeState) -> NodeState:
    return NodeState(
        cluster=node.cluster,
        name=node.name,
        tier=node.tier,
        gpu_type=node.gpu_type,
        gpus=node.gpus,
        gpus_free=node.gpus,
        devices=node.devices,
        devices_free=node.devices,
        cpu_millis=node.cpu_millis,
        cpu_millis_free=node.cpu_millis,
        memory=node.memory,
        memory_free=node.memory,
    )


def _seated(job: QueueJob, rooms: Sequence[Room]) -> Seated | None:
    """The rooms that count for the pods, once the head has its place (on GPUs of any type); None when it finds none."""
    mine = [room for room in rooms if barred(job, room.node) is None]
    if not footprint.has_head(job):
        return Seated(mine)
    return footprint.seat(job, mine, [room for room in rooms if room.node.ready and not edges.barred(job, room.node)])


def _seated_alone(job: QueueJob, rooms: Sequence[Room], *, whole: bool) -> Seated | None:
    """As :func:`_seated`, with nobody else there; ``whole``: on nodes, too, that are not ready, or others' now."""
    empty = [Room.empty(room.node) for room in rooms]
    if not whole:
        return _seated(job, empty)
    return footprint.seat(job, [room for room in empty if barred(job, room.node) != "no-such-gpu"], empty)


def _fits(job: QueueJob, seated: Seated | None) -> bool:
    return seated is not None and sum(option.capacity for option in _options(job, seated.rooms)) >= job.pods


def _options(job: QueueJob, rooms: Sequence[Room]) -> Iterable[Option]:
    for index, room in enumerate(rooms):
        capacity = footprint.capacity(job, room)
        if capacity:
            yield Option(capacity, room.free, room.whole, index)


def _pods(job: QueueJob, packing: Packing, rooms: Sequence[Room]) -> tuple[PodPlace, ...]:
    pods: list[PodPlace] = []
    for index, count in packing.pods:
        room = rooms[index]
        free = room.devices
        if free is not None and job.devices:
            free = tuple(device for device in free if device in job.devices)
        for number in range(count):
            devices = free[number * job.gpus : (number + 1) * job.gpus] if free is not None else ()
            pods.append(PodPlace(cluster=room.node.cluster, node=room.node.name, devices=devices, gpus=job.gpus))
    return tuple(pods)


def _refuse(job: QueueJob, cluster: str, tier: str | None, rooms: Sequence[Room], unreachable: bool, *, alone: bool) -> Refusal:
    where = f"{cluster} ({tier})" if tier else cluster
    if unreachable:
        return Refusal(cluster, tier, _unreachable(cluster))
    typed = [room for room in rooms if barred(job, room.node) != "no-such-gpu"]
    if not typed:
        there = sorted({room.node.gpu_type for room in rooms if room.node.gpu_type})
        sentence = f"no {job.gpu_type} in {where}" + (f", which has {', '.join(there)}" if there else "")
        return Refusal(cluster, tier, Reason(code="no-such-gpu", sentence=sentence, what="change"), job.pods * job.gpus)
    if not _fits(job, _seated_alone(job, rooms, whole=True)):
        return Refusal(cluster, tier, _never(job, typed, where), job.pods * job.gpus)
    if not _fits(job, _seated_alone(job, rooms, whole=False)):
        return _closed(job, cluster, tier, where, typed)
    return _short(job, cluster, tier, "" if alone else f" in {where}", [room for room in typed if barred(job, room.node) is None])


def _unreachable(cluster: str) -> Reason:
    return Reason(code="unreachable", sentence=f"{cluster} cannot be reached", what="wait", command="gpuctl clusters")


def _closed(job: QueueJob, cluster: str, tier: str | None, where: str, rooms: Sequence[Room]) -> Refusal:
    """It would fit an empty cluster, but not the nodes that are ready and ours: say which nodes and why."""
    owned = [room.node for room in rooms if barred(job, room.node) == "window"]
    sick = [room.node for room in rooms if barred(job, room.node) == "not-ready"]
    ready = len(rooms) - len(owned) - len(sick)
    word = devices_word([room.node for room in rooms])
    parts = [f"needs {shape(job)}", f"{ready} of {plural(len(rooms), 'node')} in {where} can be used"]
    if owned:
        until = sorted(node.owner_until for node in owned if node.owner_until is not None)
        owners = ", ".join(sorted({node.owner for node in owned if node.owner}))
        parts.append(f"{len(owned)} owned by {owners}" + (f" until {until[0]:%Y-%m-%d %H:%M} UTC" if until else ""))
    if sick:
        first = sick[0]
        parts.append(f"{plural(len(sick), 'node')} not ready ({first.name}{': ' + first.why if first.why else ''})")
    missing = max(1, job.pods * job.gpus - sum(room.free for room in rooms if barred(job, room.node) is None))
    code = "window" if owned else "not-ready"
    advice = f"starts when {missing} more {word} can be used" if job.gpus else None
    return Refusal(cluster, tier, Reason(code=code, sentence=", ".join(parts), what="wait", advice=advice), missing)


def _short(job: QueueJob, cluster: str, tier: str | None, where: str, rooms: Sequence[Room]) -> Refusal:
    """It fits an empty cluster, but not now: too few devices, or enough in pieces, or too little CPU or memory."""
    asked = job.pods * job.gpus
    everything = sum(total(room.node) for room in rooms)
    free = sum(room.usable(job.devices) for room in rooms)
    word = devices_word([room.node for room in rooms])
    if asked > free:
        among = f" among {', '.join(map(str, job.devices))}" if job.devices else ""
        sentence = f"needs {asked} of {everything} {word}{where}, {free} free{among}"
        return Refusal(cluster, tier, Reason(code="capacity", sentence=sentence, what="wait"), asked - free)
    without = sum(room.capacity(job.gpus, 0, 0, job.devices, job.pods) for room in rooms)
    if without >= job.pods:
        headless = footprint.has_head(job) and _fits(job, Seated(rooms))
        return Refusal(cluster, tier, _scarce(job, where, rooms, headless=headless), headless=headless)
    sentence = f"needs {shape(job)}, {free} {word} free{where} but in pieces"
    largest = _largest(rooms, job.devices)
    if largest:
        sentence += f": the largest shape that fits is {largest}"
    same = _reshaped(job, rooms)
    advice = f"{asked} {word} would fit now as {same}" if same else None
    command = f"gpuctl submit -j {same} ..." if same else None
    code = "fragmented"
    return Refusal(cluster, tier, Reason(code=code, sentence=sentence, what="change" if same else "wait", advice=advice, command=command))


def _scarce(job: QueueJob, where: str, rooms: Sequence[Room], *, headless: bool) -> Reason:
    """The devices are there, CPU or memory on their nodes is not."""
    facts: list[str] = []
    sized = [(room, *footprint.per_pod(job, room.node)) for room in rooms]
    memories = [(room.memory, memory) for room, _, memory in sized if room.memory is not None and memory]
    if memories and sum(max(0, free) // memory for free, memory in memories) < job.pods:
        most, memory = max(memories)
        short = f"at most {quantity.memory(max(0, most))} is free on one" if most < memory else _enough(memories)
        facts.append(f"{quantity.memory(memory)} memory per node, {short}")
    cpus = [(room.cpu, cpu) for room, cpu, _ in sized if room.cpu is not None and cpu]
    if cpus and sum(max(0, free) // cpu for free, cpu in cpus) < job.pods:
        most, cpu = max(cpus)
        short = f"at most {max(0, most) / 1000:g} are free on one" if most < cpu else _enough(cpus)
        facts.append(f"{cpu / 1000:g} cores per node, {short}")
    needs = ", and ".join(facts) or f"{shape(job)} with its CPU and memory"
    if headless:
        needs = f"{footprint.head_words(job)} beside its nodes, and no node has them free"
    return Reason(code="capacity", sentence=f"needs {needs}{where}", what="wait", advice="ask less with --cpus or --memory, or wait")


def _enough(amounts: Sequence[tuple[int, int]]) -> str:
    return f"{sum(free >= asked for free, asked in amounts)} of {plural(len(amounts), 'node')} have that free"


def _never(job: QueueJob, rooms: Sequence[Room], where: str | None) -> Reason:
    """The sentence that says what is there."""
    nodes = [room.node for room in rooms]
    empty = [Room.empty(node) for node in nodes]
    word = devices_word(nodes)
    asked = job.pods * job.gpus
    place_name = where or ", ".join(sorted({node.cluster for node in nodes}))
    count = sum(room.usable(job.devices) for room in empty)
    among = f" (of devices {','.join(map(str, job.devices))})" if job.devices else ""
    sentence = f"{shape(job)} asks {asked} {word}, {place_name} has {count}{among} on {plural(len(nodes), 'node')}"
    largest = _largest(empty, job.devices)
    if job.gpus == 0 or sum(room.capacity(job.gpus, 0, 0, job.devices, job.pods) for room in empty) >= job.pods:
        cpu = max((room.cpu for room in empty if room.cpu is not None), default=None)
        memory = max((room.memory for room in empty if room.memory is not None), default=None)
        asked_cpu, asked_memory = (max(each) for each in zip(*(footprint.per_pod(job, node) for node in nodes), strict=True))
        asks = [f"{asked_cpu / 1000:g} cores"] if asked_cpu else []
        asks += [f"{quantity.memory(asked_memory)} memory"] if asked_memory else []
        has = [f"{cpu / 1000:g} cores"] if cpu is not None else []
        has += [f"{quantity.memory(memory)}"] if memory is not None else []
        beside = f", and {footprint.head_words(job)}" if footprint.has_head(job) else ""
        sentence = f"{shape(job)} asks {' and '.join(asks)} per node{beside}, the largest node of {place_name} has {' and '.join(has)}"
        return Reason(code="never-fits", sentence=sentence, what="change", advice="ask less with --cpus or --memory")
    command = f"gpuctl submit -j {largest} ..." if largest else None
    advice = f"the largest shape that would ever fit is {largest}" if largest else None
    return Reason(code="never-fits", sentence=sentence, what="change", advice=advice, command=command)


def _nowhere(job: QueueJob, space: Space) -> Refusal:
    """No node at all answers to what the job asked for."""
    clusters = sorted({room.node.cluster for room in space.rooms.values()} | set(space.unreachable))
    tiers = sorted({room.node.tier or "no tier" for room in space.rooms.values()})
    if job.cluster is not None and job.cluster not in clusters:
        sentence = f"no cluster {job.cluster} here, there is {', '.join(clusters) or 'none'}"
    elif job.tier != "any" and clusters:
        sentence = f"no {job.tier} node{' in ' + job.cluster if job.cluster else ''}, there is {', '.join(tiers)}"
    elif clusters:
        sentence = f"every node is excluded ({', '.join(job.exclude)})"
    else:
        sentence = "no node is there"
    return Refusal(job.cluster or "", None, Reason(code="never-fits", sentence=sentence, what="change"), job.pods * job.gpus)


def _largest(rooms: Sequence[Room], only: Sequence[int] = ()) -> str | None:
    sizes = [room.usable(only) for room in rooms]
    most = max(sizes, default=0)
    return f"{sum(size // most for size in sizes)}x{most}" if most else None


def _reshaped(job: QueueJob, rooms: Sequence[Room]) -> str | None:
    """The same number of devices in smaller pieces that fit now, as large as possible."""
    asked = job.pods * job.gpus
    sizes = [room.usable(job.devices) for room in rooms]
    for gpus in range(job.gpus - 1, 0, -1):
        if asked % gpus == 0 and sum(size // gpus for size in sizes) * gpus >= asked:
            return f"{asked // gpus}x{gpus}"
    return None


def _tier_rank(tier: str | None) -> tuple[int, str]:
    return (TIERS.index(tier), "") if tier in TIERS else (len(TIERS), tier or "")
