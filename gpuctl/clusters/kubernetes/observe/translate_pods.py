"""The pods of one attempt: which share of the job each has, how far it is, how it ended, and what it says about why."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

import msgspec

from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.observe import translate_container, translate_probes, translate_scheduler
from gpuctl.kube.objects.core import Event
from gpuctl.kube.objects.meta import condition
from gpuctl.kube.objects.pods import Container, ContainerStatus, Pod, Terminated
from gpuctl.model.job import Exit, RankEnd
from gpuctl.model.job import Pod as Share
from gpuctl.model.reason import Evidence
from gpuctl.model.spec import JobSpec

_MAIN = ("main", "pytorch", "job", "ray-head", "ray-worker", "ray-job-submitter", "trainer", "node")
_RESOURCE = re.compile(r"low on resource: \[?(?P<what>[a-z-]+)|(?P<pod>ephemeral.storage|emptyDir|[Cc]ontainer .* exceeded its local)")
_DISRUPTIONS = {
    "PreemptionByScheduler": ("evicted", "preempted"),
    "PreemptionByKubeScheduler": ("evicted", "preempted"),
    "DeletionByTaintManager": ("node-lost", ""),
    "DeletionByPodGC": ("node-lost", ""),
    "EvictionByEvictionAPI": ("evicted", ""),
    "TerminationByKubelet": ("evicted", ""),
}


ANY_WORKER = -1
"""Index of a Ray worker whose number nobody tells."""


class Stage(IntEnum):
    """How far a pod is."""

    WAITING = 0
    """Not on a node."""
    STARTING = 1
    RUNNING = 2
    ENDED = 3


class Seen(NamedTuple):
    """A pod as a share of its job. ``ranks`` are global; ``node_index`` numbers the attempt's nodes (an array's tasks by position)."""

    pod: Pod
    node_index: int
    ranks: tuple[int, ...]
    attempt: int
    stage: Stage
    started_at: datetime | None
    ended: Terminated | None

    @property
    def rank(self) -> int | None:
        """The rank, where the pod is one."""
        return self.ranks[0] if len(self.ranks) == 1 else None

    @property
    def node(self) -> str:
        """Where it runs, ``""`` before it is bound."""
        return self.pod.spec.node_name

    @property
    def failed(self) -> bool:
        """Whether it ended badly."""
        return self.pod.status.phase == "Failed" or (self.ended is not None and (self.ended.exit_code != 0 or bool(self.ended.signal)))


def read(pods: Iterable[Pod], spec: JobSpec) -> tuple[Seen, ...]:
    """The pods that carry ranks, by index; of several for one index (a replaced one) the newest."""
    newest: dict[tuple[int, int], Seen] = {}
    workers: dict[int, list[Pod]] = {}
    for pod in sorted(pods, key=lambda each: (_seconds(each.metadata.creation_timestamp), each.metadata.name)):
        index, attempt = index_of(pod), attempt_of(pod)
        if index is None:
            continue
        if index == ANY_WORKER:
            workers.setdefault(attempt, []).append(pod)
        else:
            newest[attempt, index] = _seen(pod, index, attempt, spec)
    for attempt, found in workers.items():
        # KubeRay does not number its workers: those that live come first, in the order of their names.
        alive = sorted(found, key=lambda each: (each.ended, each.metadata.name))
        newest |= {(attempt, number): _seen(pod, number, attempt, spec) for number, pod in enumerate(alive[: spec.nodes], start=1)}
    return tuple(newest[key] for key in sorted(newest))


def submitters(pods: Iterable[Pod], spec: JobSpec) -> tuple[Seen, ...]:
    """The pods that KubeRay's Ray got its entrypoint from, the last one last: none of the job's nodes, but its program's voice."""
    found = [pod for pod in pods if pod.metadata.label(names.PART) == names.SUBMITTER]
    found.sort(key=lambda each: (_seconds(each.metadata.creation_timestamp), each.metadata.name))
    return tuple(_seen(pod, 0, attempt_of(pod), spec)._replace(ranks=()) for pod in found)


def index_of(pod: Pod) -> int | None:
    """The number of the node that the pod is; None for a helper."""
    meta = pod.metadata
    index = _int(meta.label(names.COMPLETION_INDEX) or meta.annotation(names.COMPLETION_INDEX))
    kind = meta.label("training.kubeflow.org/replica-type")
    if kind:
        return 0 if kind.lower() == "master" else _int(meta.label("training.kubeflow.org/replica-index")) + 1
    ray = meta.label("ray.io/node-type")
    if ray:
        return 0 if ray == "head" else ANY_WORKER
    part = meta.label(names.PART)
    if part == "worker":
        return index + 1
    return index if part in ("", "node", "head", "any") else None


