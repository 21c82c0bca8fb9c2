"""Tasks of an array in a table: neighbours that are alike become one row, ``sweep-k3f9_3-9``."""

import re
from collections.abc import Iterable

import msgspec

from gpuctl.model.job import Job

_TASK = re.compile(r"(?P<array>.+)_(?P<index>\d+)\Z")


def folded(jobs: Iterable[Job]) -> list[Job]:
    """``jobs`` with runs of alike tasks as one job whose name holds the range.

    Alike are neighbours of one array with following indices, and the same state, end, reason, cluster and number of attempts. Tasks that
    run stay apart: each has a place and a time of its own. A folded row has run from the first start to the last end.
    """
    rows: list[Job] = []
    run: list[Job] = []
    for job in jobs:
        if run and not (_follows(run[-1], job) and _alike(run[-1], job)):
            rows.append(_one(run))
            run = []
        run.append(job)
    if run:
        rows.append(_one(run))
    return rows


def task_of(name: str) -> tuple[str, int] | None:
    """``sweep-k3f9_17`` as its array's name and its index; None for a job that is no task."""
    match = _TASK.match(name)
    return (match["array"], int(match["index"])) if match else None


def _follows(before: Job, after: Job) -> bool:
    first, second = task_of(before.name), task_of(after.name)
    return first is not None and second is not None and first[0] == second[0] and first[1] + 1 == second[1]


def _alike(one: Job, other: Job) -> bool:
    def look(job: Job) -> tuple[object, ...]:
        return job.state, job.exit, job.reason and job.reason.code, job.cluster, job.attempt_count

    return not one.state.active and look(one) == look(other)


def _one(run: list[Job]) -> Job:
    if len(run) == 1:
        return run[0]
    first, last = run[0], task_of(run[-1].name)
    assert last is not None
    starts = [job.started_at for job in run if job.started_at is not None]
    ends = [job.ended_at for job in run if job.ended_at is not None]
    places = {job.where for job in run}
    return msgspec.structs.replace(
        first,
        name=f"{first.name}-{last[1]}",
        started_at=min(starts, default=None),
        ended_at=max(ends, default=None) if len(ends) == len(run) else None,
        where=first.where if len(places) == 1 else first.cluster,
    )
