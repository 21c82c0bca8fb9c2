"""The ``launches`` table: one row per supervisor that was (about to be) started, with the devices it was given."""

import sqlite3
from typing import NamedTuple

from gpuctl.clusters.local.launchplan import Slot
from gpuctl.clusters.local.store.rows import decode, encode


class Launch(NamedTuple):
    """One launch.

    ``position`` is the offset in its journal up to which it was ingested; ``started``: a process of the job ran; ``shrinking``: slots that
    were asked back and are not yet given back.
    """

    job: str
    number: int
    boot: str
    created_at: float
    open: bool
    started: bool
    position: int
    pid: int | None
    cgroup: str | None
    shrinking: int
    slots: tuple[Slot, ...]


_COLUMNS = "job, number, boot, created_at, open, started, position, pid, cgroup, shrinking, slots"


def _launch(row: tuple[str, int, str, float, int, int, int, int | None, str | None, int, bytes]) -> Launch:
    return Launch(*row[:4], bool(row[4]), bool(row[5]), *row[6:10], decode(row[10], tuple[Slot, ...]) or ())


def insert(connection: sqlite3.Connection, job_id: str, number: int, *, boot: str, at: float, slots: tuple[Slot, ...]) -> None:
    """Add an open launch."""
    connection.execute(
        "INSERT INTO launches (job, number, boot, created_at, slots) VALUES (?, ?, ?, ?, ?)", (job_id, number, boot, at, encode(slots))
    )


def next_number(connection: sqlite3.Connection, job_id: str) -> int:
    """The number of a job's next launch, from 1."""
    return int(connection.execute("SELECT coalesce(max(number), 0) + 1 FROM launches WHERE job = ?", (job_id,)).fetchone()[0])


def opened(connection: sqlite3.Connection) -> list[Launch]:
    """All launches whose supervisor may live, oldest first."""
    return [_launch(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM launches WHERE open = 1 ORDER BY created_at, job")]


def last(connection: sqlite3.Connection, job_id: str) -> Launch | None:
    """A job's latest launch."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM launches WHERE job = ? ORDER BY number DESC LIMIT 1", (job_id,)).fetchone()
    return _launch(row) if row else None


def get(connection: sqlite3.Connection, job_id: str, number: int) -> Launch | None:
    """One launch as it is now."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM launches WHERE job = ? AND number = ?", (job_id, number)).fetchone()
    return _launch(row) if row else None


def advance(connection: sqlite3.Connection, launch: Launch) -> None:
    """Remember how far the journal was ingested and what it said about the launch itself."""
    connection.execute(
        "UPDATE launches SET position = ?, started = ?, pid = ?, cgroup = ?, shrinking = ?, slots = ? WHERE job = ? AND number = ?",
        (
            launch.position,
            int(launch.started),
            launch.pid,
            launch.cgroup,
            launch.shrinking,
            encode(launch.slots),
            launch.job,
            launch.number,
        ),
    )


def resize(connection: sqlite3.Connection, job_id: str, number: int, *, add: tuple[Slot, ...] = (), ask_back: int = 0) -> None:
    """An open launch of an array was given slots, or some were asked back."""
    present = get(connection, job_id, number)
    if present is not None:
        advance(connection, present._replace(slots=present.slots + add, shrinking=present.shrinking + ask_back))


def close(connection: sqlite3.Connection, job_id: str, number: int) -> None:
    """Its supervisor is gone, and every process with it."""
    connection.execute("UPDATE launches SET open = 0 WHERE job = ? AND number = ?", (job_id, number))
