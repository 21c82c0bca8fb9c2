"""The ``jobs`` table: accepting, finding, listing, and the changes of a job's state."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from gpuctl.base import names
from gpuctl.clusters.local.launchplan import WindowEnd
from gpuctl.clusters.local.store.rows import JOB_COLUMNS, decode, encode, spec_of
from gpuctl.model.ask import JobQuery, Submission
from gpuctl.model.job import FINAL, Exit, State
from gpuctl.model.reason import Reason
from gpuctl.model.spec import JobSpec

_FINAL = frozenset(state.value for state in FINAL)


class Accepted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was accepted, as ``job.json`` keeps it: the submission without its environment and secrets, and what was decided about it.

    ``at`` is UNIX time in seconds. ``submission.code`` already names the snapshot, if there is one. ``asked`` is the digest of what was
    asked for, by which a request id that comes again is told from one that was used for something else. ``environment``: the names of its
    variables.
    """

    id: str
    asked: str
    name: str
    user: str
    at: float
    submission: Submission
    environment: tuple[str, ...] | None = None
    team: str | None = None


def free_name(connection: sqlite3.Connection, base: str, request_id: str) -> str:
    """``base`` with the first tail that the request id gives and nobody has."""
    seed, turn = request_id, 0
    while True:
        name = f"{base}-{names.tail_of(seed)}"
        if connection.execute("SELECT 1 FROM jobs WHERE name = ?", (name,)).fetchone() is None:
            return name
        turn += 1
        seed = f"{request_id}/{turn}"


def insert(connection: sqlite3.Connection, accepted: Accepted) -> None:
    """Store an accepted job as queued.

    Raises:
        sqlite3.IntegrityError: its id, name or request id is there already.
    """
    submission = accepted.submission
    wanted = submission.spec
    connection.execute(
        "INSERT INTO jobs (id, name, base_name, user, request_id, asked, state, priority, hold, submitted_at, tasks, gpus, spec, code,"
        " labels, interpreter, rerun_of, environment, team) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            accepted.id,
            accepted.name,
            submission.base_name,
            accepted.user,
            submission.request_id,
            accepted.asked,
            State.QUEUED.value,
            wanted.priority,
            int(wanted.hold),
            accepted.at,
            wanted.array.count if wanted.array else None,
            wanted.total_gpus,
            encode(wanted),
            encode(submission.code),
            encode(submission.labels) if submission.labels else None,
            submission.interpreter,
            submission.rerun_of,
            _names_id(connection, accepted.environment),
            accepted.team,
        ),
    )
    event(connection, accepted.id, "submitted", at=accepted.at)


def _names_id(connection: sqlite3.Connection, names: tuple[str, ...] | None) -> int | None:
    if names is None:
        return None
    text = encode(names).decode()
    connection.execute("INSERT OR IGNORE INTO environments (names) VALUES (?)", (text,))
    return int(connection.execute("SELECT id FROM environments WHERE names = ?", (text,)).fetchone()[0])


def environment_names(connection: sqlite3.Connection, job_id: str) -> tuple[str, ...] | None:
    """Names of the variables that a job was submitted with, None where they were not recorded."""
    query = "SELECT names FROM environments WHERE id = (SELECT environment FROM jobs WHERE id = ?)"
    found = connection.execute(query, (job_id,)).fetchone()
    return decode(found[0], tuple[str, ...]) if found else None


def event(connection: sqlite3.Connection, job_id: str, what: str, *, at: float, text: str = "", attempt: int | None = None) -> None:
    """Add to the timeline; never earlier than what is there (the clock may have gone back)."""
    last = connection.execute("SELECT max(at) FROM events WHERE job = ?", (job_id,)).fetchone()[0]
    connection.execute(
        "INSERT INTO events (job, at, what, text, attempt) VALUES (?, ?, ?, ?, ?)", (job_id, max(at, last or 0.0), what, text, attempt)
    )


def by_request(connection: sqlite3.Connection, request_id: str) -> tuple[str, str] | None:
    """Id and ``asked`` of the job with this request id."""
    found: tuple[str, str] | None = connection.execute("SELECT id, asked FROM jobs WHERE request_id = ?", (request_id,)).fetchone()
    return found