def attempt_of(pod: Pod) -> int:
    """Which attempt it belongs to, from 1."""
    restarts = pod.metadata.label(names.JOBSET_RESTARTS) or pod.metadata.annotation(names.JOBSET_RESTARTS)
    base = _int(pod.metadata.label(names.ATTEMPT)) or 1
    failures = _int(pod.metadata.annotation(names.INDEX_FAILURES)) + _int(pod.metadata.annotation(names.INDEX_IGNORED))
    return base + _int(restarts) + failures


def latest(pods: Sequence[Seen], spec: JobSpec) -> tuple[Seen, ...]:
    """Those of the last attempt; of an array the last of each task, which are tried again each by itself."""
    if spec.array is not None:
        return tuple({each.node_index: each for each in sorted(pods, key=lambda each: each.attempt)}.values())
    last = max((each.attempt for each in pods), default=0)
    return tuple(each for each in pods if each.attempt == last)


def main_status(pod: Pod) -> ContainerStatus | None:
    """The status of the container that is the job."""
    statuses = pod.status.container_statuses or []
    main = main_container(pod)
    return next((each for each in statuses if main is not None and each.name == main.name), statuses[0] if statuses else None)


def main_container(pod: Pod) -> Container | None:
    """The container that is the job: by its name, else the first."""
    containers = pod.spec.containers or []
    return next((each for each in containers if each.name in _MAIN), containers[0] if containers else None)


def share(seen: Seen) -> Share:
    """For the job's attempt."""
    return Share(node=seen.node, ranks=seen.ranks)


def shares(pods: Sequence[Seen], spec: JobSpec, *, gone: bool) -> tuple[Share, ...]:
    """For an attempt: of each pod that was on a node, and with ``gone`` of those too that are missing (their node is ``""``)."""
    there = {seen.node_index: share(seen) for seen in pods if seen.node}
    if not gone:
        return tuple(there.values())
    missing = {index: Share(node="", ranks=ranks) for index in range(spec.nodes) if (ranks := ranks_of(index, spec))}
    return tuple(share for _, share in sorted({**missing, **there}.items()))


def rank_ends(pods: Sequence[Seen]) -> tuple[RankEnd, ...]:
    """Ends of ranks that are known: of a pod with several ranks, only that all ended well."""
    ends = []
    for seen in pods:
        if seen.ended is None or seen.ended.finished_at is None:
            continue
        how = translate_container.exit_of(seen.ended)
        if len(seen.ranks) == 1 or how == Exit(code=0):
            ends += [RankEnd(rank=rank, exit=how, at=seen.ended.finished_at, node=seen.node or None) for rank in seen.ranks]
    return tuple(ends)


def exit_of(pods: Sequence[Seen]) -> Exit | None:
    """The end of the whole attempt: of those that ended badly the first that did so by itself, else 0; None when nothing is known."""
    bad = sorted((each for each in pods if each.ended is not None and each.failed), key=lambda each: (deleted(each), _finished(each)))
    if bad:
        assert bad[0].ended is not None
        return translate_container.exit_of(bad[0].ended)
    return Exit(code=0) if pods and all(each.ended is not None for each in pods) else None


def deleted(seen: Seen) -> bool:
    """Whether it ended because its object was deleted (as the others of a gang are when one has failed)."""
    meta = seen.pod.metadata
    if meta.deletion_timestamp is None:
        return False
    if seen.ended is None or seen.ended.finished_at is None:
        return True
    grace = seen.pod.spec.termination_grace_period_seconds
    asked = meta.deletion_timestamp - timedelta(seconds=(30 if grace is None else grace) + 1)
    return seen.ended.finished_at >= asked


def evidence(
    pods: Sequence[Seen], *, spec: JobSpec, events: Sequence[Event], namespace: str, gpu_resource: str, waits: bool
) -> tuple[Evidence, ...]:
    """What the pods say. ``waits``: whether the job still waits or runs, so that what keeps pods from starting matters."""
    found: list[Evidence] = []
    tasks = spec.array.indices if spec.array is not None else ()
    # A task of an array ends alone: what is known of one says nothing of another.
    ends_known = not tasks and any(each.failed and not deleted(each) for each in pods)
    for seen in pods:
        own = [event for event in events if event.about.uid == seen.pod.metadata.uid]
        said = [*_taken(seen, spec)]
        if not (deleted(seen) and ends_known):
            said += _ended(seen, own)
        if waits and seen.stage <= Stage.STARTING:
            said += _not_started(seen, own, spec=spec, namespace=namespace, gpu_resource=gpu_resource)
        elif seen.stage is Stage.STARTING:
            said += _mounts(seen, own, namespace)
        said += translate_probes.evidence(seen.pod, own, rank=seen.rank, node=seen.node, attempt=seen.attempt, failed=seen.failed)
        task = tasks[seen.node_index] if seen.node_index < len(tasks) else None
        found += said if task is None else [msgspec.structs.replace(one, task=task) for one in said]
    return tuple(found)


