"""Kubeflow: a TrainJob on a runtime of Trainer v2, or a PyTorchJob of the training operator. Both set their pods' ranks themselves."""

from typing import Any

from gpuctl.base.errors import InvalidInput, Problem
from gpuctl.clusters.kubernetes.manifests import engines, environment
from gpuctl.clusters.kubernetes.manifests.job import Rendering
from gpuctl.clusters.kubernetes.manifests.pod import template

MANAGER = "gpuctl.io/gpuctl"
TRAIN_CONTAINER = "node"
PYTORCH_CONTAINER = "pytorch"

_PATCHED = (
    "affinity",
    "imagePullSecrets",
    "nodeSelector",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "volumes",
    "securityContext",
    "schedulingGates",
)
"""What a TrainJob lets a job say about its pods."""
_DROPPED = frozenset(
    {
        "activeDeadlineSeconds",
        "automountServiceAccountToken",
        "containers",
        "enableServiceLinks",
        "initContainers",
        "priorityClassName",
        "restartPolicy",
    }
)
"""What gpuctl says itself and the runtime decides (or the TrainJob has a field for)."""


def trainjob_objects(job: Rendering) -> tuple[dict[str, Any], ...]:
    """A TrainJob. Its runtime owns the pod template, so the code is unpacked by the main container itself.

    Raises:
        UsageError: ``runtime-missing``.
        InvalidInput: ``bad-pod-patch``, a patch that a TrainJob cannot carry.
    """
    words = environment.arguments(job, "run", *environment.command(job))
    pods = template(job, container=TRAIN_CONTAINER, command=words)
    spec = pods["spec"]
    _refuse_what_is_lost(job, spec)
    main = next(each for each in spec["containers"] if each["name"] == TRAIN_CONTAINER)
    runtime = engines.runtime(job.facts, job.settings.runtime)
    kind = "ClusterTrainingRuntime" if runtime.cluster_wide else "TrainingRuntime"
    pod_patch: dict[str, Any] = {key: spec[key] for key in _PATCHED if key in spec}
    pod_patch["containers"] = [{"name": TRAIN_CONTAINER, "volumeMounts": main["volumeMounts"]}]
    patch = {"metadata": pods["metadata"], "spec": pod_patch}
    made: dict[str, Any] = {
        "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": kind, "name": runtime.name},
        "trainer": {
            "image": main["image"],
            "command": main["command"],
            "env": [each for each in main["env"] if not each["name"].startswith("PET_")],
            "numNodes": job.pods,
            "numProcPerNode": job.spec.procs_per_node,
            "resourcesPerNode": main["resources"],
        },
        "runtimePatches": [
            {
                "manager": MANAGER,
                "trainingRuntimeSpec": {
                    "template": {"spec": {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": patch}}}]}}
                },
            }
        ],
    }
    if job.spec.time_seconds is not None:
        made["activeDeadlineSeconds"] = job.spec.time_seconds
    if job.suspended:
        made["suspend"] = True
    return ({"apiVersion": engines.TRAINER_API, "kind": "TrainJob", "metadata": job.metadata(), "spec": made},)


def pytorchjob_objects(job: Rendering) -> tuple[dict[str, Any], ...]:
    """A PyTorchJob: the first node is its master, the others its workers.

    Its Services publish only pods that are ready, so pods cannot wait for each other before they start; the operator lets workers wait for
    the master itself.
    """
    pods = template(job, container=PYTORCH_CONTAINER, command=environment.arguments(job, "run", *environment.command(job)))
    replicas: dict[str, Any] = {"Master": {"replicas": 1, "restartPolicy": "Never", "template": pods}}
    if job.pods > 1:
        replicas["Worker"] = {"replicas": job.pods - 1, "restartPolicy": "Never", "template": pods}
    run_policy: dict[str, Any] = {
        "backoffLimit": 0,
        "cleanPodPolicy": "Running",
        "ttlSecondsAfterFinished": job.settings.ttl_seconds,
    }
    if job.suspended:
        run_policy["suspend"] = True
    spec = {"nprocPerNode": str(job.spec.procs_per_node), "pytorchReplicaSpecs": replicas, "runPolicy": run_policy}
    return ({"apiVersion": engines.PYTORCH_API, "kind": "PyTorchJob", "metadata": job.metadata(), "spec": spec},)


def _refuse_what_is_lost(job: Rendering, spec: dict[str, Any]) -> None:
    """A patch is never dropped in silence."""
    ours = _DROPPED | ({"dnsPolicy"} if "hostNetwork" in spec else set())
    problems = [
        Problem(field=f"spec.{key}", message="cannot be set on the pods of a TrainJob", allowed=", ".join(sorted(_PATCHED)))
        for key in sorted(set(spec) - set(_PATCHED) - ours)
    ]
    problems += [
        Problem(field=f"spec.containers[{number}]", message="a TrainJob takes no further container", got=each["name"])
        for number, each in enumerate(spec["containers"])
        if each["name"] != TRAIN_CONTAINER
    ]
    if problems:
        hint = "engine=jobset or engine=job in the profile"
        raise InvalidInput(f"cannot submit {job.who.name}", problems, code="bad-pod-patch", hint=hint)
