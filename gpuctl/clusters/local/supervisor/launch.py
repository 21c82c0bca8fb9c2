"""One launch: its slots, the tasks that wait for them, what is asked of it while it runs, and its end."""

import collections
import contextlib
import os
import selectors
import signal
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from gpuctl.clusters.local import cgroup, processes
from gpuctl.clusters.local.journal import Journal
from gpuctl.clusters.local.launchplan import LaunchPlan, Lease, Request, Slot, Task
from gpuctl.clusters.local.processes import Process
from gpuctl.clusters.local.supervisor import environment, files
from gpuctl.clusters.local.supervisor.family import Family
from gpuctl.clusters.local.supervisor.keepercall import KeeperCall
from gpuctl.clusters.local.supervisor.output import Source, pipe
from gpuctl.clusters.local.supervisor.requests import Requests
from gpuctl.clusters.local.supervisor.taskrun import TaskRun
from gpuctl.clusters.local.supervisor.values import State

if TYPE_CHECKING:
    from gpuctl.model.place import Holder

_LOOK = 0.5
"""Seconds between looks at the control file."""
_WAKE_EVERY = 1.0
_PATIENCE = 3600.0
"""Seconds that a supervisor waits at its end for room on a full disk."""


class _Place:
    """A slot as it is held: its leases with their descriptors, and the task that runs on it."""

    def __init__(self, number: int, slot: Slot) -> None:
        self.number = number
        self.pods = slot.pods
        self.run: TaskRun | None = None

    @property
    def leases(self) -> tuple[Lease, ...]:
        return tuple(lease for pod in self.pods for lease in pod)

    def give_back(self) -> None:
        for lease in self.leases:
            if lease.fd is not None:
                os.close(lease.fd)


