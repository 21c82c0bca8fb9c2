"""Where a job stands by its own object alone, for each kind of object.

Lists read nothing else, so this must say when it is not ``sure``: then, and only then, pods are read.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from gpuctl.clusters.kubernetes.observe.objects import Root, latest
from gpuctl.clusters.kubernetes.observe.translate_container import CUT_STATUS
from gpuctl.kube.objects.jobs import ReplicatedJobStatus
from gpuctl.kube.objects.meta import Condition, condition
from gpuctl.model.job import State
from gpuctl.model.spec import JobSpec

OPERATORS = {
    "JobSet": "the JobSet controller",
    "TrainJob": "Kubeflow Trainer",
    "PyTorchJob": "the training operator",
    "RayJob": "the KubeRay operator",
}
"""Who acts on which kind. A Job's controller comes with Kubernetes."""


class Standing(NamedTuple):
    """What a job's own object says.

    Attributes:
        state: where it stands; of an unsure one the least that is certain.
        sure: whether pods would not tell more about the state.
        started_at: when its controller began (not when its program did, except for a RayJob).
        earliest: from when its time limit may count, where that is before its program's start.
        ended_at: when it ended, for final states.
        restarts: attempts before this one.
        suspended: whether it is kept from starting (held, or in a queue).
        reason: the controller's word.
        message: its sentence.
        untouched: whether no controller has said anything yet.
    """

    state: State
    sure: bool = True
    started_at: datetime | None = None
    ended_at: datetime | None = None
    restarts: int = 0
    suspended: bool = False
    reason: str = ""
    message: str = ""
    untouched: bool = False
    earliest: datetime | None = None


def standing(root: Root, spec: JobSpec) -> Standing:
    """Where the job stands by its own object."""
    found = _KINDS.get(root.kind, _job)(root, spec)
    if found.state is State.FAILED and found.sure and _may_be_cut(found, spec):
        return found._replace(sure=False)
    return found


def _may_be_cut(found: Standing, spec: JobSpec) -> bool:
    """Whether it ran long enough for its time limit to have ended it; only its pods know."""
    limit = spec.time_seconds
    begun = found.earliest or found.started_at
    if limit is None or begun is None or found.ended_at is None:
        return False
    return found.ended_at - begun >= timedelta(seconds=limit)


def cut_by_times(found: Standing, spec: JobSpec) -> bool:
    """Whether the limit is the likeliest end of a failed job whose pods are gone: it ended within the limit's grace."""
    limit = spec.time_seconds
    if not _may_be_cut(found, spec):
        return False
    begun = found.started_at or found.earliest
    assert limit is not None
    assert begun is not None
    assert found.ended_at is not None
    return found.ended_at - begun <= timedelta(seconds=limit + spec.grace_seconds + 120)


def _failed(found: Condition, root: Root, *, started: datetime | None, restarts: int = 0) -> Standing:
    state = State.FAILED
    if found.reason in ("DeadlineExceeded", "PreRunningDeadlineExceeded") or f"exit code {CUT_STATUS} " in f"{found.message} ":
        state = State.CUT
    elif found.reason == "PodFailurePolicy" or "PodFailurePolicy" in found.message:
        state = State.LOST if "DisruptionTarget" in found.message else State.FAILED
    ended = found.last_transition_time or root.status.completion_time
    return Standing(state, started_at=started, ended_at=ended, restarts=restarts, reason=found.reason, message=found.message)


def _job(root: Root, spec: JobSpec) -> Standing:
    status = root.status
    started = status.start_time
    done = latest(status.conditions, "Complete", "Failed")
    if done is not None and done.type == "Complete":
        return Standing(State.SUCCEEDED, started_at=started, ended_at=status.completion_time or done.last_transition_time)
    if done is not None:
        return _failed(done, root, started=started)
    if root.spec.suspend:
        held = bool(status.active) or bool(status.terminating)
        return Standing(State.STARTING if held else State.QUEUED, suspended=True, started_at=None)
    ready, ended = status.ready or 0, _number(status.succeeded) + _number(status.failed)
    whole = root.spec.parallelism or 1
    if spec.array is not None:
        state = State.RUNNING if ready or ended else State.STARTING
        return Standing(state, sure=bool(ready or ended), started_at=started)
    if ready + ended >= whole:
        return Standing(State.RUNNING, started_at=started)
    return Standing(State.QUEUED, sure=False, started_at=started, untouched=started is None and status.active is None)


def _job_set(root: Root, spec: JobSpec) -> Standing:
    status = root.status
    started = root.metadata.creation_timestamp if status.replicated_jobs_status else None
    resumed = condition(status.conditions, "Suspended")
    if resumed is not None and resumed.status == "False":
        started = resumed.last_transition_time
    done = latest(status.conditions, "Completed", "Failed")
    if done is not None and done.type == "Completed":
        return Standing(State.SUCCEEDED, started_at=started, ended_at=done.last_transition_time, restarts=status.restarts)
    if done is not None:
        return _failed(done, root, started=started, restarts=status.restarts)
    return _replicated(root, status.replicated_jobs_status, started=started, restarts=status.restarts, suspend=bool(root.spec.suspend))


