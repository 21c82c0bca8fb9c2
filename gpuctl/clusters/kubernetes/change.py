"""Ending and changing jobs: cancel, a shorter time limit, hold and release.

Two ways to end a job, whichever leaves most behind. A Job that has started is given a deadline that has passed: its controller fails it,
finished pods keep their logs, and it expires as any other. Every other kind, and whatever has not started, has no such end: its object is
deleted, and a Job without pods stays in its place as a tombstone, which says how it ended and expires by itself.
"""

import time
from datetime import datetime
from typing import Any

import msgspec

from gpuctl.base import clock, duration
from gpuctl.base.errors import ConflictError, InvalidInput, NotKeptHere, Problem
from gpuctl.clusters.kubernetes import names, record
from gpuctl.clusters.kubernetes.launch import suspension
from gpuctl.clusters.kubernetes.listing import Found, name_of
from gpuctl.clusters.kubernetes.observe import gather, translate
from gpuctl.clusters.kubernetes.observe.objects import Root
from gpuctl.clusters.kubernetes.observe.translate import Subject
from gpuctl.clusters.kubernetes.observe.translate_pods import Stage
from gpuctl.clusters.kubernetes.record import End
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.errors import AdmissionRefused, AlreadyExists, Forbidden, Invalid, NotFound, QuotaExceeded
from gpuctl.kube.objects.kueue import Workload
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import JOBS, PODS, Resource
from gpuctl.model.ask import JobChange
from gpuctl.model.job import Job, State

_KEPT = (names.SPEC, names.SPEC_CUT, names.BASE_NAME, names.REQUEST_ID, names.USER_NAME, names.TIER_CHOSEN, names.RERUN_OF)
"""Annotations that a tombstone takes over."""
_LOOKS = 3
_SETTLES_SECONDS = 0.3


def kind_of(around: Surroundings, root: Root) -> Resource:
    """The address of a job's object."""
    return next(kind for kind in around.kinds if kind.kind == root.kind)


def path_of(around: Surroundings, root: Root) -> str:
    """The URL path of a job's object."""
    return kind_of(around, root).path(around.namespace, root.metadata.name)


def stop(around: Surroundings, found: Found, *, grace_seconds: int | None) -> bool:
    """Cancel a job; whether there was nothing left to cancel.

    Raises:
        NotKeptHere: single tasks of an array.
    """
    root = found.root
    subject = gather.whole(around, root, with_events=False)
    job = translate.job(subject, around.place, whole=True)
    if job.final:
        return True
    if found.tasks is not None:
        raise NotKeptHere(
            f"cannot cancel single tasks of {job.name} on {around.name}: they are one object of Kubernetes",
            hint=f"gpuctl cancel {job.name}",
        )
    now = clock.now()
    if root.kind == "Job" and not root.spec.suspend and root.status.start_time is not None:
        _fail(around, root, now)
    else:
        _replace_by_tombstone(around, subject, job, now)
    if grace_seconds is not None:
        _hurry(around, subject, grace_seconds)
    return False


def _fail(around: Surroundings, root: Root, now: datetime) -> None:
    if root.metadata.annotation(record.CANCELLED_BY) or root.metadata.deletion_timestamp is not None:
        return
    notes = {record.CANCELLED_BY: around.user, record.CANCELLED_AT: clock.rfc3339(now)}
    try:
        around.api.patch(path_of(around, root), {"metadata": {"annotations": notes}, "spec": {"activeDeadlineSeconds": 1}}, Root)
    except NotFound:
        return  # an earlier cancel had it deleted before it started


