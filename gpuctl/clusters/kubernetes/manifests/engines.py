"""Which object a job becomes, from what the cluster has and what was forced."""

from gpuctl.base.errors import UsageError
from gpuctl.clusters.kubernetes.manifests.values import ClusterFacts, Engine, Runtime
from gpuctl.model.spec import Kind

JOBSET_API = "jobset.x-k8s.io/v1alpha2"
TRAINER_API = "trainer.kubeflow.org/v1alpha1"
PYTORCH_API = "kubeflow.org/v1"
RAY_API = "ray.io/v1"
JOB_API = "batch/v1"

API = {
    Engine.JOBSET: JOBSET_API,
    Engine.TRAINJOB: TRAINER_API,
    Engine.PYTORCHJOB: PYTORCH_API,
    Engine.JOB: JOB_API,
    Engine.RAYJOB: RAY_API,
}
_PROJECT = {
    Engine.JOBSET: "JobSet",
    Engine.TRAINJOB: "Kubeflow Trainer",
    Engine.PYTORCHJOB: "the Kubeflow training operator",
    Engine.RAYJOB: "KubeRay",
}

_ORDER: dict[Kind, tuple[Engine, ...]] = {
    "pytorch": (Engine.JOBSET, Engine.TRAINJOB, Engine.PYTORCHJOB, Engine.JOB),
    "command": (Engine.JOBSET, Engine.JOB),
    "ray": (Engine.RAYJOB, Engine.JOBSET, Engine.JOB),
}
"""The best first; the last needs nothing but Kubernetes."""


def choose(kind: Kind, facts: ClusterFacts, forced: str | None = None, *, array: bool = False) -> Engine:
    """The engine for a job of ``kind``. ``forced`` (``--engine``, the profile's) None or ``auto``: the best that the cluster has.

    A forced engine that is for another kind of job (``rayjob`` and a PyTorch job) leaves the choice free.

    Raises:
        UsageError: ``engine-missing``, the cluster does not have what was forced; ``engine-unfit``, an array needs ``job``.
    """
    if array:
        if forced not in (None, "auto", Engine.JOB.value) and Engine(forced) in _ORDER[kind]:
            raise UsageError(
                f"cannot submit an array as {forced} on {facts.name}: its tasks are one Indexed Job",
                code="engine-unfit",
                hint="leave out the engine, or: engine=job in the profile",
            )
        return Engine.JOB
    if forced not in (None, "auto"):
        wanted = Engine(forced)
        if wanted in _ORDER[kind]:
            if not _has(wanted, facts):
                there = ", ".join(engine.value for engine in _ORDER[kind] if _has(engine, facts))
                raise UsageError(
                    f"cannot use engine {wanted.value} on {facts.name}: {_PROJECT[wanted]} is not installed there",
                    code="engine-missing",
                    cause=f"the cluster does not serve {API[wanted]}; it has {there}",
                    hint="gpuctl clusters",
                )
            return wanted
    return next(engine for engine in _ORDER[kind] if _has(engine, facts) and (engine is not Engine.TRAINJOB or _torch_runtimes(facts)))


def available(facts: ClusterFacts) -> tuple[Engine, ...]:
    """Every engine that the cluster has."""
    return tuple(engine for engine in Engine if _has(engine, facts))


def runtime(facts: ClusterFacts, named: str | None) -> Runtime:
    """The Trainer runtime of a TrainJob: the named one, else the namespace's or the cluster's own for torch.

    Raises:
        UsageError: ``runtime-missing``.
    """
    if named is not None:
        found = [each for each in facts.runtimes if each.name == named]
    else:
        found = _torch_runtimes(facts)
    if found:
        return min(found, key=lambda each: (each.cluster_wide, each.name))
    there = ", ".join(sorted(each.name for each in facts.runtimes)) or "none"
    raise UsageError(
        f"cannot submit a TrainJob to {facts.name}: no runtime {named or 'for torch'}",
        code="runtime-missing",
        cause=f"runtimes there: {there}",
        hint="runtime=NAME in the profile, or engine=job",
    )


def _has(engine: Engine, facts: ClusterFacts) -> bool:
    return engine is Engine.JOB or facts.serves(API[engine])


def _torch_runtimes(facts: ClusterFacts) -> list[Runtime]:
    return [each for each in facts.runtimes if each.framework == "torch"]
