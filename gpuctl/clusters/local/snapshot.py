"""What ``policy.queue.decide`` is told: the store's unfinished jobs as waiting, ended or running ones."""

import sqlite3
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from gpuctl.base.clock import from_unix
from gpuctl.clusters.local.launchplan import Slot, WindowEnd
from gpuctl.clusters.local.store import attempts, launches, tasks
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.clusters.local.store.rows import NO_TASK, decode, instant, reason_of, spec_of
from gpuctl.clusters.local.store.tasks import Task
from gpuctl.model.job import State
from gpuctl.model.reason import Reason
from gpuctl.model.spec import AfterMode, JobSpec
from gpuctl.policy.described import queue_job
from gpuctl.policy.values import After, ArrayProgress, EndedAttempt, PodPlace, QueueJob, Running

_COLUMNS = (
    "id, name, user, state, priority, hold, submitted_at, not_before, retries_used, attempt_count, ends_by, stop_asked, reason,"
    " expected_start, spec, team, window"
)


class Standing(NamedTuple):
    """One unfinished job with what a decision needs of it."""

    job_id: str
    name: str
    user: str
    state: State
    priority: int
    hold: bool
    submitted_at: datetime
    not_before: datetime | None
    retries_used: int
    attempts: int
    ends_by: datetime | None
    stop_asked: bool
    reason: Reason | None
    expected_start: float | None
    spec: JobSpec
    team: str | None = None
    window: WindowEnd | None = None


class Queue(NamedTuple):
    """The whole queue at one instant.

    Attributes:
        done: arrays that have nothing left to run.
        touched: tasks of arrays by job id.
        again: of running arrays, the tasks that were put back in line and may start now, by job id.
        again_at: when the next such task may start.
    """

    jobs: tuple[QueueJob, ...]
    running: tuple[Running, ...]
    standing: dict[str, Standing]
    done: tuple[str, ...]
    touched: dict[str, dict[int, Task]]
    again: dict[str, tuple[int, ...]]
    again_at: datetime | None

    @property
    def waiting(self) -> bool:
        """Whether anything waits for a keeper: a job that is held waits for a person."""
        return any(not job.hold or job.ended is not None for job in self.jobs) or bool(self.done)


def task_id(job_id: str, index: int) -> str:
    """Under which id the end of one task of an array is judged."""
    return f"{job_id}/{index}"


def parse_task_id(text: str) -> tuple[str, int]:
    """Job id and task index (-1: the job itself)."""
    job_id, _, index = text.partition("/")
    return job_id, int(index) if index else NO_TASK


def queue_job_of(job_id: str, name: str, spec: JobSpec, *, submitted_at: datetime, user: str, team: str | None = None) -> QueueJob:
    """A job with nothing but what its spec asks for; a machine has no tiers."""
    return queue_job(spec, job_id=job_id, name=name, submitted_at=submitted_at, user=user, team=team)