def _seen(pod: Pod, index: int, attempt: int, spec: JobSpec) -> Seen:
    status = main_status(pod)
    state = status.state if status is not None else None
    ended = state.terminated if state is not None else None
    running = state.running if state is not None else None
    former = status.last_state if status is not None and ended is None and running is None else None
    crashed = former.terminated if former is not None else None
    lived = running or ended or crashed
    started = lived.started_at if lived is not None else None
    if pod.status.phase in ("Succeeded", "Failed") or ended is not None:
        stage = Stage.ENDED
    elif running is not None or crashed is not None:
        stage = Stage.RUNNING
    else:
        stage = Stage.STARTING if pod.spec.node_name else Stage.WAITING
    return Seen(pod, index, ranks_of(index, spec), attempt, stage, started, ended)


def ranks_of(index: int, spec: JobSpec) -> tuple[int, ...]:
    """The global ranks of a node. A task of an array counts its own ranks; Ray's entrypoint is the only rank."""
    if spec.kind == "ray":
        return (0,) if index == 0 else ()
    if spec.array is not None:
        return tuple(range(spec.procs_per_node))
    return tuple(range(index * spec.procs_per_node, (index + 1) * spec.procs_per_node))


def _taken(seen: Seen, spec: JobSpec) -> Iterator[Evidence]:
    """Somebody ended the pod: its time limit, the kubelet, the scheduler, a drain, the loss of its node."""
    status = seen.pod.status
    disruption = condition(status.conditions, "DisruptionTarget")
    at = disruption.last_transition_time if disruption is not None else _finished_at(seen)

    def say(code: str, text: str, **data: str) -> Evidence:
        return Evidence(
            code=code,
            text=text,
            at=at,
            rank=seen.rank,
            node=seen.node or None,
            attempt=seen.attempt,
            data={key: value for key, value in data.items() if value},
            source="condition",
        )

    if status.reason == "DeadlineExceeded":
        yield say("time-limit", status.message, limit=str(seen.pod.spec.active_deadline_seconds or spec.time_seconds or ""))
    elif status.reason == "Evicted":
        yield say("evicted", status.message, cause=_eviction_cause(status.message))
    elif status.reason in ("Preempting", "Preempted"):
        yield say("evicted", status.message, cause="preempted")
    elif status.reason in ("Terminated", "NodeShutdown", "Shutdown", "NodeLost") or "node shutdown" in status.message:
        yield say("node-lost", status.message or "the node was shut down", node=seen.node)
    elif disruption is not None and disruption.status == "True":
        code, cause = _DISRUPTIONS.get(disruption.reason, ("evicted", ""))
        if code == "evicted" and not cause:
            cause = _eviction_cause(disruption.message) or ("window" if "window" in disruption.message.lower() else "")
        yield say(code, disruption.message, cause=cause, node=seen.node if code == "node-lost" else "")


def _eviction_cause(message: str) -> str:
    match = _RESOURCE.search(message)
    if not match:
        return "disk" if "ephemeral" in message or "usage exceeds" in message.lower() else ""
    what = match["what"] or "ephemeral-storage"
    return {"memory": "memory", "ephemeral-storage": "disk", "nodefs": "disk", "imagefs": "disk", "inodes": "disk"}.get(what, "")


def _ended(seen: Seen, events: Sequence[Event]) -> Iterator[Evidence]:
    status = seen.pod.status
    if status.reason == "DeadlineExceeded":
        return  # the signal it died of is the limit's
    refused = status.reason.startswith("OutOf") or status.reason in ("UnexpectedAdmissionError", "NodeAffinity", "NodePorts")
    if refused:  # the kubelet did not take it
        yield _say(seen, "start-failed", f"{seen.node or 'the node'} refused the pod: {status.message or status.reason}")
        return
    for each in status.init_container_statuses or ():
        for found in translate_container.ended(each, None, rank=None, node=seen.node, attempt=seen.attempt):
            yield _init_failure(seen, each, found)
    main = main_status(seen.pod)
    if main is None:
        if seen.pod.status.phase == "Failed" and not any(True for _ in _taken(seen, JobSpec())):
            yield _say(seen, "lost", status.message or "its pod failed without a container's end")
        return
    if deleted(seen) and seen.ended is not None and translate_container.exit_of(seen.ended).signal is not None:
        yield _say(seen, "lost", "its pod was deleted")
        return
    yield from translate_container.ended(main, main_container(seen.pod), rank=seen.rank, node=seen.node, attempt=seen.attempt)