def _replace_by_tombstone(around: Surroundings, subject: Subject, job: Job, now: datetime) -> None:
    root = subject.root
    end = End(
        state=State.CANCELLED,
        at=max(now, job.submitted_at),
        by=around.user,
        started_at=job.started_at,
        attempts=job.attempt_count,
        submitted_at=job.submitted_at,
        where=job.where,
    )
    try:
        around.api.create(JOBS.path(around.namespace), tombstone(around, root, end), Object)
    except AlreadyExists:
        pass  # an earlier cancel got this far
    except (AdmissionRefused, Forbidden, Invalid, QuotaExceeded):
        pass  # no room for one, or no leave: ending the job matters more than what is left of it
    try:
        # In the foreground the object stays until its pods are gone: so long the job is not final.
        # Trainer makes another JobSet for a TrainJob that is still there without one.
        at_once = root.kind == "TrainJob" or all(pod.ended for pod in subject.pods or ())
        around.api.delete(path_of(around, root), propagation="Background" if at_once else "Foreground", uid=root.metadata.uid)
    except NotFound:
        return


def tombstone(around: Surroundings, root: Root, end: End) -> dict[str, Any]:
    """A Job that wants no pods: it is complete at once, and expires as the job would have."""
    meta = root.metadata
    kept = (
        names.SPEC,
        names.SPEC_CUT,
        names.BASE_NAME,
        names.REQUEST_ID,
        names.USER_NAME,
        names.TIER_CHOSEN,
        names.RERUN_OF,
        record.RECORD,
    )
    notes = {key: meta.annotation(key) for key in kept if meta.annotation(key)}
    labels = {key: value for key, value in (meta.labels or {}).items() if key != names.KUEUE_QUEUE}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.fit(f"{meta.name}-ended", 63),
            "namespace": around.namespace,
            "labels": labels,
            "annotations": {**notes, record.ENDED: msgspec.json.encode(end).decode()},
        },
        "spec": {
            "parallelism": 0,
            "completions": 0,
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": around.options.ttl_seconds,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "none", "image": "none"}]}},
        },
    }


def _hurry(around: Surroundings, subject: Subject, grace_seconds: int) -> None:
    """Give its pods no more than so many seconds; a longer grace than the pod's own cannot be had."""
    for pod in subject.pods or ():
        if not pod.ended:
            try:
                around.api.delete(PODS.path(around.namespace, pod.metadata.name), uid=pod.metadata.uid, grace_s=grace_seconds)
            except NotFound:
                continue


def update(around: Surroundings, found: Found, change: JobChange) -> str:
    """Change a live job; one sentence about what was done.

    Raises:
        ConflictError: ``job-ended``, ``already-started``, ``not-running``.
        InvalidInput: a time that is none.
        NotKeptHere: a priority or tier, a longer time, anything of single tasks.
    """
    name = name_of(found.root)
    for what, value in (("priority", change.priority), ("tier", change.tier)):
        if value is not None:
            raise NotKeptHere(
                f"cannot change the {what} of {name} on {around.name}: nothing resident there would act on it",
                hint=f"gpuctl cancel {name}    and submit again with --{what} {value}",
            )
    seconds = _seconds(name, change.time) if change.time is not None else None
    subject = gather.whole(around, found.root, with_events=False)
    job = translate.job(subject, around.place, whole=True)
    if job.final:
        raise ConflictError(f"cannot update {name}: it {job.state.told}", code="job-ended", hint=f"gpuctl rerun {name}")
    if found.tasks is not None:
        raise NotKeptHere(f"cannot change single tasks of {name} on {around.name}", hint=f"gpuctl update {name} ...")
    done = []
    if seconds is not None:
        _check_shorter(around, subject, job, seconds)
    if change.hold is not None:
        done.append(_hold(around, subject, job, change.hold))
    if seconds is not None:
        assert change.time is not None
        _shorten(around, subject, seconds)
        _rewrite(around, subject.root, time=change.time)
        done.append(f"time limit {duration.canonical(seconds)}")
    return ", ".join(each for each in done if each)


def _seconds(name: str, text: str) -> int:
    try:
        seconds = duration.parse(text)
        if seconds <= 0:
            raise ValueError("is out of range")
    except ValueError as error:
        problem = Problem(field="--time", message=str(error), got=text, allowed=duration.ALLOWED)
        raise InvalidInput(f"cannot update {name}", [problem]) from error
    return seconds


