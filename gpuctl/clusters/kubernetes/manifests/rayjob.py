"""KubeRay: a RayJob with its own RayCluster, which goes when the job has ended."""

import re
from typing import Any

from gpuctl.base.errors import UsageError
from gpuctl.clusters.kubernetes.manifests import environment
from gpuctl.clusters.kubernetes.manifests.engines import RAY_API
from gpuctl.clusters.kubernetes.manifests.job import Rendering
from gpuctl.clusters.kubernetes.manifests.pod import template

OVERWRITE = "ray.io/overwrite-container-cmd"
"""KubeRay leaves the container's command alone and hands its own over as KUBERAY_GEN_RAY_START_CMD (since 1.1)."""
TOKEN_SINCE = (2, 52)
"""The first Ray that can ask for a token."""

_VERSION = re.compile(r"(?:^|[^0-9.])(\d+)\.(\d+)\.(\d+)")


def rayjob_objects(job: Rendering) -> tuple[dict[str, Any], ...]:
    """A RayJob: a head without GPUs, a worker per node, the entrypoint on the head.

    Never ``preRunningDeadlineSeconds``: it counts while the job waits in a queue.

    Raises:
        UsageError: ``ray-version-unknown``, ``ray-too-old``.
    """
    version = ray_version(job)
    head = template(job, container="ray-head", command=environment.arguments(job, "ray-node"), role="head", gpus=False)
    worker = template(job, container="ray-worker", command=environment.arguments(job, "ray-node"), role="worker")
    for pods in (head, worker):
        pods["metadata"]["annotations"] = {**pods["metadata"].get("annotations", {}), OVERWRITE: "true"}
    metadata = job.metadata()
    metadata["annotations"][OVERWRITE] = "true"
    spec: dict[str, Any] = {
        # Words that need no quotes: they pass through KubeRay's and Ray's shells before they are read.
        "entrypoint": f"/bin/sh {environment.BASE}/in/entry.sh program",
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": job.settings.ttl_seconds,
        "backoffLimit": 0,
        "submitterConfig": {"backoffLimit": 0},
        "rayClusterSpec": {
            "rayVersion": version,
            "authOptions": {"mode": "token"},
            "headGroupSpec": {"rayStartParams": {"num-gpus": "0", "num-cpus": "0", "dashboard-host": "0.0.0.0"}, "template": head},
            "workerGroupSpecs": [
                {
                    "groupName": "worker",
                    "replicas": job.pods,
                    "minReplicas": job.pods,
                    "maxReplicas": job.pods,
                    "rayStartParams": {"num-gpus": str(job.spec.gpus)},
                    "template": worker,
                }
            ],
        },
    }
    if job.suspended:
        spec["suspend"] = True
    return ({"apiVersion": RAY_API, "kind": "RayJob", "metadata": metadata, "spec": spec},)


def ray_version(job: Rendering) -> str:
    """The Ray in the job's image: from its tag, else as the profile says.

    Raises:
        UsageError: ``ray-version-unknown``, ``ray-too-old`` (it could not keep strangers out).
    """
    tag = job.image.rpartition("/")[2].partition(":")[2].partition("@")[0]
    match = _VERSION.search(tag)
    version = ".".join(match.groups()) if match else job.settings.ray_version
    if version is None:
        raise UsageError(
            f"cannot submit {job.who.name}: the tag of image {job.image} does not tell its version of Ray",
            code="ray-version-unknown",
            hint="ray-version=2.52.0 in the profile, or a tag that begins with it",
        )
    if tuple(int(part) for part in version.split(".")[:2]) < TOKEN_SINCE:
        raise UsageError(
            f"cannot submit {job.who.name}: Ray {version} cannot ask for a token, so anybody in the cluster could run code in the job",
            code="ray-too-old",
            cause=f"image {job.image}",
            hint="--image with Ray 2.52 or newer",
        )
    return version
