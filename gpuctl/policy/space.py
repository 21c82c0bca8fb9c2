"""What is free, as the scheduler spends it: one mutable :class:`Room` per node, all of them a :class:`Space`.

The only mutable values of this room of the house. A space is built from a snapshot's nodes, copied before anything hypothetical is tried
on it, and never leaves the function that made it.
"""

import functools
from collections.abc import Iterable, Sequence

from gpuctl.policy.values import NodeState, PodPlace

TIERS: tuple[str | None, ...] = (None, "reserved", "on-demand")
"""The order in which tiers are tried. A place without tiers (the workstation under the desk) costs nothing and comes first."""


class Room:
    """One node's free devices, CPU (thousandths of a core) and memory (bytes); ``cpu`` and ``memory`` None: no limit known.

    ``devices`` are the free indices in ascending order, or None where the place only counts; ``free`` is always their number.
    """

    __slots__ = ("cpu", "devices", "free", "memory", "node")

    def __init__(self, node: NodeState, free: int, devices: tuple[int, ...] | None, cpu: int | None, memory: int | None) -> None:
        self.node = node
        self.free = free
        self.devices = devices
        self.cpu = cpu
        self.memory = memory

    @classmethod
    def now(cls, node: NodeState) -> "Room":
        """The node as it is."""
        indexed = bool(node.devices or node.devices_free)
        devices = tuple(sorted(node.devices_free)) if indexed else None
        free = len(devices) if devices is not None else max(0, node.gpus_free)
        return cls(node, free, devices, node.cpu_millis_free, node.memory_free)

    @classmethod
    def empty(cls, node: NodeState) -> "Room":
        """The node with nobody on it."""
        devices = tuple(sorted(node.devices or node.devices_free)) or None
        return cls(node, total(node), devices, node.cpu_millis, node.memory)

    def copy(self) -> "Room":
        """An independent room."""
        return Room(self.node, self.free, self.devices, self.cpu, self.memory)

    @property
    def whole(self) -> bool:
        """Whether every device of a node with devices is free."""
        count = total(self.node)
        return count > 0 and self.free >= count

    def usable(self, only: Sequence[int]) -> int:
        """Free devices a job may use that is restricted to the indices ``only`` (empty: not restricted)."""
        if not only:
            return self.free
        return len(set(self.devices or ()) & set(only))

    def capacity(self, gpus: int, cpu: int, memory: int, only: Sequence[int], most: int) -> int:
        """How many pods of this size fit, at most ``most``."""
        count = most
        if gpus:
            count = min(count, (self.usable(only) if only else self.free) // gpus)
        if cpu and self.cpu is not None:
            count = min(count, max(0, self.cpu) // cpu)
        if memory and self.memory is not None:
            count = min(count, max(0, self.memory) // memory)
        return count

    def remove(self, devices: Sequence[int], gpus: int, cpu: int = 0, memory: int = 0) -> None:
        """Spend devices by index where the room has indices, else ``gpus`` of them; what is not free is not spent twice."""
        if self.devices is not None:
            gone = set(devices)
            self.devices = tuple(index for index in self.devices if index not in gone)
            self.free = len(self.devices)
        else:
            self.free = max(0, self.free - gpus)
        if self.cpu is not None:
            self.cpu -= cpu
        if self.memory is not None:
            self.memory -= memory

    def add(self, devices: Sequence[int], gpus: int, cpu: int = 0, memory: int = 0) -> None:
        """The opposite of :meth:`remove`; devices the node does not have are left out."""
        if self.devices is not None:
            known = self.node.devices or self.node.devices_free
            self.devices = tuple(sorted(set(self.devices) | (set(devices) & set(known))))
            self.free = len(self.devices)
        else:
            self.free = min(total(self.node), self.free + gpus)
        if self.cpu is not None:
            self.cpu += cpu
        if self.memory is not None:
            self.memory += memory


class Space:
    """All rooms, by cluster and node."""

    __slots__ = ("rooms", "unreachable")

    def __init__(self, rooms: dict[tuple[str, str], Room], unreachable: tuple[str, ...] = ()) -> None:
        self.rooms = rooms
        self.unreachable = unreachable

    @classmethod
    def now(cls, nodes: Iterable[NodeState], unreachable: Iterable[str] = ()) -> "Space":
        """What is free now. The order of ``nodes`` does not matter."""
        return cls({(node.cluster, node.name): Room.now(node) for node in sorted(nodes, key=_order)}, tuple(sorted(unreachable)))

    @classmethod
    def empty(cls, nodes: Iterable[NodeState]) -> "Space":
        """What would be free with nobody there, nodes that are not ready included."""
        return cls({(node.cluster, node.name): Room.empty(node) for node in sorted(nodes, key=_order)})

    def copy(self) -> "Space":
        """An independent space."""
        return Space({key: room.copy() for key, room in self.rooms.items()}, self.unreachable)

    def take(self, pods: Iterable[PodPlace], *, cpu: int = 0, memory: int = 0) -> None:
        """Spend what these pods hold; CPU and memory are per pod."""
        for pod in pods:
            room = self.rooms.get((pod.cluster, pod.node))
            if room is not None:
                room.remove(pod.devices, pod.gpus or len(pod.devices), cpu, memory)

    def give(self, pods: Iterable[PodPlace], *, cpu: int = 0, memory: int = 0) -> None:
        """Give back what these pods held. Nodes that are gone are skipped."""
        for pod in pods:
            room = self.rooms.get((pod.cluster, pod.node))
            if room is not None:
                room.add(pod.devices, pod.gpus or len(pod.devices), cpu, memory)


def total(node: NodeState) -> int:
    """All devices of a node, free or not."""
    return max(node.gpus, len(node.devices), len(node.devices_free))


def _order(node: NodeState) -> tuple[int, str, tuple[tuple[int, int, str], ...]]:
    tier = TIERS.index(node.tier) if node.tier in TIERS else len(TIERS)
    return tier, node.cluster, natural(node.name)


@functools.lru_cache(maxsize=16384)
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which ``node-9`` comes before ``node-10``."""
    parts: list[tuple[int, int, str]] = []
    word = ""
    digits = ""
    for char in name + "\0":
        if char in "0123456789":
            if word:
                parts.append((1, 0, word))
                word = ""
            digits += char
            continue
        if digits:
            parts.append((0, int(digits), digits))
            digits = ""
        word += char
    parts.append((1, 0, word))
    return tuple(parts)