def _check_shorter(around: Surroundings, subject: Subject, job: Job, seconds: int) -> None:
    limit = job.spec.time_seconds
    if limit is not None and seconds > limit:
        raise NotKeptHere(
            f"cannot lengthen the time limit of {job.name} on {around.name}: Kubernetes only ever shortens that of a pod",
            cause=f"it is {duration.canonical(limit)}, asked for {duration.canonical(seconds)}",
        )
    if job.state is not State.RUNNING or job.spec.array is not None:
        why = "tasks of an array start at different times" if job.spec.array is not None else f"it {job.state.told}"
        raise ConflictError(
            f"cannot change the time limit of {job.name}: {why}", code="not-running", hint=f"gpuctl cancel {job.name}    and submit again"
        )


def _shorten(around: Surroundings, subject: Subject, seconds: int) -> None:
    for seen in translate.parts(subject).current:
        if seen.stage is not Stage.ENDED:
            path = PODS.path(around.namespace, seen.pod.metadata.name)
            around.api.patch(path, {"spec": {"activeDeadlineSeconds": seconds}}, Object)


def _rewrite(around: Surroundings, root: Root, **fields: Any) -> None:
    """Change fields of the spec that the object remembers."""
    spec, _ = record.read_spec(root.metadata.annotation(names.SPEC))
    text = msgspec.json.encode(msgspec.structs.replace(spec, **fields)).decode()
    around.api.patch(path_of(around, root), {"metadata": {"annotations": {names.SPEC: text}}}, Root)


def _hold(around: Surroundings, subject: Subject, job: Job, hold: bool) -> str:
    root = subject.root
    held = bool(root.metadata.annotation(names.HELD))
    if hold == held:
        return "held already" if hold else "not held"
    if job.state is State.RUNNING or any(seen.started_at is not None for seen in translate.parts(subject).pods):
        raise ConflictError(
            f"cannot {'hold' if hold else 'release'} {job.name}: it {job.state.told}",
            code="already-started",
            hint=f"gpuctl cancel {job.name}",
        )
    if hold:
        return _put_on_hold(around, subject)
    return _release(around, root)


def _put_on_hold(around: Surroundings, subject: Subject) -> str:
    root = subject.root
    change: dict[str, Any] = {"metadata": {"annotations": {names.HELD: "true"}}}
    queue = root.metadata.label(names.KUEUE_QUEUE)
    if not queue:
        change |= suspension(root.kind, True)
    around.api.patch(path_of(around, root), change, Root)
    if queue and subject.workload is not None:
        _switch_off(around, subject.workload)
    return "held"


def _switch_off(around: Surroundings, workload: Workload) -> None:
    """Kueue would start what it has admitted; switched off, the workload loses its place in line and is let alone.

    Kueue may write the whole workload anew when the job's object changes, and then it is on again: so a second look, and a third.
    """
    kind = around.workloads
    for _ in range(_LOOKS):
        _activate(around, workload, False)
        if kind is None:
            return
        time.sleep(_SETTLES_SECONDS)
        if around.api.get(kind.path(around.namespace, workload.metadata.name), Workload).spec.active is False:
            return


def _release(around: Surroundings, root: Root) -> str:
    queue = root.metadata.annotation(names.QUEUE)
    change: dict[str, Any] = {"metadata": {"annotations": {names.HELD: None, names.QUEUE: None}}}
    if root.metadata.label(names.KUEUE_QUEUE):
        workloads, _ = gather.workloads(around, [root])
        _activate(around, workloads.get(root.metadata.uid), True)
    elif queue:
        change["metadata"]["labels"] = {names.KUEUE_QUEUE: queue}
    else:
        change |= suspension(root.kind, False)
    around.api.patch(path_of(around, root), change, Root)
    return "released"


def _activate(around: Surroundings, workload: Workload | None, active: bool) -> None:
    kind = around.workloads
    if workload is not None and kind is not None:
        around.api.patch(kind.path(around.namespace, workload.metadata.name), {"spec": {"active": active}}, Object)