def _replicated(root: Root, jobs: list[ReplicatedJobStatus] | None, *, started: datetime | None, restarts: int, suspend: bool) -> Standing:
    untouched = not jobs and not root.status.conditions
    if suspend:
        return Standing(State.QUEUED, suspended=True, restarts=restarts, untouched=untouched)
    if jobs and all(each.ready + each.succeeded + each.failed > 0 for each in jobs):
        return Standing(State.RUNNING, started_at=started, restarts=restarts)
    return Standing(State.QUEUED, sure=False, started_at=started, restarts=restarts, untouched=untouched)


def _train_job(root: Root, spec: JobSpec) -> Standing:
    status = root.status
    resumed = condition(status.conditions, "Suspended")
    started = root.metadata.creation_timestamp if status.jobs_status else None
    if resumed is not None and resumed.status == "False":
        started = resumed.last_transition_time
    done = latest(status.conditions, "Complete", "Failed")
    if done is not None and done.type == "Complete":
        return Standing(State.SUCCEEDED, started_at=started, ended_at=done.last_transition_time)
    if done is not None:
        return _failed(done, root, started=started)
    found = _replicated(root, status.jobs_status, started=started, restarts=0, suspend=bool(root.spec.suspend))
    return found._replace(earliest=started)  # from which its limit counts, whenever its pods began


def _pytorch_job(root: Root, spec: JobSpec) -> Standing:
    status = root.status
    started = status.start_time
    done = latest(status.conditions, "Succeeded", "Failed")
    if done is not None and done.type == "Succeeded":
        return Standing(State.SUCCEEDED, started_at=started, ended_at=status.completion_time or done.last_transition_time)
    if done is not None:
        return _failed(done, root, started=started)
    if root.spec.run_policy is not None and root.spec.run_policy.suspend:
        return Standing(State.QUEUED, suspended=True, untouched=not status.conditions)
    active = sum(each.active + each.succeeded + each.failed for each in (status.replica_statuses or {}).values())
    running = condition(status.conditions, "Running")
    if running is not None and running.status == "True" and active >= spec.nodes:
        return Standing(State.RUNNING, started_at=started)
    return Standing(State.QUEUED, sure=False, started_at=started, untouched=not status.conditions)


def _ray_job(root: Root, spec: JobSpec) -> Standing:
    status = root.status
    # Its own start time is when the operator turned to it; pods may have waited long after that.
    started, ended = status.ray_job_info.start_time if status.ray_job_info is not None else None, status.end_time
    deployment, job = status.job_deployment_status, status.job_status
    told = Standing(State.FAILED, started_at=started, ended_at=ended, reason=status.reason, message=status.message)
    if deployment == "Complete":
        return told._replace(state={"SUCCEEDED": State.SUCCEEDED, "STOPPED": State.CANCELLED}.get(job, State.FAILED))
    if deployment in ("Failed", "ValidationFailed"):
        late = status.reason in ("DeadlineExceeded", "PreRunningDeadlineExceeded") or f"exit code {CUT_STATUS}," in f"{status.message},"
        # Unless the program ended by itself, its pods may have come to their limit; KubeRay removes them at once.
        earliest = status.start_time if status.reason != "AppFailed" else None
        ended = ended or root.metadata.creation_timestamp
        return told._replace(state=State.CUT if late else State.FAILED, ended_at=ended, earliest=earliest)
    if root.spec.suspend or deployment in ("Suspended", "Suspending"):
        return Standing(State.QUEUED, suspended=True, untouched=not deployment)
    # Once begun it runs, whatever word KubeRay got for its state: while Ray does not answer that is no state of a job at all.
    if deployment == "Running" and (started is not None or job in ("RUNNING", "SUCCEEDED", "FAILED", "STOPPED")):
        return Standing(State.RUNNING, started_at=started, earliest=status.start_time)
    return Standing(State.QUEUED, sure=False, started_at=started, untouched=not deployment)


def _number(value: int | str | None) -> int:
    """A count; RayJobs write theirs as numbers too, but leave them out at 0."""
    return value if isinstance(value, int) else int(value) if value and value.isdigit() else 0


_KINDS: dict[str, Callable[[Root, JobSpec], Standing]] = {
    "Job": _job,
    "JobSet": _job_set,
    "TrainJob": _train_job,
    "PyTorchJob": _pytorch_job,
    "RayJob": _ray_job,
}


def indexes(text: str) -> frozenset[int]:
    """``0,3-5`` of an Indexed Job's status as numbers."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last or first) + 1) if (last or first).isdigit() else ())
    return frozenset(found)