def _init_failure(seen: Seen, status: ContainerStatus, found: Evidence) -> Evidence:
    """The end of an init container: a bare code of it means that the job could not be started."""
    if found.code not in ("exit-code", "signal"):
        return found
    number = found.data.get("code") or f"signal {found.data.get('signal', '?')}"
    text = f"{status.name} ended with {number}"
    return Evidence(code="start-failed", text=text, at=found.at, node=found.node, attempt=seen.attempt, source="container")


def _not_started(seen: Seen, events: Sequence[Event], *, spec: JobSpec, namespace: str, gpu_resource: str) -> Iterator[Evidence]:
    scheduled = condition(seen.pod.status.conditions, "PodScheduled")
    if seen.stage is Stage.WAITING:
        if scheduled is not None and scheduled.status == "False" and scheduled.reason == "SchedulingGated":
            yield _say(seen, "queued", scheduled.message or "waits for its scheduling gates", source="condition")
        elif scheduled is not None and scheduled.status == "False":
            yield from translate_scheduler.evidence(
                scheduled.message,
                at=scheduled.last_transition_time,
                gpu_type=spec.gpu_type,
                gpu_resource=gpu_resource,
                needs=spec.gpus,
                rank=None,
            )
        return
    for status in (*(seen.pod.status.init_container_statuses or ()), *(seen.pod.status.container_statuses or ())):
        image = next(
            (
                each.image
                for each in (*(seen.pod.spec.init_containers or ()), *(seen.pod.spec.containers or ()))
                if each.name == status.name
            ),
            "",
        )
        yield from translate_container.waiting(
            status, image=image, namespace=namespace, events=events, rank=seen.rank, node=seen.node, attempt=seen.attempt
        )
    yield from _mounts(seen, events, namespace)


def _mounts(seen: Seen, events: Sequence[Event], namespace: str) -> Iterator[Evidence]:
    """Warnings after the bind: volumes that cannot be attached or mounted, sandboxes that cannot be made."""
    scheduled = condition(seen.pod.status.conditions, "PodScheduled")
    bound = scheduled.last_transition_time if scheduled is not None and scheduled.status == "True" else None
    told: set[str] = set()
    for event in sorted(events, key=lambda each: _seconds(each.at), reverse=True):
        if event.type != "Warning" or (bound is not None and event.at is not None and event.at < bound - timedelta(seconds=1)):
            continue
        if event.reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
            absent = translate_container.missing(event.text, namespace)
            code, text, data = absent or ("volume-mount", event.text, _volume_of(event.text, seen.pod))
        elif event.reason in ("FailedCreatePodSandBox", "NetworkNotReady"):
            code, text, data = "note", f"{event.reason}: {event.text}", {}
        else:
            continue
        key = f"{code} {sorted(data.items())}"
        if key not in told:
            told.add(key)
            yield Evidence(code=code, text=text, at=event.at, node=seen.node or None, attempt=seen.attempt, data=data, source="event")


def _volume_of(message: str, pod: Pod) -> dict[str, str]:
    """The claim that an event about a mount is about: by its own name, or through the pod's volume of that name."""
    claims = {
        each.name: each.persistent_volume_claim.claim_name for each in pod.spec.volumes or () if each.persistent_volume_claim is not None
    }
    for name, claim in claims.items():
        if re.search(rf"(?<![\w-])({re.escape(name)}|{re.escape(claim)})(?![\w-])", message):
            return {"volume": claim}
    match = re.search(r'for volume "(?P<name>[^"]+)"', message)
    if match:
        return {"volume": match["name"]}
    return {"volume": next(iter(claims.values()))} if len(claims) == 1 else {}


def _say(seen: Seen, code: str, text: str, *, source: str = "container") -> Evidence:
    return Evidence(
        code=code, text=text, at=_finished_at(seen), rank=seen.rank, node=seen.node or None, attempt=seen.attempt, source=source
    )


def _finished_at(seen: Seen) -> datetime | None:
    return seen.ended.finished_at if seen.ended is not None else None


def _finished(seen: Seen) -> float:
    return _seconds(_finished_at(seen))


def _seconds(at: datetime | None) -> float:
    return at.timestamp() if at is not None else 0.0


def _int(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
