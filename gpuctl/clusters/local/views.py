"""What people see of the store: lists of jobs, one job with everything, and the tasks of an array as rows of their own."""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gpuctl.base.errors import NotFoundError
from gpuctl.clusters.local.lookup import Found
from gpuctl.clusters.local.store import attempts, jobs, tasks
from gpuctl.clusters.local.store.rows import events_of, exit_of, instant, job_of, reason_of, state_of
from gpuctl.model.ask import JobQuery
from gpuctl.model.job import Job, State, TaskCounts

_ARRAYS = "SELECT id, tasks FROM jobs WHERE tasks IS NOT NULL"


def listing(connection: sqlite3.Connection, query: JobQuery, *, cluster: str) -> tuple[Job, ...]:
    """Jobs that match, unfinished first, then newest first; with ``query.tasks`` each task of an array is a row after the array's place."""
    rows = jobs.select(connection, query, now=time.time())
    counts = _counts(connection, rows)
    found: Iterable[Job] = (job_of(row, cluster=cluster, tasks=counts.get(row[0])) for row in rows)
    if query.labels:
        wanted = query.labels.items()
        found = (job for job in found if wanted <= job.labels.items())
    if query.tasks:
        found = (each for job in found for each in _expanded(connection, job, query))
    result = tuple(found)
    return result[: query.limit] if query.limit is not None else result


def _counts(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> dict[str, TaskCounts]:
    arrays = dict(connection.execute(_ARRAYS).fetchall())
    return tasks.counts(connection, {row[0]: arrays[row[0]] for row in rows if row[0] in arrays}) if arrays else {}


def whole(connection: sqlite3.Connection, found: Found, *, cluster: str) -> Job:
    """One job (or one task of an array) with all attempts and its timeline."""
    row = jobs.row(connection, found.job_id)
    counts = _counts(connection, [row])
    task = found.tasks[0] if found.tasks is not None and len(found.tasks) == 1 else None
    job = job_of(
        row,
        cluster=cluster,
        tasks=counts.get(row[0]),
        attempts=attempts.of_job(connection, found.job_id, cluster=cluster, task=task),
        timeline=events_of(connection, found.job_id),
        environment=jobs.environment_names(connection, found.job_id),
    )
    if task is None:
        return job
    return next(each for each in _tasks_of(connection, job) if each.name == f"{job.name}_{task}")


def _expanded(connection: sqlite3.Connection, job: Job, query: JobQuery) -> Iterable[Job]:
    if job.spec.array is None:
        return (job,)
    rows = _tasks_of(connection, msgspec.structs.replace(job, attempts=()))
    return (each for each in rows if query.states is None or each.state in query.states)


def _tasks_of(connection: sqlite3.Connection, job: Job) -> Iterable[Job]:
    """Every task of an array as a job: the array's own values, with the task's state, times and end."""
    assert job.spec.array is not None
    rows = connection.execute(
        "SELECT task, state, attempts, started_at, ended_at, exit_code, exit_signal, reason FROM tasks WHERE job = ?", (job.id,)
    )
    touched = {row[0]: row for row in rows}
    for index in job.spec.array.indices:
        row = touched.get(index, (index, State.QUEUED.value, 0, None, None, None, None, None))
        state = state_of(row[1])
        own = tuple(attempt for attempt in job.attempts if attempt.task == index)
        yield msgspec.structs.replace(
            job,
            name=f"{job.name}_{index}",
            state=state,
            attempt_count=row[2],
            started_at=instant(row[3]),
            ended_at=instant(row[4]),
            exit=exit_of(row[5], row[6]),
            reason=reason_of(row[7]) if row[7] is not None else (job.reason if state is State.QUEUED else None),
            tasks=None,
            attempts=own,
            where=job.where if state.active else None,
        )


def mounted(unfinished: Iterable[Job]) -> dict[str, tuple[str, ...]]:
    """Which of these jobs mount which volume, by the volume's name."""
    users: dict[str, tuple[str, ...]] = {}
    for job in unfinished:
        names = {each.name for each in job.spec.volumes} | ({job.spec.checkpoint.volume} if job.spec.checkpoint else set())
        for volume in names:
            users[volume] = (*users.get(volume, ()), job.name)
    return users


def require_one(found: Found, *, what: str) -> Found:
    """Refuse several tasks where one job or task is wanted."""
    if found.tasks is not None and len(found.tasks) != 1:
        raise NotFoundError(f"cannot {what} {len(found.tasks)} tasks of {found.name} at once", code="one-task-wanted")
    return found
