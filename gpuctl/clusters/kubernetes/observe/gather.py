"""The calls that read jobs: one list per kind of object, pods only of those jobs whose own object leaves something open."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes import names, record
from gpuctl.clusters.kubernetes.observe import translate_queue
from gpuctl.clusters.kubernetes.observe.objects import Root
from gpuctl.clusters.kubernetes.observe.translate import Subject, lacks_pods, needs_pods
from gpuctl.clusters.kubernetes.observe.translate_queue import Position
from gpuctl.clusters.kubernetes.surroundings import KINDS, VISIBILITY, Surroundings, chunks, together
from gpuctl.kube.errors import Forbidden, NotFound
from gpuctl.kube.objects.core import Event
from gpuctl.kube.objects.kueue import ClusterQueue, PendingWorkloads, Workload
from gpuctl.kube.objects.meta import Condition, condition
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.resources import EVENTS, JOBS, PODS, Resource

MOST_IN_SELECTOR = 40
"""Jobs named in one label selector; more than that, and all of gpuctl's pods are read."""
MOST_PODS_WITH_EVENTS = 8
_MADE = frozenset({"Job", "JobSet", "RayCluster"})
"""What operators make of a job's object, and cannot make pods for."""
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")


class Roots(NamedTuple):
    """Jobs' own objects, one for each job, and the kinds that could not be read with the error."""

    items: tuple[Root, ...]
    unread: tuple[GpuctlError, ...] = ()


def roots(around: Surroundings, selector: str = "") -> Roots:
    """Every job's own object, or those that ``selector`` leaves, with tombstones for jobs whose object is gone.

    Raises:
        GpuctlError: not even one kind could be read.
    """
    wanted = f"{record.SELECTOR},{selector}" if selector else record.SELECTOR

    def read(kind: Resource) -> list[Root]:
        found = around.api.list(kind.path(around.namespace), Root, params={"labelSelector": wanted})
        return [msgspec.structs.replace(each, kind=kind.kind) for each in found]

    answers = together(read, around.kinds)
    errors = [answer for answer in answers if isinstance(answer, GpuctlError) and not _absent(answer)]
    read_ones = [answer for answer in answers if not isinstance(answer, GpuctlError)]
    if errors and (not read_ones or any(not isinstance(error, Forbidden) for error in errors)):
        raise errors[0]
    return Roots(tuple(one_each(each for answer in read_ones for each in answer)), tuple(errors))


def _absent(error: GpuctlError) -> bool:
    """Whether the kind is simply not there (any more)."""
    return isinstance(error, NotFound) and error.kind_missing


def one_each(found: Iterable[Root]) -> list[Root]:
    """One object for each job: the last attempt's. Objects below others, and half-made ones, are none."""
    best: dict[str, Root] = {}
    kinds = {kind.kind for kind in KINDS}
    for root in found:
        meta = root.metadata
        if any(owner.controller and owner.kind in kinds for owner in meta.owner_references or ()):
            continue
        if meta.label(record.LAUNCHING):
            continue
        key = meta.label(names.JOB_ID) or meta.uid
        known = best.get(key)
        if known is None or _rank(root) > _rank(known):
            best[key] = root
    return list(best.values())


def _rank(root: Root) -> tuple[int, int]:
    """A tombstone counts less than a job's object, but more than one that is going and never ran."""
    meta = root.metadata
    attempt = meta.label(names.ATTEMPT)
    waits = root.spec.suspend or (root.spec.run_policy is not None and root.spec.run_policy.suspend)
    going = meta.deletion_timestamp is not None and waits and not root.status.active
    return 1 if meta.annotation(record.ENDED) else 0 if going else 2, int(attempt) if attempt.isdigit() else 1


def by_label(around: Surroundings, key: str, value: str) -> Roots:
    """The jobs with this label; none when it cannot be a label's value at all."""
    return roots(around, f"{key}={value}") if _LABEL.match(value) else Roots(())


