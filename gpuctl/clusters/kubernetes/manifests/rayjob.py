"""KubeRay: a RayJob with its own RayCluster, which goes when the job has ended."""

import copy
import re
from typing import Any

from gpuctl.base.errors import UsageError
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.manifests import environment
from gpuctl.clusters.kubernetes.manifests.engines import RAY_API
from gpuctl.clusters.kubernetes.manifests.job import Rendering
from gpuctl.clusters.kubernetes.manifests.pod import INPUT_VOLUME, template
from gpuctl.clusters.kubernetes.manifests.resources import amounts

OVERWRITE = "ray.io/overwrite-container-cmd"
"""KubeRay leaves the container's command alone and hands its own over as KUBERAY_GEN_RAY_START_CMD (since 1.1)."""
ONE_HEAD = "ray.io/disable-provisioned-head-restart"
"""KubeRay makes no second head once Ray was complete (since 1.6): that one would know nothing of the entrypoint."""
SUBMITTER = "ray-job-submitter"
TOKEN_SINCE = (2, 52)
"""The first Ray that can ask for a token."""

ENTRYPOINT = f"/bin/sh {environment.BASE}/in/entry.sh program"
"""Words that need no quotes: they pass through shells of KubeRay's and Ray's before they are read."""

_SUBMITTER_SHARES = (
    "automountServiceAccountToken",
    "enableServiceLinks",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
)
"""What the submitter's pod has in common with the head's."""

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
    metadata["annotations"] |= {OVERWRITE: "true", ONE_HEAD: "true"}
    spec: dict[str, Any] = {
        "entrypoint": ENTRYPOINT,
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        # Of the Ray cluster, not of the RayJob: its pods hold what the job asked for until then.
        "ttlSecondsAfterFinished": 0,
        "backoffLimit": 0,
        "submitterConfig": {"backoffLimit": 0},
        "submitterPodTemplate": _submitter(job, head),
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


def _submitter(job: Rendering, head: dict[str, Any]) -> dict[str, Any]:
    """The pod that hands Ray the entrypoint and writes what that writes: it outlives Ray, and so does the log of the job."""
    spec = head["spec"]
    main = spec["containers"][0]
    container: dict[str, Any] = {
        "name": SUBMITTER,
        "image": job.image,
        "command": environment.arguments(job, "ray-submit", ENTRYPOINT),
        "env": [each for each in main["env"] if each["name"] in ("PYTHONUNBUFFERED", "GPUCTL_POD_PYTHON")],
        "resources": amounts(100, 256 << 20, limit_memory=False),
        "volumeMounts": [each for each in main["volumeMounts"] if each["name"] == INPUT_VOLUME],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if "securityContext" in main:
        container["securityContext"] = main["securityContext"]
    pods: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [each for each in spec["volumes"] if each["name"] == INPUT_VOLUME],
    }
    pods |= {key: spec[key] for key in _SUBMITTER_SHARES if key in spec}
    return copy.deepcopy({"metadata": {"labels": {**job.labels, names.PART: names.SUBMITTER}}, "spec": pods})


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
