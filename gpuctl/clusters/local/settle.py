"""What a decision or a cancellation does to a job in the store, inside the caller's transaction.

The end of an array follows from its tasks: failed if one failed, else lost, cut, cancelled, else succeeded.
"""

import sqlite3

import msgspec

from gpuctl.base import clock
from gpuctl.clusters.local.store import attempts, jobs, launches, rows, tasks
from gpuctl.clusters.local.store.rows import NO_TASK, exit_of
from gpuctl.model.job import Exit, State
from gpuctl.model.reason import Reason
from gpuctl.policy.values import Finish, Retry

_WORST_FIRST = (State.FAILED, State.LOST, State.CUT, State.CANCELLED, State.SUCCEEDED)
_UNHAPPY = frozenset({State.FAILED, State.LOST, State.CUT})


def retry(connection: sqlite3.Connection, job_id: str, task: int, action: Retry, *, at: float) -> None:
    """Put a job (or one task of an array) back in line after its attempt."""
    number = _unjudged(connection, job_id, task)
    if number is None or not attempts.judge(connection, job_id, task, number, reason=action.reason):
        return
    not_before = action.not_before.timestamp()
    if task == NO_TASK:
        jobs.requeue(connection, job_id, at=at, not_before=not_before, counts=action.counts, reason=action.reason)
        return
    last = launches.last(connection, job_id)
    during = last.number if last is not None else 0
    tasks.requeue(connection, job_id, task, launch=during, not_before=not_before, counts=action.counts)


def finish(connection: sqlite3.Connection, job_id: str, task: int, action: Finish, *, at: float) -> None:
    """Make a job (or one task of an array) final. It ended when its last attempt did, if it had one."""
    number = _unjudged(connection, job_id, task)
    if number is not None:
        attempts.judge(connection, job_id, task, number, reason=action.reason)
        at = connection.execute(
            "SELECT ended_at FROM attempts WHERE job = ? AND task = ? AND number = ?", (job_id, task, number)
        ).fetchone()[0]
    if task != NO_TASK:
        tasks.finish(connection, job_id, [task], action.state, at=at, how=action.exit, reason=action.reason)
        return
    close_tasks(connection, job_id, at=at)
    reason = action.reason or _explained(connection, job_id, action, at=at)
    jobs.finish(connection, job_id, action.state, at=at, how=action.exit, reason=reason)


def _explained(connection: sqlite3.Connection, job_id: str, action: Finish, *, at: float) -> Reason | None:
    """The main reason of an unhappy end, from what its supervisor saw: what lists show, and what lasts when the logs are gone."""
    if action.state not in _UNHAPPY:
        return None
    from gpuctl.clusters.local import views
    from gpuctl.clusters.local.lookup import Found
    from gpuctl.policy.explain import explain

    ended = clock.from_unix(at)
    job = views.whole(connection, Found(job_id, "", None), cluster="")
    job = msgspec.structs.replace(job, state=action.state, ended_at=ended, exit=action.exit, reason=None)
    return explain(job, rows.evidence_of(connection, job_id), ended).reason


def close_tasks(connection: sqlite3.Connection, job_id: str, *, at: float) -> int:
    """Cancel every task of an array that is still in line; how many there were."""
    array = jobs.spec(connection, job_id).array
    if array is None:
        return 0
    there = tasks.touched(connection, job_id)
    waiting = [index for index in array.indices if index not in there or there[index].state is State.QUEUED]
    return tasks.finish(connection, job_id, waiting, State.CANCELLED, at=at, how=None, reason=None)


def array(connection: sqlite3.Connection, job_id: str, *, at: float) -> None:
    """End an array whose tasks have all ended."""
    ends = connection.execute("SELECT state, exit_code, exit_signal, ended_at FROM tasks WHERE job = ?", (job_id,)).fetchall()
    states = {State(row[0]) for row in ends}
    final = next(state for state in _WORST_FIRST if state in states)
    last = max((row[3] for row in ends if row[3] is not None), default=at)
    exits = [found for found in (exit_of(row[1], row[2]) for row in ends if row[0] == final.value) if found is not None]
    worst: Exit | None = max(exits, key=lambda each: each.status, default=None)
    bad = sum(row[0] != State.SUCCEEDED.value for row in ends)
    reason = None
    if bad:
        reason = Reason(
            code="tasks-failed" if final is State.FAILED else final.value, sentence=f"{bad} of {len(ends)} tasks did not succeed"
        )
    jobs.finish(connection, job_id, final, at=last, how=worst, reason=reason)


def cancel(connection: sqlite3.Connection, job_id: str, *, by: str, at: float) -> None:
    """End a job that has no supervisor."""
    close_tasks(connection, job_id, at=at)
    reason = Reason(code="cancelled", sentence=f"cancelled by {by} before it started")
    row = connection.execute("SELECT started_at FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row[0] is not None:
        reason = Reason(code="cancelled", sentence=f"cancelled by {by}")
    jobs.finish(connection, job_id, State.CANCELLED, at=at, how=None, reason=reason)


def _unjudged(connection: sqlite3.Connection, job_id: str, task: int) -> int | None:
    row = connection.execute(
        "SELECT max(number) FROM attempts WHERE job = ? AND task = ? AND judged = 0 AND ended_at IS NOT NULL", (job_id, task)
    ).fetchone()
    return None if row is None else row[0]
