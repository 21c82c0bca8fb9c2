"""Ending and changing jobs that were accepted: cancel, time limit, priority, hold."""

import os
import sqlite3

import msgspec

from gpuctl.base import clock, duration
from gpuctl.base.errors import ConflictError, InvalidInput, NotKeptHere, Problem
from gpuctl.clusters.local import control, settle
from gpuctl.clusters.local.launchplan import Request
from gpuctl.clusters.local.lookup import Found
from gpuctl.clusters.local.store import Database, attempts, jobs, launches, tasks
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.clusters.local.store.rows import NO_TASK, encode
from gpuctl.model.ask import JobChange
from gpuctl.model.job import State
from gpuctl.model.reason import Evidence, Reason

LONGEST_SECONDS = 10 * 366 * 86400


def stop(database: Database, found: Found, *, grace_seconds: int | None) -> bool:
    """Cancel a job or tasks of it; whether there was nothing left to cancel.

    What has a supervisor is asked to end and is final once its processes are gone. What is still in line ends at once.
    """
    now = clock.now().timestamp()
    me = user_name()
    with database.write(durable=True) as connection:
        state = jobs.state(connection, found.job_id)
        assert state is not None
        if state.final:
            return True
        launch = launches.last(connection, found.job_id)
        living = launch if launch is not None and launch.open else None
        if found.tasks is not None:
            wanted = _stop_tasks(connection, found, living, now=now)
            if not wanted:
                return True
        else:
            wanted = []
            asked = connection.execute("SELECT stop_asked FROM jobs WHERE id = ?", (found.job_id,)).fetchone()[0]
            connection.execute("UPDATE jobs SET stop_asked = 1 WHERE id = ?", (found.job_id,))
            if not asked:
                seen = Evidence(code="cancelled", text=f"cancelled by {me}", at=clock.from_unix(now), data={"by": me}, source="store")
                attempts.evidence(connection, found.job_id, NO_TASK, 0, seen)
                jobs.event(connection, found.job_id, "cancelled", at=now, text=f"by {me}")
            if living is None:
                settle.cancel(connection, found.job_id, by=me, at=now)
    if living is not None:
        control.send(database.paths, living, Request(what="stop", by=f"cancelled by {me}", grace=grace_seconds, tasks=tuple(wanted)))
    return False


def _stop_tasks(connection: sqlite3.Connection, found: Found, living: Launch | None, *, now: float) -> list[int]:
    """Cancel the tasks that no supervisor has; those that one has (or may have) are returned, with those just cancelled."""
    assert found.tasks is not None
    touched = tasks.touched(connection, found.job_id)
    open_tasks = [index for index in found.tasks if index not in touched or not touched[index].state.final]
    if living is None or not open_tasks:
        reason = Reason(code="cancelled", sentence=f"cancelled by {user_name()} before it started")
        tasks.finish(connection, found.job_id, open_tasks, State.CANCELLED, at=now, how=None, reason=reason)
        return open_tasks
    # A task that was put back in line during this launch is not in its supervisor's plan.
    ours = [
        index
        for index in open_tasks
        if index in touched and touched[index].state is State.QUEUED and touched[index].launch == living.number
    ]
    tasks.finish(connection, found.job_id, ours, State.CANCELLED, at=now, how=None, reason=None)
    return [index for index in open_tasks if index not in ours] or ours


def update(database: Database, found: Found, change: JobChange) -> str:
    """Change a live job; one sentence about what was done.

    Raises:
        ConflictError: ``job-ended`` or ``already-started``.
        InvalidInput: a time that is none.
        NotKeptHere: a tier, which this machine does not have.
    """
    name = found.name
    if change.tier is not None:
        raise NotKeptHere(f"cannot change the tier of {name}: this machine has none", hint="gpuctl clusters")
    seconds = _seconds(name, change.time) if change.time is not None else None
    done: list[str] = []
    with database.write(durable=True) as connection:
        state = jobs.state(connection, found.job_id)
        assert state is not None
        if state.final:
            raise ConflictError(f"cannot update {name}: it {state.told}", code="job-ended", hint=f"gpuctl rerun {name}")
        spec = jobs.spec(connection, found.job_id)
        launch = launches.last(connection, found.job_id)
        living = launch if launch is not None and launch.open else None
        if change.hold is not None:
            if living is not None:
                raise ConflictError(
                    f"cannot {'hold' if change.hold else 'release'} {name}: it {state.told}",
                    code="already-started",
                    hint=f"gpuctl cancel {name}",
                )
            connection.execute("UPDATE jobs SET hold = ? WHERE id = ?", (int(change.hold), found.job_id))
            spec = msgspec.structs.replace(spec, hold=change.hold)
            done.append("held" if change.hold else "released")
        if change.priority is not None:
            connection.execute("UPDATE jobs SET priority = ? WHERE id = ?", (change.priority, found.job_id))
            spec = msgspec.structs.replace(spec, priority=change.priority)
            done.append(f"priority {change.priority}")
        if change.time is not None and seconds is not None:
            spec = msgspec.structs.replace(spec, time=change.time)
            done.append(f"time limit {duration.canonical(seconds)}")
            connection.execute(
                "UPDATE jobs SET ends_by = min(started_at + ?, coalesce(window_end, started_at + ?))"
                " WHERE id = ? AND state = 'running' AND tasks IS NULL",
                (seconds, seconds, found.job_id),
            )
        connection.execute("UPDATE jobs SET spec = ? WHERE id = ?", (encode(spec), found.job_id))
        if done:
            jobs.event(connection, found.job_id, "updated", at=clock.now().timestamp(), text=", ".join(done))
    if living is not None and seconds is not None:
        control.send(database.paths, living, Request(what="time", by=user_name(), time_limit=seconds))
    return ", ".join(done)


def _seconds(name: str, text: str) -> int:
    try:
        seconds = duration.parse(text)
        if not 0 < seconds <= LONGEST_SECONDS:
            raise ValueError("is out of range")
    except ValueError as error:
        problem = Problem(field="--time", message=str(error), got=text, allowed=duration.ALLOWED)
        raise InvalidInput(f"cannot update {name}", [problem]) from error
    return seconds


def user_name() -> str:
    """The login name of the user this process runs as."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid-{os.geteuid()}"
