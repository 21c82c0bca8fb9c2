"""From objects of a cluster to what the decision is told: marked nodes, pods that hold GPUs, schedules."""

import signal
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from gpuctl.base.errors import Problem
from gpuctl.clusters.kubernetes import amounts, inventory, names
from gpuctl.controllers.windows.objects import WatchedNamespace, WatchedNode, WatchedPod, WatchedSchedule
from gpuctl.model import decoding
from gpuctl.model.schedule import check_schedule
from gpuctl.policy.windows import cron, review
from gpuctl.policy.windows.marked import Holding, MarkedNode, Offered

MIRROR = "kubernetes.io/config.mirror"
SYSTEM = "kube-system"
SIGNALLED = names.PREFIX + "window-signalled"
"""On pods: the end for which they got the signal of CheckpointThenEvict (RFC 3339, UTC)."""
GANG_LABELS = (
    "jobset.sigs.k8s.io/jobset-name",
    "ray.io/cluster",
    "training.kubeflow.org/job-name",
    "kueue.x-k8s.io/pod-group-name",
    "scheduling.k8s.io/group-name",
    "volcano.sh/job-name",
)
"""What pods that need each other have in common: JobSet, KubeRay, training-operator, Kueue, PodGroups, Volcano."""
_DEFAULT_GRACE_S = 30
"""Kubernetes' own, where a pod names none."""


def nodes(found: Iterable[WatchedNode], gpu_resources: Sequence[str]) -> list[MarkedNode]:
    """The nodes, by name."""
    return sorted((marked(each, gpu_resources) for each in found), key=lambda node: node.name)


def marked(found: WatchedNode, gpu_resources: Sequence[str]) -> MarkedNode:
    """One node with its marks. GPUs of a node whose devices are away for a moment are those of its capacity."""
    labels = found.metadata.labels or {}
    taints = {each.get("key", ""): each.get("value", "") for each in found.spec.taints or () if each.get("effect") == "NoSchedule"}
    return MarkedNode(
        name=found.metadata.name,
        labels=labels,
        devices={each: count for each in gpu_resources if (count := amounts.whole(amounts.of(found.status.capacity, each)))},
        schedule=labels.get(names.NODE_SCHEDULE),
        owner=labels.get(names.NODE_OWNER),
        taints_owner=taints.get(names.OWNER_TAINT),
        taints_lender=taints.get(names.LENDS_TAINT),
        closing=taints.get(names.CLOSING_TAINT),
        closing_since=instant(found.metadata.annotation(names.CLOSING_SINCE)),
    )


