"""The ``tasks`` table: the tasks of arrays that have been touched. A task without a row is queued and was never started."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpuctl.clusters.local.store.rows import encode
from gpuctl.model.job import Exit, State, TaskCounts
from gpuctl.model.reason import Reason
from gpuctl.model.spec import ArraySpec


class Task(NamedTuple):
    """One touched task; ``launch``: the launch during which it was put back in line, 0 once that was given the task again."""

    number: int
    state: State
    attempts: int
    retries_used: int
    launch: int
    not_before: float | None


def touched(connection: sqlite3.Connection, job_id: str) -> dict[int, Task]:
    """All touched tasks of an array, by index."""
    rows = connection.execute("SELECT task, state, attempts, retries_used, launch, not_before FROM tasks WHERE job = ?", (job_id,))
    return {row[0]: Task(row[0], State(row[1]), *row[2:]) for row in rows}


def ready(array: ArraySpec, tasks: dict[int, Task], *, now: float) -> list[tuple[int, int]]:
    """Index and next attempt's number of every task that may start now, in order."""
    found: list[tuple[int, int]] = []
    for index in array.indices:
        task = tasks.get(index)
        if task is None:
            found.append((index, 1))
        elif task.state is State.QUEUED and (task.not_before is None or task.not_before <= now):
            found.append((index, task.attempts + 1))
    return found


def running(connection: sqlite3.Connection, job_id: str, index: int, *, attempt: int, at: float) -> None:
    """A task's attempt began. A final task stays final."""
    connection.execute(
        "INSERT INTO tasks (job, task, state, attempts, started_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (job, task) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, started_at = excluded.started_at,"
        " not_before = NULL WHERE ended_at IS NULL",
        (job_id, index, State.RUNNING.value, attempt, at),
    )


def finish(
    connection: sqlite3.Connection,
    job_id: str,
    indices: Iterable[int],
    state: State,
    *,
    at: float,
    how: Exit | None,
    reason: Reason | None,
) -> int:
    """Make tasks final; how many were not final before."""
    rows = [
        (job_id, index, state.value, at, how.code if how else None, how.signal if how else None, encode(reason) if reason else None)
        for index in indices
    ]
    return connection.executemany(
        "INSERT INTO tasks (job, task, state, ended_at, exit_code, exit_signal, reason) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (job, task) DO UPDATE SET state = excluded.state, ended_at = max(excluded.ended_at, coalesce(started_at, 0)),"
        " exit_code = excluded.exit_code, exit_signal = excluded.exit_signal, reason = excluded.reason, not_before = NULL"
        " WHERE ended_at IS NULL",
        rows,
    ).rowcount


def requeue(
    connection: sqlite3.Connection,
    job_id: str,
    index: int,
    *,
    launch: int,
    not_before: float | None,
    counts: bool,
    attempts: int | None = None,
) -> None:
    """Put one task back in line. ``attempts``: how many it has had, where an attempt was taken back."""
    connection.execute(
        "UPDATE tasks SET state = ?, launch = ?, not_before = ?, retries_used = retries_used + ?, attempts = coalesce(?, attempts),"
        " started_at = NULL WHERE job = ? AND task = ? AND ended_at IS NULL",
        (State.QUEUED.value, launch, not_before, int(counts), attempts, job_id, index),
    )


def hand_over(connection: sqlite3.Connection, job_id: str, indices: Iterable[int]) -> None:
    """These tasks, which were put back in line, are given to the launch that runs: they count as part of its plan from now on."""
    connection.executemany("UPDATE tasks SET launch = 0 WHERE job = ? AND task = ?", [(job_id, index) for index in indices])


def counts(connection: sqlite3.Connection, totals: dict[str, int]) -> dict[str, TaskCounts]:
    """How many tasks are in which state, for arrays by id with their widths."""
    found: dict[str, dict[str, int]] = {job_id: {} for job_id in totals}
    for batch in _batches(list(totals), 500):
        marks = ", ".join("?" * len(batch))
        rows = connection.execute(f"SELECT job, state, count(*) FROM tasks WHERE job IN ({marks}) GROUP BY job, state", batch)
        for job_id, state, count in rows:
            found[job_id][state] = count
    result = {}
    for job_id, by_state in found.items():
        others = {name: count for name, count in by_state.items() if name != State.QUEUED.value}
        result[job_id] = TaskCounts(queued=totals[job_id] - sum(others.values()), **others)
    return result


def _batches(items: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
