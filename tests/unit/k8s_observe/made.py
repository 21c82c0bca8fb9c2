"""Objects as an API server answered them (``recorded``), and small ones made by hand for what fake nodes cannot do."""

import json
from pathlib import Path
from typing import Any

import msgspec

from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.observe.objects import Root
from gpuctl.clusters.kubernetes.observe.translate import Place, Subject
from gpuctl.kube.objects.core import Event
from gpuctl.kube.objects.kueue import Workload
from gpuctl.kube.objects.pods import Pod
from gpuctl.model.spec import JobSpec

RECORDED = Path(__file__).parent / "recorded"
PLACE = Place(cluster="lab", namespace="default")


def recorded(name: str) -> Subject:
    """A job's objects as a real API server (1.36) had them."""
    document = json.loads((RECORDED / f"{name}.json").read_text())
    root = msgspec.convert(document["root"], Root)
    return Subject(
        root=root,
        pods=tuple(msgspec.convert(each, Pod) for each in document["pods"]),
        events=tuple(msgspec.convert(each, Event) for each in document["events"]),
        workload=msgspec.convert(document["workload"], Workload) if "workload" in document else None,
    )


def root(kind: str = "Job", *, spec: JobSpec | None = None, status: Any = None, body: Any = None, **metadata: Any) -> Root:
    """A job's own object."""
    notes = {names.SPEC: msgspec.json.encode(spec or JobSpec(kind="command", command=("x",), gpus=8)).decode()}
    meta = {
        "name": "train-k3f9",
        "uid": "root-uid",
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "labels": {names.JOB: "train-k3f9", names.JOB_ID: "abcdef012345", names.USER: "anna", **metadata.pop("labels", {})},
        "annotations": {**notes, **metadata.pop("annotations", {})},
        **metadata,
    }
    return msgspec.convert({"kind": kind, "metadata": meta, "spec": body or {}, "status": status or {}}, Root)


def pod(
    index: int = 0,
    *,
    state: Any = None,
    last: Any = None,
    init: Any = None,
    phase: str = "Running",
    node: str = "node-a",
    status: Any = None,
    restarts: int = 0,
    limits: Any = None,
    volumes: Any = None,
    **metadata: Any,
) -> Pod:
    """A pod of the job: one main container."""
    container = {"name": "main", "image": "lab/train:1", "resources": {"limits": limits or {}}}
    told = {"name": "main", "image": "lab/train:1", "restartCount": restarts, "state": state or {}, "lastState": last or {}}
    bound = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-01T12:00:05Z"}] if node else []
    found = dict(status or {})
    return msgspec.convert(
        {
            "metadata": {
                "name": f"train-k3f9-{index}",
                "uid": f"pod-{index}",
                "labels": {names.COMPLETION_INDEX: str(index), **metadata.pop("labels", {})},
                **metadata,
            },
            "spec": {"nodeName": node, "containers": [container], "volumes": volumes or [], "terminationGracePeriodSeconds": 30},
            "status": {
                "phase": phase,
                "startTime": "2026-03-01T12:00:06Z",
                "containerStatuses": [told],
                "initContainerStatuses": init or [],
                "conditions": [*bound, *found.pop("conditions", [])],
                **found,
            },
        },
        Pod,
    )


def ended(code: int, *, reason: str = "Error", message: str = "", at: str = "2026-03-01T12:10:00Z") -> dict[str, Any]:
    """A container's end."""
    past = {"exitCode": code, "reason": reason, "message": message, "startedAt": "2026-03-01T12:00:10Z", "finishedAt": at}
    return {"terminated": past}


def event(
    reason: str, message: str, *, about: str = "pod-0", at: str = "2026-03-01T12:01:00Z", count: int = 1, kind: str = "Warning"
) -> Event:
    """A core/v1 event."""
    return msgspec.convert(
        {"type": kind, "reason": reason, "message": message, "lastTimestamp": at, "count": count, "involvedObject": {"uid": about}}, Event
    )
