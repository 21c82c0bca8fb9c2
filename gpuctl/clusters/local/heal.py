"""Healing what a crash, a kill or a reboot left: launches whose supervisor is dead, and jobs' directories that nobody owns.

A supervisor holds its ``alive`` file locked for as long as it lives. A free lock on an open launch means that it is dead, or was never
started. Whoever gets that lock heals: reads the rest of the journal, kills every process that is left, and only then gives up the launch.
"""

import contextlib
import os
import shutil
import sqlite3
import stat
from typing import NamedTuple

import msgspec

from gpuctl.clusters.local import alive, processes, settle
from gpuctl.clusters.local.ingest import ingest_one
from gpuctl.clusters.local.inventory import boot_id
from gpuctl.clusters.local.launchplan import SCRATCH_PREFIX, LaunchPlan
from gpuctl.clusters.local.store import Database, attempts, jobs, launches, tasks
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.clusters.local.store.rows import NO_TASK
from gpuctl.model import decoding
from gpuctl.model.job import State
from gpuctl.model.reason import Evidence
from gpuctl.policy.retry import LONGEST_PAUSE

MOST_FALSE_STARTS = 5
"""Supervisors that died before they wrote a word, after which the attempt counts as lost."""
STRAY_SECONDS = 600.0
_LOG_TAIL = 2000


class Died(NamedTuple):
    """Why a launch ended without its supervisor saying so."""

    code: str
    text: str


def heal(database: Database, *, node: str, now: float) -> bool:
    """Heal every open launch whose supervisor is dead; whether there was one."""
    with database.read() as connection:
        opened = launches.opened(connection)
    healed = False
    for launch in opened:
        fd = alive.take(alive.path_of(database.paths, launch.job, launch.number))
        if fd is None:
            continue
        try:
            healed |= _heal_one(database, launch, node=node, now=now)
        finally:
            alive.release(fd)
    _forget_pauses(database, now=now)
    return healed


def _forget_pauses(database: Database, *, now: float) -> None:
    """No pause between attempts is longer than the longest: one that seems to be was begun before the clock was set back, and is over."""
    latest = now + LONGEST_PAUSE.total_seconds()
    unfinished = "SELECT id FROM jobs WHERE ended_at IS NULL"
    too_long = (("jobs", "ended_at IS NULL"), ("tasks", f"job IN ({unfinished})"))
    with database.read() as connection:
        if not any(
            connection.execute(f"SELECT 1 FROM {table} WHERE not_before > ? AND {which} LIMIT 1", (latest,)).fetchone()
            for table, which in too_long
        ):
            return
    with database.write(durable=True) as connection:
        for table, which in too_long:
            connection.execute(f"UPDATE {table} SET not_before = NULL WHERE not_before > ? AND {which}", (latest,))


def _heal_one(database: Database, launch: Launch, *, node: str, now: float) -> bool:
    ingest_one(database, launch, node=node)
    with database.read() as connection:
        present = launches.get(connection, launch.job, launch.number)
    if present is None or not present.open:
        return present is not None
    rebooted = present.boot != boot_id()
    if not rebooted:
        try:
            processes.reap(present.job, present.number, group=present.cgroup)
        except TimeoutError:
            return False  # stuck in the kernel with our devices: still theirs, looked at again next time
    _remove_scratch(f"{database.paths.launch(present.job, present.number)}/plan.json")
    died = _why(database, present, rebooted=rebooted)
    with database.write(durable=True) as connection:
        again = launches.get(connection, launch.job, launch.number)
        if again is None or not again.open:
            return True
        false_starts, asked = connection.execute("SELECT false_starts, stop_asked FROM jobs WHERE id = ?", (launch.job,)).fetchone()
        spoke = again.pid is not None
        if not spoke and not asked and false_starts < MOST_FALSE_STARTS:
            _take_back(connection, again, now=now)
        else:
            _lose(connection, again, died, asked=bool(asked), now=now)
        launches.close(connection, launch.job, launch.number)
    return True


def _remove_scratch(plan_path: str) -> None:
    """Remove a launch's scratch directory (a Ray's sessions fill gigabytes), which its supervisor would have removed.

    Only what is still ours: after a reboot somebody else may have a directory of that name below /tmp.
    """
    try:
        with open(plan_path, "rb") as file:
            scratch = decoding.decode(file.read(), LaunchPlan).scratch
        info = os.lstat(scratch)
    except (OSError, msgspec.DecodeError):
        return
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and os.path.basename(scratch).startswith(SCRATCH_PREFIX):
        shutil.rmtree(scratch, ignore_errors=True)


def _why(database: Database, launch: Launch, *, rebooted: bool) -> Died:
    if rebooted:
        return Died("reboot", "the machine was started anew while it ran")
    said = _tail(f"{database.paths.launch(launch.job, launch.number)}/supervisor.log")
    return Died("supervisor-died", "its supervisor died" + (f": {said}" if said else " without a word (killed?)"))


def _take_back(connection: sqlite3.Connection, launch: Launch, *, now: float) -> None:
    """Nothing of the job ever ran: as if this launch had never been."""
    for task, number, _ in attempts.unfinished(connection, launch.job, launch.number):
        attempts.forget(connection, launch.job, task, number)
    left = connection.execute("SELECT coalesce(max(number), 0) FROM attempts WHERE job = ?", (launch.job,)).fetchone()[0]
    connection.execute(
        "UPDATE jobs SET state = ?, attempt_count = ?, false_starts = false_starts + 1, place = NULL WHERE id = ? AND ended_at IS NULL",
        (State.QUEUED.value, left, launch.job),
    )
    jobs.event(connection, launch.job, "queued", at=now, text="the supervisor was never started")


def _lose(connection: sqlite3.Connection, launch: Launch, died: Died, *, asked: bool, now: float) -> None:
    state = State.CANCELLED if asked else State.LOST
    for task, number, _ in attempts.unfinished(connection, launch.job, launch.number):
        attempts.end(connection, launch.job, task, number, state=state, at=now, how=None, infrastructure=not asked)
        seen = Evidence(code=died.code, text=died.text, source="journal", attempt=number)
        attempts.evidence(connection, launch.job, task, number, seen)
        if task != NO_TASK and asked:
            attempts.judge(connection, launch.job, task, number, reason=None)
            tasks.finish(connection, launch.job, [task], state, at=now, how=None, reason=None)
    if asked:
        settle.close_tasks(connection, launch.job, at=now)
    jobs.event(connection, launch.job, "lost", at=now, text=died.text)


def sweep(database: Database, *, now: float) -> None:
    """Remove directories of submissions that were killed before they were accepted, with the environment sealed in them."""
    there = set(os.listdir(database.paths.jobs))  # before the store is asked: a job that is accepted meanwhile is not among them
    with database.read() as connection:
        there.difference_update(jobs.every_id(connection))
    for job_id in there:
        path = database.paths.job(job_id)
        with contextlib.suppress(OSError):
            if now - os.stat(path).st_mtime > STRAY_SECONDS:
                shutil.rmtree(path)


def _tail(path: str) -> str:
    """The last line a supervisor wrote to its own log."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