class Launch:
    """Runs a plan to its end. Implements what :class:`~gpuctl.clusters.local.supervisor.taskrun.Host` asks for."""

    def __init__(self, plan: LaunchPlan, submitted: Mapping[str, str]) -> None:
        self.plan = plan
        self.journal = Journal(os.path.join(plan.directory, "journal"))
        self.launch_env: Mapping[str, str] = environment.of_launch(plan, submitted)
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.group: str | None = None
        self.setup_done = False
        self._selector = selectors.DefaultSelector()
        self._places: list[_Place] = []
        self._numbers = 0
        self._waiting = collections.deque(plan.tasks)
        self._family = Family(job_id=plan.job_id, launch=plan.launch)
        self._time_limit = plan.time_limit
        self._window = plan.window
        self._to_give_back = 0
        self._stopping: State | None = None
        self._shutdown = False
        self._requests = Requests(os.path.join(plan.directory, "control"))
        self._look_at = 0.0
        self._keeper = KeeperCall(plan.wake, plan.keeper_argv)
        self._bell, self._bell_end = pipe()

    # -- the loop ---------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run everything; returns when no process is left and every device is given back."""
        self._prepare()
        self._fill()
        self._load_the_rest()
        while True:
            self._fill()
            if not any(place.run for place in self._places) and (not self._waiting or not self._places):
                break
            self._wait()
        self._finish()

    def _prepare(self) -> None:
        plan = self.plan
        os.set_blocking(self._bell, False)
        os.set_blocking(self._bell_end, False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        signal.set_wakeup_fd(self._bell_end, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, self._told_to_end)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        processes.become_subreaper()
        self.group = cgroup.enter(plan.job_id, plan.launch)
        me = processes.look(os.getpid())
        self.journal.write("supervisor", pid=os.getpid(), start=me.start if me else None, boot=_boot_id(), cgroup=self.group)
        for slot in plan.slots:
            self._add(slot)
        nodes = os.path.join(plan.scratch, "nodes")
        try:
            files.private_directory(plan.scratch)
            with open(nodes, "w", encoding="utf-8") as file:
                file.write(f"{plan.node}\n" * plan.spec.nodes)
        except OSError as error:
            self.journal.write("note", text=f"no GPUCTL_NODEFILE: {error}")
        else:
            self.launch_env = {**self.launch_env, "GPUCTL_NODEFILE": nodes}

    def _load_the_rest(self) -> None:
        """Load, once the job runs, what is needed later: gpuctl may be upgraded or removed before. Then sign the device locks."""
        import random  # noqa: F401
        import socket  # noqa: F401

        from gpuctl.clusters.local import leases
        from gpuctl.clusters.local.supervisor import evidence  # noqa: F401

        held = tuple(lease for place in self._places for lease in place.leases)
        with contextlib.suppress(OSError, ValueError):
            leases.Leases(held).annotate(self._holder())

    def _holder(self) -> "Holder":
        from gpuctl.model.place import Holder

        return Holder(user=self.plan.user, pid=os.getpid(), job=self.plan.name)

    def _add(self, slot: Slot) -> None:
        for pod in slot.pods:
            for lease in pod:
                if lease.fd is not None:
                    os.set_inheritable(lease.fd, False)
        self._places.append(_Place(self._numbers, slot))
        self._numbers += 1

    def _fill(self) -> None:
        """Give idle slots their next task, and give back those that have no further use."""
        for place in list(self._places):
            while place.run is None and self._waiting and not self._to_give_back and self._stopping is None:
                if self._window_is_over():
                    self._waiting.clear()  # in the store they are still in line, for the next window
                    break
                if any(other.run is not None and other.run.in_setup for other in self._places):
                    break
                self._begin(place, self._waiting.popleft())
            if place.run is None and (self._to_give_back or not self._waiting) and self._others_run(place):
                self._give_back(place)

    def _window_is_over(self) -> bool:
        """Whether what began now would be told to end at once."""
        return self._window is not None and time.time() >= self._window.at - self._window.grace

    def _others_run(self, place: _Place) -> bool:
        """Whether a slot is given back one by one (the last ones go with the end)."""
        return self._to_give_back > 0 or any(other.run is not None for other in self._places if other is not place)

    def _begin(self, place: _Place, task: Task) -> None:
        scratch = self.plan.scratch if task.index is None else os.path.join(self.plan.scratch, str(place.number))
        run = TaskRun(self, task, slot=place.number, pods=place.pods, scratch=scratch)
        run.times.time_limit = self._time_limit
        run.times.window = self._window
        place.run = run
        run.begin()
        self._after(place)

    def _after(self, place: _Place) -> None:
        if place.run is not None:
            place.run.tick()
            if place.run.over:
                run, place.run = place.run, None
                if self._may_run_again(run):
                    self._keeper.call(self.null)
                else:
                    self._keeper.wake(at_most_every=_WAKE_EVERY)

    def _may_run_again(self, run: TaskRun) -> bool:
        """Whether a keeper has to judge the end of this task while others still run."""
        if run.task.index is None or self._stopping is not None or run.verdict is None:
            return False
        spec = self.plan.spec
        return (spec.retries > 0 or spec.requeue) and run.verdict.state not in ("succeeded", "cancelled")

    def _wait(self) -> None:
        now = time.monotonic()
        looks = [place.run.next_look() for place in self._places if place.run is not None]
        due = min([self._look_at, *(look for look in looks if look is not None)])
        for key, _ in self._selector.select(max(0.0, due - now)):
            if key.data is None:
                self._look_at = 0.0
                self._silence()
            else:
                run, source = key.data
                if not source.pump():
                    run.streams.ended(source)
        self._collect()
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK
            self.journal.flush()
            if self._shutdown and self._stopping is None:
                self._shut_down()
            for request in self._requests.read():
                self._obey(request)
        for place in self._places:
            if place.run is not None:
                look = place.run.next_look()
                if look is not None and look <= now:
                    self._after(place)

    def _silence(self) -> None:
        """Empty the pipe through which signals wake the selector."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._bell, 4096):
                pass

    def _collect(self) -> None:
        """Take in the ends of children, ours and adopted."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run = self._family.owners.pop(pid, None)
            if run is not None:
                run.exited(pid, os.waitstatus_to_exitcode(status))

    # -- what a task needs (Host) -----------------------------------------------------------------------------------------------

    def watch(self, source: Source, run: TaskRun) -> None:
        """Read it whenever there is something, and tell ``run`` when it ends."""
        self._selector.register(source.descriptor, selectors.EVENT_READ, (run, source))

    def unwatch(self, source: Source) -> None:
        """Stop reading it."""
        self._selector.unregister(source.descriptor)

    def adopt(self, pid: int, run: TaskRun) -> None:
        """Tell ``run`` when this child exits."""
        self._family.owners[pid] = run

    def position(self, slot: int) -> int:
        """Where the slot stands among those that are held now."""
        return [place.number for place in self._places].index(slot)

    def remaining(self, run: TaskRun) -> list[Process]:
        """Every living process of one task: its main processes, what descends from them, and orphans of theirs."""
        return self._family.of(run)

    # -- requests ---------------------------------------------------------------------------------------------------------------

    def _obey(self, request: Request) -> None:
        if request.what == "stop":
            grace = self.plan.grace if request.grace is None else request.grace
            self._stop(request.tasks, state=request.state, grace=grace, why=request.by or request.state)
        elif request.what == "time":
            self._time_limit = request.time_limit
            for place in self._places:
                if place.run is not None:
                    place.run.times.time_limit = request.time_limit
            self.journal.write("time-limit", time_limit=request.time_limit)
        elif request.what == "window":
            self._window = request.window
            for place in self._places:
                if place.run is not None:
                    place.run.times.window = request.window
        elif request.what == "grow":
            self._grow(request.slots)
        elif request.what == "again":
            self._take_again(request.again)
        else:
            self._to_give_back += request.count

    def _stop(self, tasks: Collection[int], *, state: State, grace: float, why: str) -> None:
        """End the tasks named, all of them if none is; those that wait end without having begun."""
        if not tasks and self._stopping is None:
            self._stopping = state
            if any(task.index is not None for task in self.plan.tasks):
                self.journal.write("stopping", why=why)
        kept: collections.deque[Task] = collections.deque()
        for task in self._waiting:
            if tasks and task.index not in tasks:
                kept.append(task)
            else:
                self.journal.write("task-ended", task=task.index, attempt=task.attempt, state=state)
        self._waiting = kept
        for place in self._places:
            if place.run is not None and (not tasks or place.run.task.index in tasks):
                place.run.stop(state, grace=grace, why=why)

    def _take_again(self, tasks: Collection[Task]) -> None:
        """Put further attempts in line behind the tasks of the plan; once everything is being ended they end with it."""
        for task in tasks:
            if self._stopping is None:
                self._waiting.append(task)
            else:
                self.journal.write("task-ended", task=task.index, attempt=task.attempt, state=self._stopping)

    def _told_to_end(self, *_: object) -> None:
        """SIGTERM to the supervisor itself: the machine goes down, or somebody means all of the user's processes."""
        self._shutdown = True
        self._look_at = 0.0

    def _shut_down(self) -> None:
        text = "the supervisor was told to end (SIGTERM), as when the machine shuts down"
        for place in self._places:
            if place.run is not None:
                task = place.run.task
                self.journal.write("evidence", task=task.index, attempt=task.attempt, code="supervisor-died", text=text, source="journal")
        self._waiting.clear()
        self._stop((), state="lost", grace=self.plan.grace, why="shutdown")

    def _grow(self, slots: tuple[Slot, ...]) -> None:
        from gpuctl.base.errors import GpuctlError
        from gpuctl.clusters.local import leases

        grown = 0
        for slot in slots:
            try:
                held = leases.take([lease for pod in slot.pods for lease in pod], self._holder())
            except (GpuctlError, OSError) as error:
                self.journal.write("note", text=f"a further slot could not be taken: {error}")
                self.journal.write("shrunk", slots=len(self._places), devices=[lease.index for pod in slot.pods for lease in pod])
                continue
            by_uuid = {lease.uuid: lease for lease in held.items}
            self._add(Slot(pods=tuple(tuple(by_uuid[lease.uuid] for lease in pod) for pod in slot.pods)))
            grown += 1
        if grown:
            self.journal.write("grown", slots=grown)

    def _give_back(self, place: _Place) -> None:
        place.give_back()
        self._places.remove(place)
        self._to_give_back = max(0, self._to_give_back - 1)
        self.journal.write("shrunk", slots=len(self._places), devices=[lease.index for lease in place.leases])
        self._keeper.wake()

    # -- the end ----------------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self.sweep(self.plan.grace)
        files.remove_tree(self.plan.scratch)
        if self.group is not None:
            cgroup.leave()
            cgroup.remove(self.group)
        for place in self._places:
            place.give_back()
        self.journal.write("ended")
        self._wait_for_room()
        self.journal.close()
        os.close(self.plan.alive_fd)
        self._keeper.call(self.null)

    def _wait_for_room(self) -> None:
        """The last words are worth waiting for: without them the job counts as lost."""
        until = time.monotonic() + _PATIENCE
        while self.journal.waiting and time.monotonic() < until:
            time.sleep(_LOOK)
            self.journal.flush()

    def sweep(self, grace: float) -> None:
        """End whatever of the launch is left and belongs to no task any more; returns when nothing is."""
        now = time.monotonic()
        kill_at = now + grace
        told: set[tuple[int, int]] = set()
        while True:
            self._collect()
            left = self._family.left(self.group)
            if not left:
                return
            if time.monotonic() >= kill_at and self.group is not None and not self._family.strangers and cgroup.leave():
                cgroup.kill(self.group)
            for row in left:
                if time.monotonic() >= kill_at:
                    processes.send(row, signal.SIGKILL)
                elif (row.pid, row.start) not in told:
                    processes.send(row, signal.SIGTERM)
                    told.add((row.pid, row.start))
            self._selector.select(0.05)
            self._silence()


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
