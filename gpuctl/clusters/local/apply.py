"""Applying the scheduler's actions: starting supervisors, asking them for things, and settling jobs in the store.

A start takes these steps, each of which may be the last if this process is killed: device locks, the launch's directory with its locked
``alive`` file and plan, the transaction, the supervisor. The kernel frees every lock of a dead process; a stored launch whose ``alive`` is
free is healed (see ``heal``); a directory without a stored launch is made anew.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.local import control, leases, seal, settle, starting
from gpuctl.clusters.local.launchplan import Lease, Request, WindowEnd
from gpuctl.clusters.local.leases import DeviceHeld
from gpuctl.clusters.local.locks import LockDirectory
from gpuctl.clusters.local.snapshot import Queue, Standing, parse_task_id
from gpuctl.clusters.local.starting import Overtaken, Surroundings
from gpuctl.clusters.local.store import jobs, launches, tasks
from gpuctl.clusters.local.store.rows import code_of
from gpuctl.model.job import State
from gpuctl.model.place import Device, Holder
from gpuctl.model.reason import Reason
from gpuctl.policy.values import Decision, Finish, Grow, Reclaim, Retry, Shrink, Start, Wait


def apply(
    around: Surroundings,
    decision: Decision,
    queue: Queue,
    devices: Sequence[Device],
    *,
    locks: LockDirectory,
    now: datetime,
    window: Callable[[Standing], WindowEnd | None] = lambda _: None,
) -> bool:
    """Apply all actions; whether another decision is called for at once, because the queue itself has changed.

    ``window``: how the windows of this machine end a job that runs here.
    """
    by_index = {device.index: device for device in devices}
    again = _settle(around, decision, queue, now=now)
    for action in decision.actions:
        if isinstance(action, Start):
            again |= _start(around, action, queue.standing[action.job], by_index, locks=locks, now=now, window=window)
        elif isinstance(action, Grow):
            _grow(around, action, by_index, locks=locks)
        elif isinstance(action, Shrink):
            _shrink(around, action)
        elif isinstance(action, Reclaim):
            _reclaim(around, action, queue.standing[action.job], now=now)
    for job_id, indices in queue.again.items():
        again |= _hand_over(around, queue.standing[job_id], indices)
    return again


def _settle(around: Surroundings, decision: Decision, queue: Queue, *, now: datetime) -> bool:
    ends = [action for action in decision.actions if isinstance(action, (Retry, Finish))]
    waits = [action for action in decision.actions if isinstance(action, Wait) and _is_news(action, queue.standing.get(action.job))]
    if not ends and not waits and not queue.done:
        return False
    at = now.timestamp()
    with around.database.write() as connection:
        for action in ends:
            job_id, task = parse_task_id(action.job)
            if isinstance(action, Retry):
                settle.retry(connection, job_id, task, action, at=at)
            else:
                settle.finish(connection, job_id, task, action, at=at)
        for wait in waits:
            expected = wait.expected_start.timestamp() if wait.expected_start else None
            jobs.wait(connection, wait.job, reason=wait.reason, expected_start=expected)
        for job_id in queue.done:
            settle.array(connection, job_id, at=at)
    return bool(ends or queue.done)


def _is_news(action: Wait, job: Standing | None) -> bool:
    if job is None:
        return False
    expected = action.expected_start.timestamp() if action.expected_start else None
    return job.reason != action.reason or job.expected_start != expected


def _start(
    around: Surroundings,
    action: Start,
    job: Standing,
    devices: Mapping[int, Device],
    *,
    locks: LockDirectory,
    now: datetime,
    window: Callable[[Standing], WindowEnd | None],
) -> bool:
    paths = around.database.paths
    with around.database.read() as connection:
        row = connection.execute("SELECT code, interpreter FROM jobs WHERE id = ?", (job.job_id,)).fetchone()
    try:
        with open(paths.sealed(job.job_id), "rb") as file:
            content = seal.unseal(file.read(), key=seal.load_key(paths.key), job_id=job.job_id)
    except (OSError, GpuctlError) as error:
        _give_up(around, job, error, now=now)
        return True
    wanted = [devices[index] for slot in action.slots for pod in slot for index in pod.devices]
    holder = Holder(user=job.user, job=job.name, since=now, pid=os.getpid())
    try:
        held = leases.acquire(wanted, holder, directory=locks)
    except DeviceHeld:
        return False  # somebody was faster; the next look sees who
    try:
        starting.start(
            around, job, action.slots, held, code=code_of(row[0]), interpreter=row[1], content=content, now=now, window=window(job)
        )
    except Overtaken:
        return True
    finally:
        held.close()
    return False


def _give_up(around: Surroundings, job: Standing, error: Exception, *, now: datetime) -> None:
    text = error.message if isinstance(error, GpuctlError) else str(error)
    reason = Reason(
        code="environment-lost", sentence=f"its sealed environment cannot be read: {text}", what="change", advice="submit it again"
    )
    with around.database.write(durable=True) as connection:
        settle.close_tasks(connection, job.job_id, at=now.timestamp())
        jobs.finish(connection, job.job_id, State.LOST, at=now.timestamp(), how=None, reason=reason)


def _grow(around: Surroundings, action: Grow, devices: Mapping[int, Device], *, locks: LockDirectory) -> None:
    def unheld(index: int) -> Lease:
        device = devices[index]
        return Lease(index=index, uuid=device.uuid, kind=device.kind, lock=locks.file(device.uuid))

    slots = tuple(starting.slots_of(action.slots, unheld))
    with around.database.write(durable=True) as connection:
        launch = launches.last(connection, action.job)
        if launch is None or not launch.open:
            return
        launches.resize(connection, launch.job, launch.number, add=slots)
    control.send(around.database.paths, launch, Request(what="grow", slots=slots))


def _hand_over(around: Surroundings, job: Standing, indices: Sequence[int]) -> bool:
    """Give tasks that are tried again to the supervisor of their array; whether it has them.

    The store knows first: killed in between, we leave tasks that count as its own until it ends, and go to the next launch then. The
    other way round one attempt could be started twice.
    """
    assert job.spec.array is not None
    with around.database.write(durable=True) as connection:
        launch = launches.last(connection, job.job_id)
        if launch is None or not launch.open:
            return False
        there = tasks.touched(connection, job.job_id)
        still = [index for index in indices if there[index].state is State.QUEUED and there[index].launch == launch.number]
        tasks.hand_over(connection, job.job_id, still)
    if still:
        request = Request(what="again", again=starting.tasks_of(job.spec.array, ((index, there[index].attempts + 1) for index in still)))
        control.send(around.database.paths, launch, request)
    return bool(still)


def _shrink(around: Surroundings, action: Shrink) -> None:
    with around.database.write(durable=True) as connection:
        launch = launches.last(connection, action.job)
        if launch is None or not launch.open:
            return
        launches.resize(connection, launch.job, launch.number, ask_back=action.slots)
    control.send(around.database.paths, launch, Request(what="shrink", count=action.slots))


def _reclaim(around: Surroundings, action: Reclaim, job: Standing, *, now: datetime) -> None:
    """End a borrower's window here and now: it has its grace, and goes back in line."""
    end = WindowEnd(at=now.timestamp() + job.spec.grace_seconds, grace=job.spec.grace_seconds, owner=action.owner, lent=True)
    with around.database.write(durable=True) as connection:
        launch = launches.last(connection, action.job)
        if launch is None or not launch.open:
            return
        jobs.enter_window(connection, action.job, end)
    control.send(around.database.paths, launch, Request(what="window", window=end))