def pods(found: Iterable[WatchedPod], namespaces: Iterable[WatchedNamespace], gpu_resources: Sequence[str]) -> list[Holding]:
    """Pods that are bound, have not ended and hold GPUs, and the other members of their gangs; none that a window does not concern."""
    spaces = {each.metadata.name: each.metadata.labels or {} for each in namespaces}
    bound = [pod for pod in found if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed")]
    concerned = [pod for pod in bound if not exempt(pod.metadata.namespace, spaces)]
    every = [
        holding(pod, spaces.get(pod.metadata.namespace, {}), gpu_resources) for pod in concerned if not _of_the_node(pod, gpu_resources)
    ]
    held = {pod.gang for pod in every if pod.gpus}
    return [pod for pod in every if pod.gang in held]


def exempt(namespace: str, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether no window concerns the pods of a namespace. Only an administrator can say so; what a pod says of itself does not count."""
    return namespace == SYSTEM or namespaces.get(namespace, {}).get(names.EXEMPT) == "true"


def _of_the_node(pod: WatchedPod, gpu_resources: Sequence[str]) -> bool:
    """Whether the pod is the node's own (static, of a DaemonSet) and holds no GPUs."""
    meta = pod.metadata
    own = MIRROR in (meta.annotations or {}) or any(each.controller and each.kind == "DaemonSet" for each in meta.owner_references or ())
    return own and not inventory.gpus_of(pod.spec, gpu_resources)


def holding(pod: WatchedPod, namespace: Mapping[str, str], gpu_resources: Sequence[str]) -> Holding:
    """One pod. Its namespace's word on the team counts, its own only where the namespace says nothing."""
    meta = pod.metadata
    labels, notes = meta.labels or {}, meta.annotations or {}
    grace = pod.spec.termination_grace_period_seconds
    wanted, before = _warning(notes.get(names.SIGNAL, ""))
    return Holding(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        node=pod.spec.node_name,
        gang=gang_of(pod),
        job=job_of(labels),
        gpus=inventory.gpus_of(pod.spec, gpu_resources),
        team=namespace.get(names.TEAM) or labels.get(names.TEAM),
        preemptible=labels.get(names.PREEMPTIBLE) == "true" and (pod.spec.priority or 0) < 0,
        started=pod.status.start_time,
        container=next((each.name for each in pod.spec.containers or ()), ""),
        grace=_DEFAULT_GRACE_S if grace is None else grace,
        signal=wanted,
        signal_before=before,
        told=instant(notes.get(names.WINDOW_ENDS, "")),
        signalled=instant(notes.get(SIGNALLED, "")),
        ends_at=meta.deletion_timestamp,
    )


def job_of(labels: Mapping[str, str]) -> str | None:
    """Id and attempt of the job of ours that a pod with these labels belongs to."""
    return f"{labels[names.JOB_ID]}/{labels.get(names.ATTEMPT, '1')}" if labels.get(names.JOB_ID) else None


def gang_of(pod: WatchedPod) -> str:
    """What ends together with the pod: one attempt of a job of ours, what common operators call a group, an Indexed Job; else itself."""
    meta = pod.metadata
    labels = meta.labels or {}
    if labels.get(names.ARRAY) == "true":
        return meta.uid
    job = job_of(labels)
    if job is not None:
        return f"{meta.namespace}/{job}"
    for label in GANG_LABELS:
        if labels.get(label):
            return f"{meta.namespace}/{label}/{labels[label]}"
    owner = next((each for each in meta.owner_references or () if each.controller and each.kind == "Job"), None)
    return owner.uid if owner is not None and names.COMPLETION_INDEX in labels else meta.uid


def offered(found: WatchedSchedule, now: datetime) -> Offered:
    """A schedule, or what is wrong with it."""
    meta = found.metadata
    created = meta.creation_timestamp or datetime.min.replace(tzinfo=timezone.utc)
    document: dict[str, Any] = {
        "apiVersion": found.api_version or "gpuctl.io/v1alpha1",
        "kind": found.kind or "PoolSchedule",
        "metadata": {"name": meta.name},
        "spec": found.spec if found.spec is not None else {},
    }
    schedule, problems = check_schedule(document, cron_problem=cron.problem, knows_zone=cron.knows_zone)
    if schedule is not None:
        problems = tuple(review.conflicts(schedule, now))
    if schedule is None or problems:
        return Offered(name=meta.name, created=created, problem=_sentence(problems))
    return Offered(name=meta.name, created=created, schedule=schedule)


def instant(text: str) -> datetime | None:
    """An instant as our annotations spell it, None for anything else (no date, no time zone)."""
    try:
        found = decoding.convert(text, datetime) if text else None
    except msgspec.ValidationError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _warning(text: str) -> tuple[str | None, int]:
    """A signal and seconds from ``USR1@600``; nothing where a pod says anything else, for it goes to a shell."""
    name, _, seconds = text.partition("@")
    known = name in {each.name.removeprefix("SIG") for each in signal.Signals} - {"KILL", "STOP"}
    return (name, int(seconds)) if known and seconds.isascii() and seconds.isdigit() and len(seconds) < 7 else (None, 0)


def _sentence(problems: Sequence[Problem]) -> str:
    return "; ".join(str(each) for each in problems)
