"""One round of keeping the queue: ingest, heal, decide, apply; by whoever holds the keeper's lock.

The lock is only about who decides. Everything a round does to the store is right whoever does it: a second decider would find locks
taken and states changed.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from gpuctl.base import clock
from gpuctl.clusters.local import control, heal, ingest, spawn, tickets
from gpuctl.clusters.local.apply import apply
from gpuctl.clusters.local.bell import ring
from gpuctl.clusters.local.ingest import place_name
from gpuctl.clusters.local.inventory import Machine
from gpuctl.clusters.local.launch import erase
from gpuctl.clusters.local.launchplan import Request, WindowEnd
from gpuctl.clusters.local.paths import StatePaths
from gpuctl.clusters.local.snapshot import Queue, Standing, gather, queue_job_of
from gpuctl.clusters.local.starting import Surroundings
from gpuctl.clusters.local.store import attempts, jobs, launches
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.clusters.local.tickets import Tickets, Wanted
from gpuctl.model.ask import Plan, PlanOption
from gpuctl.model.job import Job
from gpuctl.model.reason import Reason
from gpuctl.policy.queue import decide
from gpuctl.policy.values import NodeState, QueueJob, Snapshot, Start, Wait

_MOST_ROUNDS = 20
_PATIENCE_SECONDS = 0.3
_NOT_FOR_DEVICES = frozenset({"held", "backoff", "dependency", "window"})


class Outlook(NamedTuple):
    """What is left to wait for after a round.

    Attributes:
        waiting: something waits that a keeper has to bring forward.
        poll: it waits for devices that others hold, whose release nobody tells us.
        wake_at: when time alone changes the answer.
        supervisors: pids of living supervisors, as far as known, and of how many launches the pid is not yet known.
    """

    waiting: bool
    poll: bool
    wake_at: datetime | None
    supervisors: frozenset[int]
    unknown: int


class Rounds:
    """Keeps one store's queue on one machine.

    Args:
        around: the store and what starts need.
        machine: its devices.
    """

    def __init__(self, around: Surroundings, machine: Machine) -> None:
        self._around = around
        self._machine = machine
        self._database = around.database
        self._paths = around.database.paths

    def run(self, *, held: Tickets | None = None) -> Outlook:
        """Rounds until nothing changes any more. ``held``: a keeper's tickets in the line of all users.

        The caller holds the keeper's lock.
        """
        again, outlook = self._round(held)
        for _ in range(_MOST_ROUNDS):
            if not again:
                break
            again, outlook = self._round(held)
        erase(self._database)
        return outlook

    def _round(self, held: Tickets | None) -> tuple[bool, Outlook]:
        cluster, node = self._machine.cluster, self._machine.node
        ingest.ingest(self._database, node=node)
        heal.heal(self._database, node=node, now=clock.now().timestamp())
        now = clock.now()
        with self._database.read() as connection:
            queue = gather(connection, cluster=cluster, node=node, now=now)
            opened = launches.opened(connection)
        pids = frozenset(launch.pid for launch in opened if launch.pid is not None)
        if self._machine.schedule is not None and queue.running:
            self._tell_windows(queue, opened, now=now)
        if not queue.jobs and not queue.done and not queue.again and queue.again_at is None and not _short(queue):
            if held is not None:
                held.keep({})
            return False, Outlook(False, False, None, pids, len(opened) - len(pids))
        devices = self._machine.devices()
        state = self._machine.state(devices, queue.running, now=now)
        claims = tickets.claims(self._machine.locks)
        decision = decide(queue.jobs, Snapshot(nodes=(state,), running=queue.running, claims=claims), now)
        again = apply(self._around, decision, queue, devices, locks=self._machine.locks, now=now, window=lambda job: _window(job, state))
        for_devices = {action.job for action in decision.actions if isinstance(action, Wait) and action.reason.code not in _NOT_FOR_DEVICES}
        if held is not None:
            held.keep(_wanted(queue, for_devices))
        waiting = _short(queue) or any(isinstance(action, Wait) and action.reason.code != "held" for action in decision.actions)
        waiting = waiting or queue.again_at is not None
        others = bool(state.busy) or bool(claims)
        wake_at = min((at for at in (decision.wake_at, queue.again_at) if at is not None), default=None)
        return again, Outlook(waiting, bool(others and (for_devices or _short(queue))), wake_at, pids, len(opened) - len(pids))

    def plan(self, queue: Queue, job: QueueJob, *, now: datetime) -> Plan:
        """What the scheduler would say to one more job; nothing is changed."""
        devices = self._machine.devices()
        state = self._machine.state(devices, queue.running, now=now)
        claims = tickets.claims(self._machine.locks)
        decision = decide((*queue.jobs, job), Snapshot(nodes=(state,), running=queue.running, claims=claims), now)
        cluster = self._machine.cluster
        option = PlanOption(cluster=cluster)
        for action in decision.actions:
            if isinstance(action, Start) and action.job == job.id:
                indices = sorted(index for pod in action.slots[0] for index in pod.devices)
                option = PlanOption(
                    cluster=cluster, now=True, at=now, where=place_name(cluster, indices), reason=_cut_note(job, state, now)
                )
            elif isinstance(action, Wait) and action.job == job.id:
                option = PlanOption(cluster=cluster, at=action.expected_start, reason=action.reason)
        return Plan(options=(option,))

    def _tell_windows(self, queue: Queue, opened: Sequence[Launch], *, now: datetime) -> None:
        """Tell supervisors of running jobs where the end of their window is another than they know: the schedule was edited."""
        state = self._machine.state(self._machine.discover().devices, now=now)
        if not state.ready:
            return
        for launch in opened:
            job = queue.standing.get(launch.job)
            if job is None or job.stop_asked or (job.window is not None and job.window.lent):
                continue
            end = _window(job, state)
            if end == job.window or (job.window is not None and job.window.at <= now.timestamp()):
                continue
            with self._database.write(durable=True) as connection:
                jobs.enter_window(connection, launch.job, end)
            control.send(self._paths, launch, Request(what="window", window=end))

    def window_note(self, job: Job, *, now: datetime) -> Reason | None:
        """What windows do to a job of this machine: from when on they let it start, or when they will cut it; None: nothing."""
        from gpuctl.policy.windows import edges, opening

        state = self._machine.state(self._machine.discover().devices, now=now)
        asked = queue_job_of(job.id, job.name, job.spec, submitted_at=job.submitted_at, user=job.user, team=job.team)
        if not job.state.active and edges.barred(asked, state):
            return opening.closed(asked, (state,), now)[0]
        return _cut_note(asked, state, now, began=job.started_at if job.state.active else None)

    def anything_waits(self) -> bool:
        """Whether the store holds something that a keeper has to look at, as seen now; for a last look after the lock was given up."""
        with self._database.read() as connection:
            queued = connection.execute("SELECT 1 FROM jobs WHERE ended_at IS NULL AND state = 'queued' AND hold = 0 LIMIT 1").fetchone()
            unjudged = attempts.unjudged(connection)
            opened = launches.opened(connection)
            put_back = connection.execute(
                "SELECT 1 FROM launches JOIN tasks ON tasks.job = launches.job AND tasks.launch = launches.number"
                " WHERE launches.open = 1 AND tasks.state = 'queued' LIMIT 1"
            ).fetchone()
        return (
            queued is not None or put_back is not None or bool(unjudged) or any(ingest.has_ended(self._paths, launch) for launch in opened)
        )


def _window(job: Standing, state: NodeState) -> WindowEnd | None:
    """How this machine's windows end a job that runs here."""
    if state.owner is None:
        return None
    from gpuctl.clusters.local import windows

    asked = queue_job_of(job.job_id, job.name, job.spec, submitted_at=job.submitted_at, user=job.user, team=job.team)
    return windows.end_of(asked, job.spec, state)


