"""From the pods of a job to what streams lead to."""

from gpuctl.clusters.kubernetes.observe.translate import Parts
from gpuctl.clusters.kubernetes.observe.translate_pods import Seen, Stage, main_container
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.model.spec import JobSpec

_NO_NEWS = "wait-gcs-ready"
"""KubeRay's init container, in which workers wait for the head."""


def all_of(parts: Parts, *, namespace: str, task: int | None = None) -> tuple[PodTarget, ...]:
    """Every pod that has been on a node, of all attempts that are kept; of one task only, if given."""
    found = [_target(seen, parts.spec, namespace) for seen in _voices(parts) if seen.stage > Stage.WAITING]
    return tuple(each for each in found if task is None or each.task == task)


def _voices(parts: Parts) -> tuple[Seen, ...]:
    """Whose output is the job's: that of the entrypoint of KubeRay's Ray comes from the pod that handed it over, not from the head."""
    if parts.submitters is None:
        return parts.pods
    return (*(each._replace(ranks=(0,)) for each in parts.submitters[-1:]), *(each._replace(ranks=()) for each in parts.pods))


def running(parts: Parts, *, namespace: str, task: int | None = None) -> tuple[PodTarget, ...]:
    """The pods of the present attempt whose program runs."""
    found = [_target(seen, parts.spec, namespace) for seen in parts.current if seen.stage is Stage.RUNNING]
    return tuple(each for each in found if task is None or each.task == task)


def _target(seen: Seen, spec: JobSpec, namespace: str) -> PodTarget:
    container = main_container(seen.pod)
    meta = seen.pod.metadata
    array = spec.array
    position = seen.node_index
    return PodTarget(
        namespace=namespace,
        name=meta.name,
        uid=meta.uid,
        container=container.name if container is not None else "main",
        node=0 if array is not None else position,
        ranks=seen.ranks,
        prefixed=prefixed(spec),
        before=tuple(each.name for each in seen.pod.spec.init_containers or () if each.name != _NO_NEWS),
        host=seen.node or None,
        task=array.indices[position] if array is not None and position < array.count else None,
        attempt=seen.attempt,
    )


def prefixed(spec: JobSpec) -> bool:
    """Whether something in the pod starts the ranks and says before each line whose it is."""
    return spec.kind == "pytorch" or (spec.kind == "command" and (spec.per == "gpu" or spec.nproc_per_node is not None))
