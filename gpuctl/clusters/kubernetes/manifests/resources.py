"""What a pod asks for: GPUs, and the CPU and memory that go with them."""

from collections.abc import Iterable

from gpuctl.clusters.kubernetes import amounts as quantities
from gpuctl.clusters.kubernetes.manifests import given
from gpuctl.clusters.kubernetes.manifests.values import ClusterFacts, Engine, Settings
from gpuctl.model import gputype
from gpuctl.model.place import Footprint, Node
from gpuctl.model.spec import JobSpec
from gpuctl.policy.described import node_state
from gpuctl.policy.footprint import portion
from gpuctl.policy.placement import Placement

SHARED = 0.9
"""How much of a node its GPUs share; the rest is for what runs on every node. A Ray's head takes its part of it."""
IDLE_CPU_MILLIS = 1000
IDLE_MEMORY = 2 << 30
"""What a job without GPUs asks for by default."""


def footprint(spec: JobSpec, engine: Engine, settings: Settings) -> Footprint:
    """What the job's pods take besides devices, and the pod that is a Ray's head, where the engine makes one.

    Raises:
        InvalidInput: ``bad-pod-patch``.
    """
    head = spec.kind == "ray" and engine is not Engine.JOB
    asked = given.requests(spec, settings) if head else {}
    head_cpu = quantities.millis(asked["cpu"]) if "cpu" in asked else settings.head_cpu_millis
    head_memory = quantities.whole(asked["memory"]) if "memory" in asked else settings.head_memory
    return Footprint(
        cpu_millis=IDLE_CPU_MILLIS,
        memory=IDLE_MEMORY,
        share=SHARED,
        head_cpu_millis=head_cpu if head else 0,
        head_memory=head_memory if head else 0,
    )


def share(spec: JobSpec, nodes: Iterable[Node], takes: Footprint) -> tuple[int | None, int | None]:
    """CPU (thousandths of a core) and memory (bytes) of one pod: asked for, else its GPUs' share of the smallest of ``nodes``.

    None where nothing was asked for and no node is known. Without GPUs the default is one core and 2 GiB.
    """
    cpu, memory = spec.cpu_millis, spec.memory_bytes
    if spec.gpus == 0:
        return cpu or takes.cpu_millis, memory or takes.memory
    portions = [portion(takes, node_state(node), spec.gpus) for node in nodes if node.gpus and node.gpus >= spec.gpus]
    if cpu is None:
        cpu = min((cores for cores, _ in portions if cores), default=None)
    if memory is None:
        memory = min((size for _, size in portions if size), default=None)
    return cpu, memory


def candidates(spec: JobSpec, facts: ClusterFacts, placement: Placement | None) -> list[Node]:
    """The nodes a pod may come to: those of the placement, else all of the type and tier that were asked for."""
    if placement is not None and placement.pods:
        placed = {pod.node for pod in placement.pods}
        found = [node for node in facts.nodes if node.name in placed]
        if found:
            return found
    return [
        node
        for node in facts.nodes
        if (spec.gpu_type is None or gputype.matches(spec.gpu_type, node.gpu_type)) and spec.tier in ("any", node.tier or "reserved")
    ]


def resources(
    spec: JobSpec, facts: ClusterFacts, settings: Settings, placement: Placement | None, engine: Engine
) -> dict[str, dict[str, str]]:
    """Requests and limits of the container that runs the job on one node.

    CPU has no limit: cores that nobody uses may be used. Memory has one where it is known, for a node that runs out kills anything.
    """
    cpu, memory = share(spec, candidates(spec, facts, placement), footprint(spec, engine, settings))
    return amounts(
        cpu,
        memory,
        gpus=spec.gpus,
        gpu_resource=settings.gpu_resource,
        limit_memory=spec.gpus > 0 or spec.memory is not None,
    )


def amounts(
    cpu: int | None, memory: int | None, *, gpus: int = 0, gpu_resource: str = "nvidia.com/gpu", limit_memory: bool = True
) -> dict[str, dict[str, str]]:
    """The ``resources`` of a container."""
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if cpu is not None:
        requests["cpu"] = f"{cpu // 1000}" if cpu % 1000 == 0 else f"{cpu}m"
    if memory is not None:
        requests["memory"] = amount(memory)
        if limit_memory:
            limits["memory"] = amount(memory)
    if gpus:
        requests[gpu_resource] = limits[gpu_resource] = str(gpus)
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def amount(count: int) -> str:
    """Bytes as an exact quantity."""
    for unit, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if count and count % size == 0:
            return f"{count // size}{unit}"
    return str(count)
