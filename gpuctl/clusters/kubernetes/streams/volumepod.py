"""A short-lived pod that mounts a volume, so that files can be put into it and taken out of it when no job does."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gpuctl.base.clock import from_unix
from gpuctl.base.errors import GpuctlError, UnavailableError
from gpuctl.clusters.kubernetes.streams.copy import Remote
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api
from gpuctl.kube.errors import NotFound
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.resources import PODS
from gpuctl.model.ask import Listing
from gpuctl.model.place import VolumeFile

ROOT = "/volume"
CONTAINER = "files"
LONGEST_S = 6 * 3600
"""Seconds after which the cluster ends the pod, should we not be able to."""
START_S = 180.0
"""Seconds it may take to start: an image may have to be pulled, a disk to be made."""
MOST_FILES = 100_000
"""``files`` lists no more entries than this."""
_POLL_S = 0.25
_HOLD = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"


def spec(
    name: str,
    *,
    namespace: str,
    claim: str,
    image: str,
    read_only: bool = False,
    labels: Mapping[str, str] | None = None,
    node: str | None = None,
    pull_secret: str | None = None,
    service_account: str | None = None,
) -> dict[str, Any]:
    """The pod as an object.

    Args:
        name: the pod's.
        namespace: where the claim is.
        claim: the PersistentVolumeClaim.
        image: any with sh and tar; the jobs' own is likely to be on the nodes already.
        read_only: mount it so.
        labels: what marks it as ours.
        node: where it has to run: a disk that only one node can hold may be in use there.
        pull_secret: credentials of the image's registry.
        service_account: as the namespace demands; its token is not mounted.
    """
    small = {"cpu": "100m", "memory": "128Mi"}
    found: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": LONGEST_S,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # It needs no GPU, but the nodes that can hold the volume may be reserved for those who do.
        "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", _HOLD],
                "workingDir": ROOT,
                "resources": {"requests": small, "limits": {"cpu": "2", "memory": "512Mi"}},
                "securityContext": {"allowPrivilegeEscalation": False},
                "volumeMounts": [{"name": "volume", "mountPath": ROOT, "readOnly": read_only}],
            }
        ],
        "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}}],
    }
    if node is not None:
        found["nodeSelector"] = {"kubernetes.io/hostname": node}
    if pull_secret is not None:
        found["imagePullSecrets"] = [{"name": pull_secret}]
    if service_account is not None:
        found["serviceAccountName"] = service_account
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": found}


@contextmanager
def mounted(api: Api, built: Callable[[str], dict[str, Any]], *, volume: str, within: float = START_S) -> Iterator[Remote]:
    """The files of a volume, for as long as we are inside; the pod is removed however we leave.

    Args:
        api: where the volume is.
        built: makes the pod's object from its name (:func:`spec` with all but the name, and any patch on top).
        volume: its name, for messages and the pod's name.
        within: seconds it may take to start.

    Raises:
        UnavailableError: ``volume-not-mounted``, it did not start in time; the cause says what the cluster says.
        ApiFailure: it was refused.
    """
    name = f"gpuctl-files-{uuid.uuid4().hex[:10]}"
    document = built(name)
    namespace = str(document["metadata"]["namespace"])
    path = PODS.path(namespace, name)
    made = api.create(PODS.path(namespace), document, Pod)
    try:
        _started(api, path, volume=volume, within=within)
        target = PodTarget(namespace=namespace, name=name, container=CONTAINER, uid=made.metadata.uid)
        yield Remote(api, target, what=f"volume {volume}", root=ROOT)
    finally:
        try:
            api.delete(path, grace_s=0, uid=made.metadata.uid)
        except GpuctlError:
            pass  # its deadline ends it; what was copied is copied


def _started(api: Api, path: str, *, volume: str, within: float) -> None:
    ends = time.monotonic() + within
    said = ""
    while True:
        try:
            pod = api.get(path, Pod)
        except NotFound as error:
            raise UnavailableError(f"cannot open volume {volume}: its pod was removed", code="volume-not-mounted") from error
        if pod.status.phase == "Running":
            return
        said = _hindrance(pod) or said
        if pod.ended or time.monotonic() > ends:
            raise UnavailableError(
                f"cannot open volume {volume}: no pod that mounts it runs after {within:.0f} s",
                code="volume-not-mounted",
                cause=said or f"it is {pod.status.phase.lower() or 'not there'}",
                hint=f"gpuctl volumes show {volume}",
            )
        time.sleep(_POLL_S)


def _hindrance(pod: Pod) -> str:
    """What the cluster says why a pod does not run."""
    for status in pod.status.container_statuses or ():
        waiting = status.state.waiting if status.state is not None else None
        if waiting is not None and waiting.reason not in ("", "ContainerCreating", "PodInitializing"):
            return f"{waiting.reason}: {waiting.message}" if waiting.message else waiting.reason
    for condition in pod.status.conditions or ():
        if condition.status == "False" and condition.message:
            return condition.message
    return pod.status.message


def files(remote: Remote, path: str) -> Listing[VolumeFile]:
    """What lies below ``path`` of a mounted volume, by path relative to its root."""
    inside = "/".join(part for part in path.split("/") if part not in ("", "."))
    kind, entries = remote.files(path)
    above = inside if kind == "d" else "/".join(inside.split("/")[:-1])
    rows = [
        VolumeFile(
            path=f"{above}/{name}" if above else name,
            size=0 if mode & 0o170000 == 0o040000 else known.size,
            modified_at=from_unix(known.modified),
            directory=mode & 0o170000 == 0o040000,
        )
        for name, mode, known in entries[:MOST_FILES]
    ]
    return Listing(items=tuple(sorted(rows, key=lambda row: row.path)))