def _cut_note(job: QueueJob, state: NodeState, now: datetime, *, began: datetime | None = None) -> Reason | None:
    """That the job will be cut, and when, if it starts now, or began at ``began``."""
    if state.owner is None:
        return None
    from gpuctl.policy.windows import edges, opening

    edge = edges.edge_of(job, state)
    limit = (began or now) + timedelta(seconds=job.time_limit) if job.time_limit is not None else None
    return opening.cut_note(job, edge, now, state.zone, ends_by=limit) if edge is not None else None


def _wanted(queue: Queue, for_devices: set[str]) -> Mapping[str, Wanted]:
    return {
        job.id: Wanted(since=job.submitted_at, gpus=job.pods * job.gpus, name=job.name)
        for job in queue.jobs
        if job.id in for_devices and job.gpus > 0
    }


def _short(queue: Queue) -> bool:
    """Whether a running array would take more slots if there were devices."""
    return any(
        job.array is not None
        and not job.shrinking
        and job.array.ready > max(0, len(job.slots) - job.array.running)
        and (job.array.parallel is None or len(job.slots) < job.array.parallel)
        for job in queue.running
    )


@contextlib.contextmanager
def lock(paths: StatePaths) -> Iterator[bool]:
    """Try for the keeper's lock; whether we have it."""
    fd = os.open(paths.keeper_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def listening(paths: StatePaths) -> bool:
    """Whether a keeper lives and can be woken."""
    try:
        os.close(os.open(paths.wake, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def attend(rounds: Rounds, paths: StatePaths, *, environ: Mapping[str, str], keeper_argv: tuple[str, ...]) -> None:
    """See to it that the store's queue is brought forward: by a keeper that lives, else by us, else by a keeper that is started.

    Another command may be in the middle of its own rounds and have looked before our change: it is given a moment, and if it is still at
    it a keeper is started, which waits for it.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not ring(paths.wake):
        with lock(paths) as ours:
            outlook = rounds.run() if ours else None
        if outlook is not None:
            if not outlook.waiting or ring(paths.wake):
                return
            break
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    else:
        return
    spawn.start(keeper_argv, environ=environ, log=paths.keeper_log)