def gather(connection: sqlite3.Connection, *, cluster: str, node: str, now: datetime) -> Queue:
    """The queue as the store has it."""
    standing = {row[0]: _standing(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE ended_at IS NULL")}
    opened = {launch.job: launch for launch in launches.opened(connection)}
    ended: dict[str, list[attempts.Ended]] = {}
    for attempt in attempts.unjudged(connection):
        ended.setdefault(attempt.job, []).append(attempt)
    jobs: list[QueueJob] = []
    running: list[Running] = []
    done: list[str] = []
    touched: dict[str, dict[int, Task]] = {}
    again: dict[str, tuple[int, ...]] = {}
    pauses: list[float] = []
    for job_id, job in standing.items():
        launch = opened.get(job_id)
        progress = None
        if job.spec.array is not None:
            touched[job_id] = tasks.touched(connection, job_id)
            progress = _progress(job, touched[job_id], launch=launch, now=now)
            jobs.extend(_task_ended(job, attempt, touched[job_id]) for attempt in ended.get(job_id, ()))
            if launch is None and job_id not in ended and _all_final(job, touched[job_id]):
                done.append(job_id)
                continue
        if launch is not None:
            running.append(_running(job, launch, progress, cluster=cluster, node=node))
            if not job.stop_asked and not _closing(job, now):
                back = [task for task in touched.get(job_id, {}).values() if _put_back(task, launch)]
                if due := tuple(task.number for task in back if task.not_before is None or task.not_before <= now.timestamp()):
                    again[job_id] = due
                pauses += [task.not_before for task in back if task.not_before is not None and task.not_before > now.timestamp()]
        else:
            verdict = ended[job_id][-1] if job_id in ended and progress is None else None
            jobs.append(_waiting(connection, job, verdict, progress, touched.get(job_id)))
    return Queue(
        jobs=tuple(jobs),
        running=tuple(running),
        standing=standing,
        done=tuple(done),
        touched=touched,
        again=again,
        again_at=instant(min(pauses, default=None)),
    )


def _closing(job: Standing, now: datetime) -> bool:
    """Whether the window that the job runs in is ending: what is tried again then waits for the next launch."""
    return job.window is not None and now.timestamp() >= job.window.at - job.window.grace


def _standing(row: tuple[Any, ...]) -> Standing:
    return Standing(
        job_id=row[0],
        name=row[1],
        user=row[2],
        state=State(row[3]),
        priority=row[4],
        hold=bool(row[5]),
        submitted_at=from_unix(row[6]),
        not_before=instant(row[7]),
        retries_used=row[8],
        attempts=row[9],
        ends_by=instant(row[10]),
        stop_asked=bool(row[11]),
        reason=reason_of(row[12]),
        expected_start=row[13],
        spec=spec_of(row[14]),
        team=row[15],
        window=decode(row[16], WindowEnd),
    )


def _waiting(
    connection: sqlite3.Connection,
    job: Standing,
    ended: attempts.Ended | None,
    progress: ArrayProgress | None,
    touched: dict[int, Task] | None,
) -> QueueJob:
    not_before = job.not_before
    if touched is not None and progress is not None and progress.ready == 0:
        pauses = [task.not_before for task in touched.values() if task.state is State.QUEUED and task.not_before is not None]
        not_before = instant(min(pauses)) if pauses else None
    plain = queue_job_of(job.job_id, job.name, job.spec, submitted_at=job.submitted_at, user=job.user, team=job.team)
    return msgspec.structs.replace(
        plain,
        priority=job.priority,
        hold=job.hold,
        after=tuple(_after(connection, each.job, each.mode) for each in job.spec.after),
        not_before=not_before,
        array=progress,
        ended=_verdict(ended) if ended is not None else None,
        retries_left=max(0, job.spec.retries - job.retries_used),
        attempts=job.attempts,
    )


def _task_ended(job: Standing, ended: attempts.Ended, touched: dict[int, Task]) -> QueueJob:
    """The end of one task, to be judged like the end of a job of its own."""
    task = touched.get(ended.task)
    used = task.retries_used if task is not None else 0
    plain = queue_job_of(
        task_id(job.job_id, ended.task), f"{job.name}_{ended.task}", job.spec, submitted_at=job.submitted_at, user=job.user, team=job.team
    )
    return msgspec.structs.replace(
        plain, array=None, ended=_verdict(ended), retries_left=max(0, job.spec.retries - used), attempts=task.attempts if task else 1
    )


def _verdict(ended: attempts.Ended) -> EndedAttempt:
    return EndedAttempt(
        number=ended.number,
        state=ended.state,
        at=from_unix(ended.at),
        exit=ended.how,
        infrastructure=ended.infrastructure,
        began=ended.began,
    )


def _after(connection: sqlite3.Connection, job_id: str, mode: AfterMode) -> After:
    row = connection.execute("SELECT name, state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    name, state = (row[0], State(row[1])) if row else (job_id, None)
    return After(job=job_id, name=name, mode=mode, state=state)


def _progress(job: Standing, touched: dict[int, Task], *, launch: Launch | None, now: datetime) -> ArrayProgress:
    array = job.spec.array
    assert array is not None
    ready = len(tasks.ready(array, touched, now=now.timestamp()))
    if launch is not None:
        ready -= sum(
            _put_back(task, launch) and (task.not_before is None or task.not_before <= now.timestamp()) for task in touched.values()
        )
    running = sum(task.state is State.RUNNING for task in touched.values())
    return ArrayProgress(ready=max(0, ready), running=running, parallel=array.parallel)


def _put_back(task: Task, launch: Launch) -> bool:
    """Whether a task waits that its array's supervisor does not know of: it was put back in line, and not yet handed over."""
    return task.state is State.QUEUED and task.launch == launch.number


def _all_final(job: Standing, touched: dict[int, Task]) -> bool:
    assert job.spec.array is not None
    return len(touched) >= job.spec.array.count and all(task.state.final for task in touched.values())


def _running(job: Standing, launch: Launch, progress: ArrayProgress | None, *, cluster: str, node: str) -> Running:
    ends_at = job.ends_by
    if ends_at is None and job.spec.time_seconds is not None and progress is None:
        ends_at = from_unix(launch.created_at + job.spec.time_seconds)
    return Running(
        id=job.job_id,
        name=job.name,
        submitted_at=job.submitted_at,
        user=job.user,
        priority=job.priority,
        slots=tuple(places(slot, job.spec, cluster=cluster, node=node) for slot in launch.slots),
        ends_at=ends_at,
        array=progress,
        shrinking=launch.shrinking,
        pods=job.spec.nodes,
        gpus=job.spec.gpus,
        gpu_type=job.spec.gpu_type,
        devices=job.spec.devices,
        cpu_millis=job.spec.cpu_millis or 0,
        memory=job.spec.memory_bytes or 0,
        exclude=job.spec.exclude,
        preemptible=job.spec.requeue,
        team=job.team,
        time_limit=job.spec.time_seconds,
        fit_window=job.spec.fit_window,
        reclaimed=job.window is not None and job.window.lent,
    )


def places(slot: Slot, spec: JobSpec, *, cluster: str, node: str) -> tuple[PodPlace, ...]:
    """The devices of one slot as the scheduler names them."""
    return tuple(PodPlace(cluster=cluster, node=node, devices=tuple(lease.index for lease in pod), gpus=spec.gpus) for pod in slot.pods)
