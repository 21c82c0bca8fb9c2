"""Plain Kubernetes and JobSet: Indexed Jobs, alone with a headless Service, or inside a JobSet. Also a Ray without its operator."""

from typing import Any

from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.manifests import environment
from gpuctl.clusters.kubernetes.manifests.engines import JOB_API, JOBSET_API
from gpuctl.clusters.kubernetes.manifests.given import MAIN
from gpuctl.clusters.kubernetes.manifests.job import Rendering
from gpuctl.clusters.kubernetes.manifests.pod import template

MOST_INDICES = 100_000
"""Tasks of an array that Kubernetes counts one by one."""

_DISRUPTED = [{"type": "DisruptionTarget"}]


def job_objects(job: Rendering) -> tuple[dict[str, Any], ...]:
    """An Indexed Job, with a headless Service when its pods have to find each other."""
    if job.spec.array is not None:
        return (_array(job),)
    spec = _indexed(job, _pods(job, gang=job.pods > 1), count=job.pods)
    spec["ttlSecondsAfterFinished"] = job.settings.ttl_seconds
    if job.spec.kind == "ray":
        # The entrypoint runs on the first pod, and its end is the job's; older clusters wait for the workers, which see the head go.
        spec["successPolicy"] = {"rules": [{"succeededIndexes": "0"}]}
    made = {"apiVersion": JOB_API, "kind": "Job", "metadata": job.metadata(), "spec": spec}
    if job.suspended:
        spec["suspend"] = True
    if job.pods == 1:
        return (made,)
    spec["template"]["spec"]["subdomain"] = job.name
    return (_service(job), made)


def jobset_objects(job: Rendering) -> tuple[dict[str, Any], ...]:
    """A JobSet: one ReplicatedJob ``node``; for Ray ``head`` and ``worker``. Its own Service gives the pods their names."""
    if job.spec.kind == "ray":
        head = template(job, command=_ray_command(job), role="head", gpus=False, extra_env=[environment.ray_token(job)])
        worker = template(job, command=_ray_command(job), role="worker", extra_env=[environment.ray_token(job)])
        replicated = [
            {"name": "head", "replicas": 1, "template": {"spec": _indexed(job, head, count=1)}},
            {"name": "worker", "replicas": 1, "template": {"spec": _indexed(job, worker, count=job.pods)}},
        ]
    else:
        pods = _pods(job, gang=job.pods > 1)
        replicated = [{"name": "node", "replicas": 1, "template": {"spec": _indexed(job, pods, count=job.pods)}}]
    for each in replicated:
        each["template"]["metadata"] = {"labels": dict(job.labels)}  # type: ignore[index]
        _below_zero(job, each["template"]["spec"]["template"])  # type: ignore[index]
    spec: dict[str, Any] = {
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True, "subdomain": job.name},
        "failurePolicy": _failure_policy(job),
        "replicatedJobs": replicated,
        "ttlSecondsAfterFinished": job.settings.ttl_seconds,
    }
    if job.spec.kind == "ray":
        spec["successPolicy"] = {"operator": "All", "targetReplicatedJobs": ["head"]}
    if job.suspended:
        spec["suspend"] = True
    return ({"apiVersion": JOBSET_API, "kind": "JobSet", "metadata": job.metadata(), "spec": spec},)


def _below_zero(job: Rendering, pods: dict[str, Any]) -> None:
    """Keep JobSet from copying the pods' priority into a label: a negative number is no label's value, and no pod would be created.

    Since 0.11 its webhook labels every pod with its priority, for exclusive placement among pods of one priority, but leaves those alone
    that have this annotation. It means more only together with a topology for exclusive placement, which no job of gpuctl has.
    """
    if pods["spec"].get("priorityClassName", "") in job.facts.below_zero:
        pods["metadata"]["annotations"] = {**pods["metadata"].get("annotations", {}), names.JOBSET_NODE_SELECTOR: "true"}


def _pods(job: Rendering, *, gang: bool) -> dict[str, Any]:
    if job.spec.kind == "ray":
        return template(job, command=_ray_command(job), role="any", gang=gang, extra_env=[environment.ray_token(job)])
    return template(job, container=MAIN, command=environment.arguments(job, "run", *environment.command(job)), gang=gang)


def _ray_command(job: Rendering) -> list[str]:
    return environment.arguments(job, "ray")


def _indexed(job: Rendering, pods: dict[str, Any], *, count: int) -> dict[str, Any]:
    """An Indexed Job that is all or nothing: whatever fails, or is taken away, fails it as a whole."""
    rules: list[dict[str, Any]] = [{"action": "FailJob", "onPodConditions": _DISRUPTED}]
    if job.spec.retries and job.spec.time_seconds is not None:
        codes = {"operator": "In", "values": [environment.CUT_STATUS]}
        rules.append({"action": "FailJob", "onExitCodes": codes})
    return {
        "completions": count,
        "parallelism": count,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": rules},
        "template": pods,
    }


def _failure_policy(job: Rendering) -> dict[str, Any]:
    """Retries are JobSet's restarts. What was taken away is started again with ``--requeue``, what reached its limit never."""
    rules: list[dict[str, Any]] = []
    if job.spec.requeue:
        rules.append(
            {
                "name": "disrupted",
                "action": "RestartJobSetAndIgnoreMaxRestarts",
                "onJobFailureReasons": ["PodFailurePolicy"],
                "onJobFailureMessagePatterns": [".*DisruptionTarget.*"],
            }
        )
    if job.spec.retries and job.spec.time_seconds is not None:
        rules.append(
            {
                "name": "cut",
                "action": "FailJobSet",
                "onJobFailureReasons": ["PodFailurePolicy"],
                "onJobFailureMessagePatterns": [f".*exit code {environment.CUT_STATUS} .*"],
            }
        )
    found: dict[str, Any] = {"maxRestarts": job.spec.retries}
    if rules:
        found["rules"] = rules
    return found


def _array(job: Rendering) -> dict[str, Any]:
    """An array: one index per task, each of which fails alone."""
    array = job.spec.array
    assert array is not None
    pods = template(job, command=environment.arguments(job, "run", *environment.command(job)))
    pods["metadata"]["labels"][names.ARRAY] = "true"
    count = array.count
    spec: dict[str, Any] = {
        "completions": count,
        "parallelism": min(count, array.parallel or count),
        "completionMode": "Indexed",
        "backoffLimitPerIndex": job.spec.retries,
        "maxFailedIndexes": count,
        "template": pods,
        "ttlSecondsAfterFinished": job.settings.ttl_seconds,
    }
    if job.spec.requeue:
        # One task is a gang of its own: Kubernetes may start it again, and what took it away uses up no retry.
        spec["podFailurePolicy"] = {"rules": [{"action": "Ignore", "onPodConditions": _DISRUPTED}]}
    if job.suspended:
        spec["suspend"] = True
    return {"apiVersion": JOB_API, "kind": "Job", "metadata": job.metadata(), "spec": spec}


def _service(job: Rendering) -> dict[str, Any]:
    """Gives every pod of the Job a DNS name from the moment it has an address, for peers look for each other before they are ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": job.name, "namespace": job.facts.namespace, "labels": dict(job.labels)},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.JOB_ID: job.who.job_id, names.ATTEMPT: str(job.who.attempt)},
        },
    }
