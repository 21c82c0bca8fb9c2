"""From what a person typed to a job: name, base name (the newest), unique id prefix, ``NAME_7`` or ``NAME_3-9`` for tasks of an array."""

import difflib
import re
import sqlite3
from typing import NamedTuple

from gpuctl.base.errors import ConflictError, NotFoundError
from gpuctl.clusters.local.store.rows import spec_of

_TASKS = re.compile(r"(.+)_(\d{1,9})(?:-(\d{1,9}))?\Z")
_SHORTEST_PREFIX = 3
_SHOWN = 5


class Found(NamedTuple):
    """A job, and the tasks of it that were named (None: the job as a whole)."""

    job_id: str
    name: str
    tasks: tuple[int, ...] | None


def resolve(connection: sqlite3.Connection, ref: str) -> Found:
    """The job that ``ref`` names. ``-`` is the latest one.

    Raises:
        NotFoundError: ``job-not-found``; ``task-not-found`` when the array has no such task.
        ConflictError: ``job-ambiguous``, with the candidates.
    """
    wanted = ref.removeprefix("job/")
    found = _job(connection, wanted)
    if found is not None:
        return Found(*found, None)
    match = _TASKS.match(wanted)
    if match:
        found = _job(connection, match[1])
        if found is not None:
            first = int(match[2])
            return Found(*found, _tasks(connection, *found, first=first, last=int(match[3] or first)))
    raise NotFoundError(
        f"no job {wanted}", code="job-not-found", cause=_nearest(connection, wanted), hint="gpuctl jobs -u all    or: gpuctl history"
    )


def _job(connection: sqlite3.Connection, wanted: str) -> tuple[str, str] | None:
    if wanted in ("-", ""):
        latest: tuple[str, str] | None = connection.execute(
            "SELECT id, name FROM jobs ORDER BY submitted_at DESC, id DESC LIMIT 1"
        ).fetchone()
        return latest
    row: tuple[str, str] | None = connection.execute("SELECT id, name FROM jobs WHERE name = ? OR id = ?", (wanted, wanted)).fetchone()
    if row is None:
        row = connection.execute(
            "SELECT id, name FROM jobs WHERE base_name = ? ORDER BY submitted_at DESC, id DESC LIMIT 1", (wanted,)
        ).fetchone()
    if row is not None or len(wanted) < _SHORTEST_PREFIX or not re.fullmatch(r"[0-9a-f]+", wanted):
        return row
    rows = connection.execute("SELECT id, name FROM jobs WHERE id >= ? AND id < ? LIMIT ?", (wanted, wanted + "g", _SHOWN + 1)).fetchall()
    if len(rows) > 1:
        names = ", ".join(f"{job_id} ({name})" for job_id, name in rows[:_SHOWN]) + (", ..." if len(rows) > _SHOWN else "")
        raise ConflictError(
            f"job id {wanted} is ambiguous", code="job-ambiguous", cause=f"it begins {names}", hint=f"gpuctl job {rows[0][1]}"
        )
    return rows[0] if rows else None


def _tasks(connection: sqlite3.Connection, job_id: str, name: str, *, first: int, last: int) -> tuple[int, ...]:
    array = spec_of(connection.execute("SELECT spec FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]).array
    if array is None:
        raise NotFoundError(f"no task {first} in {name}: it is no array", code="task-not-found", hint=f"gpuctl job {name}")
    there = tuple(index for index in array.indices if first <= index <= last)
    if not there:
        raise NotFoundError(
            f"no task {first} in {name}: its tasks are {array.indices[0]}-{array.indices[-1]}",
            code="task-not-found",
            hint=f"gpuctl job {name}",
        )
    return there


def _nearest(connection: sqlite3.Connection, wanted: str) -> str | None:
    rows = connection.execute("SELECT name, base_name FROM jobs ORDER BY submitted_at DESC LIMIT 500")
    known = dict.fromkeys(word for row in rows for word in row)
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    return f"the nearest name is {close[0]}" if close else None
