"""Rebuilding the store from the jobs' directories after its file was damaged, as far as they tell.

``job.json`` tells what was accepted; each launch's plan and journal tell what became of it. A job without a launch whose sealed
environment is gone had ended before it started. Jobs that cannot be read are left alone.
"""

import contextlib
import os
import sqlite3

import msgspec

from gpuctl.clusters.local.ingest import pods_of
from gpuctl.clusters.local.inventory import boot_id
from gpuctl.clusters.local.launchplan import LaunchPlan, Slot
from gpuctl.clusters.local.store import Database, attempts, jobs, launches
from gpuctl.clusters.local.store.jobs import Accepted
from gpuctl.clusters.local.store.rows import NO_TASK
from gpuctl.model import decoding
from gpuctl.model.job import State
from gpuctl.model.reason import Reason


def recover(database: Database) -> int:
    """Store every job whose directory tells of it; how many there were. Journals are ingested and the dead healed by the next round."""
    found = 0
    for job_id in sorted(os.listdir(database.paths.jobs)):
        try:
            with open(database.paths.record(job_id), "rb") as file:
                accepted = decoding.decode(file.read(), Accepted)
        except (OSError, msgspec.DecodeError):
            continue
        with contextlib.suppress(sqlite3.IntegrityError), database.write(durable=True) as connection:
            _restore(database, connection, accepted)
            found += 1
    return found


def _restore(database: Database, connection: sqlite3.Connection, accepted: Accepted) -> None:
    jobs.insert(connection, accepted)
    plans = _plans(database.paths.job(accepted.id))
    for plan in plans:
        slots = tuple(
            Slot(pods=tuple(tuple(msgspec.structs.replace(lease, fd=None) for lease in pod) for pod in slot.pods)) for slot in plan.slots
        )
        launches.insert(connection, accepted.id, plan.launch, boot=boot_id(), at=accepted.at, slots=slots)
        if accepted.submission.spec.array is None:
            number = plan.tasks[0].attempt
            pods = pods_of(plan.spec, slots[0], node=plan.node)
            attempts.begin(connection, accepted.id, NO_TASK, number, launch=plan.launch, pods=pods, at=None)
            connection.execute("UPDATE jobs SET attempt_count = ? WHERE id = ?", (number, accepted.id))
    if plans:
        connection.execute("UPDATE jobs SET state = ? WHERE id = ?", (State.STARTING.value, accepted.id))
    elif not os.path.exists(database.paths.sealed(accepted.id)):
        reason = Reason(code="store-rebuilt", sentence="it had ended before it started; how is not known since the store was damaged")
        jobs.finish(connection, accepted.id, State.CANCELLED, at=accepted.at, how=None, reason=reason)


def _plans(directory: str) -> list[LaunchPlan]:
    plans = []
    for name in os.listdir(directory):
        if name.startswith("l") and name[1:].isdigit():
            with contextlib.suppress(OSError, msgspec.DecodeError), open(f"{directory}/{name}/plan.json", "rb") as file:
                plans.append(decoding.decode(file.read(), LaunchPlan))
    return sorted(plans, key=lambda plan: plan.launch)