def pods(around: Surroundings, job_ids: Sequence[str]) -> dict[str, list[Pod]]:
    """The pods of these jobs by job id."""
    if not job_ids:
        return {}
    if len(job_ids) > MOST_IN_SELECTOR:
        selectors = [record.SELECTOR]
    else:
        selectors = [f"{names.JOB_ID} in ({','.join(part)})" for part in chunks(job_ids, MOST_IN_SELECTOR)]
    found: dict[str, list[Pod]] = {job_id: [] for job_id in job_ids}
    for selector in selectors:
        for pod in around.api.list(PODS.path(around.namespace), Pod, params={"labelSelector": selector}):
            found.get(pod.metadata.label(names.JOB_ID), []).append(pod)
    return found


def workloads(around: Surroundings, roots: Iterable[Root]) -> tuple[dict[str, Workload], bool]:
    """Kueue's workloads by the UID of the job they are of, and whether Kueue could be asked; read only if some job waits for it."""
    waiting = [root for root in roots if root.metadata.label(names.KUEUE_QUEUE)]
    kind = around.workloads
    if not waiting:
        return {}, True
    if kind is None:
        return {}, True
    try:
        found = around.api.list(kind.path(around.namespace), Workload)
    except (Forbidden, NotFound):
        return {}, False
    return {owner.uid: each for each in found for owner in each.metadata.owner_references or ()}, True


def position(around: Surroundings, workload: Workload) -> Position | None:
    """Its place in line; None where the visibility API is absent or forbidden, or no longer knows the workload."""
    version = next((each for each in ("v1beta2", "v1beta1") if _visible(around, each)), None)
    if version is None:
        return None
    queue = workload.spec.queue_name
    path = f"/apis/{VISIBILITY}/{version}/namespaces/{around.namespace}/localqueues/{queue}/pendingworkloads"
    try:
        pending = around.api.get(path, PendingWorkloads).items or []
    except GpuctlError:  # an aggregated API may be down while everything else is up
        return None
    for each in pending:
        if each.metadata.name == workload.metadata.name:
            return Position(each.position_in_cluster_queue, each.position_in_local_queue)
    return None


def closed_queue(around: Surroundings, workload: Workload) -> Condition | None:
    """What the ClusterQueue says of itself, where the workload waits for one that admits nobody and it may be read."""
    name, kind = translate_queue.inactive_queue(workload), around.kueue("clusterqueues")
    if name is None or kind is None:
        return None
    try:
        found = around.api.get(kind.path(name=name), ClusterQueue)
    except GpuctlError:
        return None
    active = condition(found.status.conditions, "Active")
    return active if active is not None and active.status != "True" else None


def _visible(around: Surroundings, version: str) -> bool:
    return any(each.group == VISIBILITY and each.version == version for each in around.discovery.offered)


def events(around: Surroundings, root: Root, pods: Sequence[Pod]) -> tuple[Event, ...]:
    """Events about the job's object, what operators made of it, and the first few of its pods that do not run or are not ready.

    Empty where they may not be read.
    """
    stuck = [pod for pod in pods if pod.status.phase in ("Pending", "Failed", "Unknown") or _unready(pod)][:MOST_PODS_WITH_EVENTS]
    about = [f"involvedObject.uid={uid}" for uid in (root.metadata.uid, *(pod.metadata.uid for pod in stuck))]
    if root.kind != "Job":
        about += [f"involvedObject.uid={uid}" for uid in _below(around, root)]
    if root.kind == "RayJob" and root.status.ray_cluster_name:
        about.append(f"involvedObject.kind=RayCluster,involvedObject.name={root.status.ray_cluster_name}")
    if root.kind == "TrainJob":  # what is below it does not bear our labels
        name = root.metadata.name
        about += [f"involvedObject.kind=JobSet,involvedObject.name={name}", f"involvedObject.kind=Job,involvedObject.name={name}-node-0"]

    def read(selector: str) -> list[Event]:
        return list(around.api.list(EVENTS.path(around.namespace), Event, params={"fieldSelector": selector}))

    return tuple(event for answer in together(read, about) if not isinstance(answer, GpuctlError) for event in answer)


