"""What a gang takes of nodes besides devices: CPU and memory of each pod, and room for one more pod without devices, a Ray's head."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

from gpuctl.base import quantity
from gpuctl.model.place import Footprint
from gpuctl.policy.space import Room, total
from gpuctl.policy.values import NodeState, QueueJob


class Seated(NamedTuple):
    """Rooms for the pods, once the head has its place: ``head`` is its node's name, None for a gang without one."""

    rooms: Sequence[Room]
    head: str | None = None


def portion(footprint: Footprint, node: NodeState, gpus: int) -> tuple[int, int]:
    """CPU (thousandths of a core) and memory (bytes) that go with ``gpus`` of a node's devices; 0 where nobody knows, or nothing goes.

    The head's part is taken off first, so that it fits onto a node whose devices are all taken.
    """
    if not footprint.share:
        return 0, 0
    head = footprint.head_cpu_millis, footprint.head_memory
    return _portion(footprint.share, *head, node.cpu_millis or 0, node.memory or 0, total(node), gpus)


@functools.lru_cache(maxsize=512)
def _portion(share: float, head_cpu: int, head_memory: int, cores: int, size: int, count: int, gpus: int) -> tuple[int, int]:
    """Nodes are alike; a thousand of them take the time of one."""
    if not count:
        return 0, 0
    cpu = max(100, (int(cores * share) - head_cpu) * gpus // count // 100 * 100) if cores else 0
    memory = max(64 << 20, (int(size * share) - head_memory) * gpus // count >> 20 << 20) if size else 0
    return cpu, memory


def per_pod(job: QueueJob, node: NodeState) -> tuple[int, int]:
    """CPU and memory that one pod takes of the node: what was asked for, else what the place gives; 0: does not matter."""
    footprint = job.footprint
    if footprint is None:
        return job.cpu_millis, job.memory
    cpu, memory = portion(footprint, node, job.gpus) if job.gpus else (footprint.cpu_millis, footprint.memory)
    return job.cpu_millis or cpu, job.memory or memory


def capacity(job: QueueJob, room: Room) -> int:
    """How many pods of the job fit into the room."""
    cpu, memory = per_pod(job, room.node)
    return room.capacity(job.gpus, cpu, memory, job.devices, job.pods)


def has_head(job: QueueJob) -> bool:
    """Whether one more pod goes with the gang."""
    return job.footprint is not None and bool(job.footprint.head_cpu_millis or job.footprint.head_memory)


def seat(job: QueueJob, rooms: Sequence[Room], beside: Sequence[Room]) -> Seated | None:
    """Give the head its place: where it costs the pods least, then on a node without devices, then on one that is broken into already.

    Since whether pods fit is the sum of what the nodes can hold, no other place would leave them more.

    Args:
        job: the gang.
        rooms: where its pods may go.
        beside: where its head may go: of the same cluster and tier, whatever their devices are.

    Returns:
        None when no node has room for the head.
    """
    footprint = job.footprint
    if footprint is None or not has_head(job):
        return Seated(rooms)
    cpu, memory = footprint.head_cpu_millis, footprint.head_memory
    best: tuple[tuple[int, bool, bool, str], Room] | None = None
    usable = {id(room) for room in rooms}
    for room in beside:
        if not room.capacity(0, cpu, memory, (), 1):
            continue
        lost = capacity(job, room) - capacity(job, _less(room, cpu, memory)) if id(room) in usable else 0
        key = (lost, total(room.node) > 0, room.whole, room.node.name)
        if best is None or key < best[0]:
            best = (key, room)
    if best is None:
        return None
    chosen = best[1]
    return Seated([_less(room, cpu, memory) if room is chosen else room for room in rooms], chosen.node.name)


def _less(room: Room, cpu: int, memory: int) -> Room:
    left = room.copy()
    left.remove((), 0, cpu, memory)
    return left


def head_words(job: QueueJob) -> str:
    """What the head asks for: ``2 cores and 8Gi memory for the head of its Ray``."""
    footprint = job.footprint
    assert footprint is not None
    return f"{footprint.head_cpu_millis / 1000:g} cores and {quantity.memory(footprint.head_memory)} memory for the head of its Ray"
