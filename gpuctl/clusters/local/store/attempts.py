"""The ``attempts`` table: one row per try of a job, or of one task of an array."""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from gpuctl.clusters.local.store.rows import ATTEMPT_COLUMNS, attempt_of, decode, encode, exit_of
from gpuctl.model.job import Attempt, Exit, Pod, RankEnd, State
from gpuctl.model.reason import Evidence, Reason


class Ended(NamedTuple):
    """An attempt that has ended and that nobody has judged yet.

    ``task`` is -1 for a job that is no array; ``at`` in UNIX seconds; ``began``: a process of it was started.
    """

    job: str
    task: int
    number: int
    state: State
    at: float
    how: Exit | None
    infrastructure: bool
    began: bool


def begin(
    connection: sqlite3.Connection, job_id: str, task: int, number: int, *, launch: int, pods: Sequence[Pod], at: float | None
) -> None:
    """Add an attempt: starting, or running since ``at``. One that is there already keeps its place and its start."""
    connection.execute(
        "INSERT INTO attempts (job, task, number, launch, state, started_at, pods) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (job, task, number) DO UPDATE SET state = excluded.state, started_at = coalesce(started_at, excluded.started_at)"
        " WHERE ended_at IS NULL",
        (job_id, task, number, launch, (State.STARTING if at is None else State.RUNNING).value, at, encode(tuple(pods))),
    )


def rank_ended(connection: sqlite3.Connection, job_id: str, task: int, number: int, end: RankEnd) -> None:
    """Note the end of one rank; the first note about a rank stays."""
    row = connection.execute("SELECT ranks FROM attempts WHERE job = ? AND task = ? AND number = ?", (job_id, task, number)).fetchone()
    if row is None:
        return
    ranks = decode(row[0], tuple[RankEnd, ...]) or ()
    if any(each.rank == end.rank for each in ranks):
        return
    connection.execute(
        "UPDATE attempts SET ranks = ? WHERE job = ? AND task = ? AND number = ?", (encode((*ranks, end)), job_id, task, number)
    )


def end(
    connection: sqlite3.Connection,
    job_id: str,
    task: int,
    number: int,
    *,
    state: State,
    at: float,
    how: Exit | None,
    infrastructure: bool = False,
) -> bool:
    """Make an attempt final, not earlier than it began; whether it was not final before."""
    return bool(
        connection.execute(
            "UPDATE attempts SET state = ?, ended_at = max(?, coalesce(started_at, 0)), exit_code = ?, exit_signal = ?, infrastructure = ?"
            " WHERE job = ? AND task = ? AND number = ? AND ended_at IS NULL",
            (state.value, at, how.code if how else None, how.signal if how else None, int(infrastructure), job_id, task, number),
        ).rowcount
    )


def unfinished(connection: sqlite3.Connection, job_id: str, launch: int) -> list[tuple[int, int, float | None]]:
    """Task, number and start of the attempts of a launch that have not ended."""
    return connection.execute(
        "SELECT task, number, started_at FROM attempts WHERE job = ? AND launch = ? AND ended_at IS NULL", (job_id, launch)
    ).fetchall()


def forget(connection: sqlite3.Connection, job_id: str, task: int, number: int) -> None:
    """Remove an attempt that never ran a process."""
    connection.execute("DELETE FROM attempts WHERE job = ? AND task = ? AND number = ?", (job_id, task, number))


def unjudged(connection: sqlite3.Connection) -> list[Ended]:
    """Attempts of unfinished jobs that have ended and wait for a decision; of a job that is no array only once its launch is closed."""
    rows = connection.execute(
        "SELECT a.job, a.task, a.number, a.state, a.ended_at, a.exit_code, a.exit_signal, a.infrastructure, a.started_at FROM attempts a"
        " JOIN jobs j ON j.id = a.job JOIN launches l ON l.job = a.job AND l.number = a.launch"
        " WHERE a.judged = 0 AND a.ended_at IS NOT NULL AND j.ended_at IS NULL AND (a.task >= 0 OR l.open = 0) ORDER BY a.ended_at"
    )
    return [Ended(row[0], row[1], row[2], State(row[3]), row[4], exit_of(row[5], row[6]), bool(row[7]), row[8] is not None) for row in rows]


def judge(connection: sqlite3.Connection, job_id: str, task: int, number: int, *, reason: Reason | None) -> bool:
    """Mark an attempt as judged, with the reason; whether nobody had done so before."""
    return bool(
        connection.execute(
            "UPDATE attempts SET judged = 1, reason = coalesce(?, reason) WHERE job = ? AND task = ? AND number = ? AND judged = 0",
            (encode(reason) if reason else None, job_id, task, number),
        ).rowcount
    )


def evidence(connection: sqlite3.Connection, job_id: str, task: int, number: int, seen: Evidence) -> None:
    """Keep one fact."""
    connection.execute("INSERT INTO evidence (job, task, attempt, doc) VALUES (?, ?, ?, ?)", (job_id, task, number, encode(seen)))


def task_evidence(connection: sqlite3.Connection, job_id: str, task: int) -> tuple[Evidence, ...]:
    """The facts about one task of an array, or about the whole job."""
    rows = connection.execute("SELECT doc FROM evidence WHERE job = ? AND task IN (?, -1) ORDER BY rowid", (job_id, task))
    return tuple(each for each in (decode(row[0], Evidence) for row in rows) if each is not None)


def of_job(connection: sqlite3.Connection, job_id: str, *, cluster: str, task: int | None = None) -> tuple[Attempt, ...]:
    """All attempts of a job (or of one task), in order."""
    extra, values = ("", (job_id,)) if task is None else (" AND task = ?", (job_id, task))
    rows = connection.execute(f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE job = ?{extra} ORDER BY task, number", values)
    return tuple(attempt_of(row, cluster=cluster) for row in rows)


def used(connection: sqlite3.Connection, *, since: float | None) -> list[tuple[Any, ...]]:
    """User, job, labels, attempt's state, start, end and GPUs of every attempt that ran, and was not over before ``since``."""
    return connection.execute(
        "SELECT j.user, j.id, j.name, j.base_name, j.labels, a.state, a.started_at, a.ended_at, j.gpus"
        " FROM attempts a JOIN jobs j ON j.id = a.job WHERE a.started_at IS NOT NULL AND (a.ended_at IS NULL OR a.ended_at >= ?)",
        (since or 0.0,),
    ).fetchall()


def has_ended(connection: sqlite3.Connection, job_id: str, task: int, number: int) -> bool:
    """Whether this attempt is over; also when it was taken back or its job is final."""
    row = connection.execute(
        "SELECT ended_at IS NOT NULL FROM attempts WHERE job = ? AND task = ? AND number = ?", (job_id, task, number)
    ).fetchone()
    if row is not None:
        return bool(row[0])
    final = connection.execute("SELECT ended_at IS NOT NULL FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return final is None or bool(final[0])