def _unready(pod: Pod) -> bool:
    ready = condition(pod.status.conditions, "Ready")
    return pod.status.phase == "Running" and ready is not None and ready.status == "False"


def _below(around: Surroundings, root: Root) -> list[str]:
    """The Jobs that an operator made of it."""
    selector = f"{names.JOB_ID}={root.metadata.label(names.JOB_ID)}"
    try:
        found = around.api.list(JOBS.path(around.namespace), Root, params={"labelSelector": selector})
    except GpuctlError:
        return []
    return [each.metadata.uid for each in found if each.metadata.owner_references][:4]


def subjects(around: Surroundings, found: Sequence[Root], *, explain: Sequence[str] = ()) -> tuple[Subject, ...]:
    """The jobs of these objects, with pods only where needed: where the object leaves the state open, or the id is in ``explain``."""
    open_ones = [root.metadata.label(names.JOB_ID) for root in found if needs_pods(root)]
    read = pods(around, [each for each in dict.fromkeys([*open_ones, *explain]) if each])
    queue, kueue_answers = workloads(around, found)
    made = []
    for root in found:
        own = read.get(root.metadata.label(names.JOB_ID))
        workload = queue.get(root.metadata.uid)
        made.append(Subject(root=root, pods=tuple(own) if own is not None else None, workload=workload, kueue_answers=kueue_answers))
    return tuple(made)


def refused(around: Surroundings, found: Sequence[Subject]) -> tuple[Subject, ...]:
    """The same jobs; those that wait for pods which are not there with what was said about that.

    That a quota is full or a policy refuses pods stands in events and nowhere else. They are asked for once for all of these jobs, and
    only where there is such a job; where they cannot be read, the jobs stay as they are.
    """
    short = {subject.root.metadata.uid: subject.root for subject in found if lacks_pods(subject)}
    if not short:
        return tuple(found)
    selector = "type=Warning,involvedObject.kind!=Pod"
    about: dict[str, list[Event]] = {}
    try:
        for event in around.api.list(EVENTS.path(around.namespace), Event, params={"fieldSelector": selector}):
            root = short.get(event.about.uid) or _made_for(event, short.values())
            if root is not None:
                about.setdefault(root.metadata.uid, []).append(event)
    except GpuctlError:
        return tuple(found)
    return tuple(
        dataclasses.replace(subject, events=tuple(about[uid])) if (uid := subject.root.metadata.uid) in about else subject
        for subject in found
    )


def _made_for(event: Event, roots: Iterable[Root]) -> Root | None:
    """The job whose operator made what the event is about: that is called as the job's object is, with something after it."""
    named, there = event.about.name, ""
    chosen = None
    for root in roots:
        name = root.metadata.name
        made = named == root.status.ray_cluster_name or named == name or named.startswith(f"{name}-")
        if made and root.kind != "Job" and event.about.kind in _MADE and len(name) > len(there):
            chosen, there = root, name
    return chosen


def whole(around: Surroundings, root: Root, *, with_events: bool) -> Subject:
    """Everything about one job."""
    own = pods(around, [root.metadata.label(names.JOB_ID)]).get(root.metadata.label(names.JOB_ID), [])
    queue, kueue_answers = workloads(around, [root])
    workload = queue.get(root.metadata.uid)
    told = events(around, root, own) if with_events else ()
    waits = workload is not None and bool(root.spec.suspend)
    return Subject(
        root=root,
        pods=tuple(own),
        events=told,
        workload=workload,
        position=position(around, workload) if workload is not None and waits else None,
        queue=closed_queue(around, workload) if workload is not None and waits and with_events else None,
        kueue_answers=kueue_answers,
    )
