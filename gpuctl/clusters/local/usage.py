"""GPU-seconds by user, UTC day and state.

Instants are cut to whole seconds before anything is added up, so that the parts of an attempt that runs over midnight sum up to the whole
and every number is an integer.
"""

import sqlite3
import time

from gpuctl.base.clock import by_day
from gpuctl.clusters.local.store import attempts
from gpuctl.clusters.local.store.rows import decode
from gpuctl.model.ask import JobQuery
from gpuctl.model.place import UsageRow


def rows(connection: sqlite3.Connection, query: JobQuery, *, cluster: str) -> tuple[UsageRow, ...]:
    """The rows of a query, by day, user and state. ``query.since`` begins the count at that instant; running attempts count until now."""
    now = int(time.time())
    since = int(query.since.timestamp()) if query.since is not None else None
    states = {state.value for state in query.states} if query.states is not None else None
    sums: dict[tuple[str, str, str], int] = {}
    jobs: dict[tuple[str, str, str], set[str]] = {}
    for user, job_id, _, _, labels, state, started, ended, gpus in attempts.used(connection, since=since):
        if query.user not in (None, "all", user) or (states is not None and state not in states):
            continue
        if query.labels and not query.labels.items() <= (decode(labels, dict) or {}).items():
            continue
        begin = max(int(started), since) if since is not None else int(started)
        for day, seconds in by_day(begin, int(ended) if ended is not None else now):
            key = (day, user, state)
            sums[key] = sums.get(key, 0) + seconds * gpus
            jobs.setdefault(key, set()).add(job_id)
    return tuple(
        UsageRow(user=user, day=day, state=state, jobs=len(jobs[day, user, state]), gpu_seconds=total, cluster=cluster)
        for (day, user, state), total in sorted(sums.items())
    )