def row(connection: sqlite3.Connection, job_id: str) -> tuple[Any, ...]:
    """One job's ``JOB_COLUMNS``; the id must be one that exists."""
    found: tuple[Any, ...] = connection.execute(f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return found


def spec(connection: sqlite3.Connection, job_id: str) -> JobSpec:
    """What was asked for, as it is now; the id must be one that exists."""
    return spec_of(connection.execute("SELECT spec FROM jobs WHERE id = ?", (job_id,)).fetchone()[0])


def state(connection: sqlite3.Connection, job_id: str) -> State | None:
    """The present state, None for an unknown id."""
    found = connection.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return State(found[0]) if found else None


def select(connection: sqlite3.Connection, query: JobQuery, *, now: float) -> list[tuple[Any, ...]]:
    """Rows of ``JOB_COLUMNS`` that match everything of the query but its labels: unfinished first, then newest first."""
    where, values = _conditions(query, now=now)
    limit = f" LIMIT {query.limit}" if query.limit is not None and not query.labels else ""
    columns = JOB_COLUMNS
    # Two index scans are much cheaper than one sort of everything by "is it finished".
    unfinished = connection.execute(
        f"SELECT {columns} FROM jobs WHERE ended_at IS NULL{where} ORDER BY submitted_at DESC, id DESC{limit}", values
    ).fetchall()
    if query.states is not None and not any(each.final for each in query.states):
        return unfinished
    finished_where, finished_values = where, list(values)
    if query.recent_seconds is not None:
        finished_where += " AND ended_at >= ?"
        finished_values.append(now - query.recent_seconds)
    finished = connection.execute(
        f"SELECT {columns} FROM jobs WHERE ended_at IS NOT NULL{finished_where} ORDER BY submitted_at DESC, id DESC{limit}", finished_values
    ).fetchall()
    found = unfinished + finished
    return found[: query.limit] if limit else found


def _conditions(query: JobQuery, *, now: float) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    if query.user not in (None, "all"):
        parts.append("user = ?")
        values.append(query.user)
    if query.states is not None:
        parts.append(f"state IN ({', '.join('?' * len(query.states))})")
        values.extend(sorted(each.value for each in query.states))
    if query.name is not None:
        parts.append("(name GLOB ? OR base_name GLOB ?)")
        values.extend((query.name, query.name))
    if query.since is not None:
        parts.append("submitted_at >= ?")
        values.append(query.since.timestamp())
    if query.team is not None:
        parts.append("team = ?")
        values.append(query.team)
    return "".join(f" AND {part}" for part in parts), values


def every_id(connection: sqlite3.Connection) -> set[str]:
    """Ids of all jobs there are."""
    return {each[0] for each in connection.execute("SELECT id FROM jobs")}


def finish(connection: sqlite3.Connection, job_id: str, final: State, *, at: float, how: Exit | None, reason: Reason | None) -> bool:
    """Make a job final; whether it was not final before. A final state stays."""
    assert final.value in _FINAL
    changed = connection.execute(
        "UPDATE jobs SET state = ?, ended_at = max(?, submitted_at, coalesce(started_at, 0)), exit_code = ?, exit_signal = ?,"
        " reason = ?, expected_start = NULL, ends_by = NULL, not_before = NULL WHERE id = ? AND ended_at IS NULL",
        (
            final.value,
            at,
            how.code if how else None,
            how.signal if how else None,
            encode(reason) if reason else None,
            job_id,
        ),
    ).rowcount
    if changed:
        event(connection, job_id, "ended", at=at, text=final.value)
    return bool(changed)


def wait(connection: sqlite3.Connection, job_id: str, *, reason: Reason | None, expected_start: float | None) -> None:
    """Remember why a queued job waits."""
    blob = encode(reason) if reason else None
    connection.execute(
        "UPDATE jobs SET reason = ?, expected_start = ? WHERE id = ? AND ended_at IS NULL AND (reason IS NOT ? OR expected_start IS NOT ?)",
        (blob, expected_start, job_id, blob, expected_start),
    )


def requeue(
    connection: sqlite3.Connection, job_id: str, *, at: float, not_before: float | None, counts: bool, reason: Reason | None, text: str = ""
) -> None:
    """Put a job back in line after an attempt; its next one may start at ``not_before``."""
    connection.execute(
        "UPDATE jobs SET state = ?, not_before = ?, retries_used = retries_used + ?, reason = ?, ends_by = NULL, place = NULL,"
        " window = NULL, window_end = NULL"
        " WHERE id = ? AND ended_at IS NULL",
        (State.QUEUED.value, not_before, int(counts), encode(reason) if reason else None, job_id),
    )
    event(connection, job_id, "retrying", at=at, text=text or (reason.sentence if reason else ""))


def enter_window(connection: sqlite3.Connection, job_id: str, end: WindowEnd | None) -> None:
    """Remember how the window that a job runs in ends it; whatever comes first, that or its time limit, is when it ends."""
    at = end.at if end is not None else None
    spec_blob, started_at, is_array = connection.execute("SELECT spec, started_at, tasks FROM jobs WHERE id = ?", (job_id,)).fetchone()
    limit = spec_of(spec_blob).time_seconds if is_array is None else None
    ends = [each for each in (at, started_at + limit if limit is not None and started_at is not None else None) if each is not None]
    connection.execute(
        "UPDATE jobs SET window = ?, window_end = ?, ends_by = ? WHERE id = ? AND ended_at IS NULL",
        (encode(end) if end is not None else None, at, min(ends, default=None), job_id),
    )


def unerased(connection: sqlite3.Connection) -> list[str]:
    """Final jobs whose sealed environment may still be on disk."""
    return [each[0] for each in connection.execute("SELECT id FROM jobs WHERE sealed = 1 AND ended_at IS NOT NULL")]


def erased(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Remember that the sealed environments of these jobs are gone."""
    connection.executemany("UPDATE jobs SET sealed = 0 WHERE id = ?", [(each,) for each in ids])
