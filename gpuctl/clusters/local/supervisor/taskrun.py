"""One task from its start to its end: its steps, its main processes, how they ended, and that nothing of it is left."""

import os
import time
from collections.abc import Mapping
from signal import SIGKILL, SIGTERM, Signals
from typing import Any, Literal, Protocol

from gpuctl.base import clock, duration
from gpuctl.clusters.local import kinds, processes
from gpuctl.clusters.local.journal import Journal
from gpuctl.clusters.local.kinds.step import CannotStart, Start, Step, TaskContext
from gpuctl.clusters.local.launchplan import LaunchPlan, Lease, Task
from gpuctl.clusters.local.processes import Process
from gpuctl.clusters.local.supervisor import addressees, environment, files
from gpuctl.clusters.local.supervisor.output import Source, Streams, fifo, pipe
from gpuctl.clusters.local.supervisor.spawn import spawn
from gpuctl.clusters.local.supervisor.timetable import Timetable, is_due
from gpuctl.clusters.local.supervisor.values import Found, Main, State, Verdict

_LOOK_AGAIN = 0.1
_KILL_AGAIN = 0.02
_SERVICES_GRACE = 3.0
"""Seconds a kind's own background processes get between SIGTERM and SIGKILL once the job's program has ended."""


class Host(Protocol):
    """What a task needs of the launch it belongs to."""

    plan: LaunchPlan
    journal: Journal
    launch_env: Mapping[str, str]
    null: int
    """A descriptor of /dev/null."""
    group: str | None
    setup_done: bool

    def watch(self, source: Source, run: "TaskRun") -> None:
        """Read ``source`` whenever there is something, and tell ``run`` when it ends."""

    def unwatch(self, source: Source) -> None:
        """Stop reading it."""

    def adopt(self, pid: int, run: "TaskRun") -> None:
        """Tell ``run`` when this child exits."""

    def position(self, slot: int) -> int:
        """Where a slot stands among those that are held now."""

    def remaining(self, run: "TaskRun") -> list[Process]:
        """Every living process of the task."""


class TaskRun:
    """One task on one slot."""

    def __init__(self, host: Host, task: Task, *, slot: int, pods: tuple[tuple[Lease, ...], ...], scratch: str) -> None:
        self.task = task
        self.slot = slot
        self.over = False
        self.sessions: set[int] = set()
        self.mains: dict[int, Main] = {}
        self.verdict: Verdict | None = None
        self.first_failed: Main | None = None
        self._host = host
        self._pods = pods
        self._scratch = scratch
        self._steps: list[Step] = []
        self._again: tuple[Step, ...] = ()
        self.streams = Streams(host.plan, task, watch=lambda source: host.watch(source, self), unwatch=host.unwatch)
        self._told_started = False
        self._started = time.monotonic()
        self.started_at = time.time()
        self.times = Timetable(
            started=self._started, time_limit=host.plan.time_limit, window=host.plan.window, warning=host.plan.spec.signal
        )
        self._step_ends: float | None = None
        self._phase: Literal["running", "ending", "sweeping"] = "running"
        self._kill_at: float | None = None
        self._look_at: float | None = None
        self._told_to_end: set[tuple[int, int]] = set()

    # -- starting ---------------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the first step."""
        plan = self._host.plan
        task_env = environment.of_task(plan, self.task, self._host.launch_env)

        def node_env(node: int, *, devices: bool = True) -> dict[str, str]:
            return environment.of_node(task_env, node, self._pods[node] if node < len(self._pods) else (), shown=devices)

        context = TaskContext(plan=plan, task=self.task, pods=self._pods, env=task_env, scratch=self._scratch, node_env=node_env)
        try:
            files.private_directory(self._scratch)
            self._steps = list(kinds.steps(context))
        except CannotStart as error:
            self._cannot_start(error)
            return
        except OSError as error:
            self._cannot_start(CannotStart(f"cannot prepare the start: {error}", status=126))
            return
        if plan.spec.setup is not None and not self._host.setup_done:
            env = node_env(0)
            if plan.interpreter is not None:
                # So that `pip install` means the environment that the job will run in.
                env["PATH"] = os.path.dirname(plan.interpreter) + os.pathsep + env.get("PATH", os.defpath)
            start = Start(argv=("/bin/sh", "-c", plan.spec.setup), env=env, cwd=plan.workdir, label="setup")
            self._steps.insert(0, Step(name="setup", starts=(start,), is_setup=True))
        self._advance()

    def _advance(self) -> None:
        """Start steps until one has to be waited for; after the last one the task has succeeded."""
        self._step_ends = None
        while self._steps:
            step = self._steps.pop(0)
            if not self._start_step(step) or not step.background:
                return
        self._decide(Verdict(state="succeeded", code=0))
        self._end(self._host.plan.grace)

    def _start_step(self, step: Step) -> bool:
        if step.timeout is not None:
            self._step_ends = time.monotonic() + step.timeout
        try:
            for reading in step.readings:
                self.streams.listen(fifo(reading.path), node=reading.node, rank=reading.rank, stream=reading.stream.encode())
            for start in step.starts:
                self._start(start, step)
        except CannotStart as error:
            self._cannot_start(error)
            return False
        except OSError as error:
            self._cannot_start(CannotStart(f"cannot start {step.name}: {error.strerror or error}", status=126))
            return False
        return True

    def _start(self, start: Start, step: Step) -> None:
        host = self._host
        ends: list[int] = []
        try:
            out_read, out_write = pipe()
            ends += (out_read, out_write)
            err_read, err_write = pipe()
            ends += (err_read, err_write)
            pid = spawn(start.argv, env=start.env, cwd=start.cwd, stdin=host.null, stdout=out_write, stderr=err_write)
        except BaseException:
            for end in ends:
                os.close(end)
            raise
        os.close(out_write)
        os.close(err_write)
        self.streams.listen(out_read, node=start.node, rank=start.rank, stream=b"o")
        self.streams.listen(err_read, node=start.node, rank=start.rank, stream=b"e")
        # The child cannot vanish before it is waited for, so this row is the right one; without /proc the pid alone must do.
        process = processes.look(pid) or Process(pid, os.getpid(), "R", pid, 0, 0, 0, 1)
        self.mains[pid] = Main(start=start, step=step, process=process)
        self.sessions.add(pid)
        host.adopt(pid, self)
        self._tell_started(pid)

    def _tell_started(self, pid: int | None) -> None:
        if self._told_started:
            return
        self._told_started = True
        data: dict[str, Any] = {"slot": self._host.position(self.slot), "devices": [lease.index for pod in self._pods for lease in pod]}
        if pid is not None:
            data["pid"] = pid
        self._write("task-started", **data)

    def _cannot_start(self, error: CannotStart) -> None:
        self._tell_started(None)
        self.streams.sink(0, None).note(error.text)
        self._evidence(Found(code=error.code, text=error.text, data=error.data))
        self._decide(Verdict(state="failed", code=error.status))
        self._end(self._host.plan.grace)

    # -- while it runs ----------------------------------------------------------------------------------------------------------

    def exited(self, pid: int, status: int) -> None:
        """A main process ended; ``status`` is its exit code, or minus the signal's number."""
        main = self.mains[pid]
        main.status = status
        main.ended_at = time.time()
        if main.start.rank is not None:
            self._rank_ended(main.start.rank, status)
        if self._phase != "running":
            self._look_at = 0.0
        elif main.step.background or status != 0:
            self._failed(main)
        elif all(other.status == 0 for other in self.mains.values() if other.step is main.step):
            if main.step.is_setup:
                self._host.setup_done = True
            self._advance()

    @property
    def in_setup(self) -> bool:
        """Whether the node is being prepared right now (other tasks wait for that)."""
        return any(main.step.is_setup and main.status is None for main in self.mains.values())

    def _failed(self, main: Main) -> None:
        """A process failed: start again where its kind knows that this helps, else the task has failed."""
        started = not self._steps and not main.step.background
        if main.step.again is not None and (self._steps or started):
            self.streams.read_now()
            self._again = main.step.again(self.streams.sink(main.start.node, main.start.rank).tail())
        if self._again:
            self._note(f"{main.start.label} failed while it started: trying again with other ports")
            self._end(min(5, self._host.plan.grace))
        else:
            self._fail(main)

    def _fail(self, main: Main) -> None:
        assert main.status is not None
        self.first_failed = self.first_failed or main
        # A service that ends has failed, whatever it says.
        self._decide(Verdict.of("failed", main.status or 1))
        self._end(self._host.plan.grace)

    def _decide(self, verdict: Verdict) -> None:
        self.verdict = self.verdict or verdict

    def stop(self, state: State, *, grace: float, why: str) -> None:
        """End it: SIGTERM now, SIGKILL after ``grace`` seconds. A second call can only hasten it."""
        if self.over:
            return
        if self.verdict is None:
            self._write("stopping", why=why, signal=int(SIGTERM) if grace > 0 else int(SIGKILL))
        self._again = ()
        self._decide(Verdict(state=state))
        self._end(grace)

    def _end(self, grace: float) -> None:
        now = time.monotonic()
        kill_at = now + grace
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)
        self._look_at = now
        if self._phase == "running":
            self._phase = "ending"
            if grace > 0:
                for main in self._foreground():
                    for process in addressees.of_the_end(main.process):
                        self._signal(process, SIGTERM)

    def _foreground(self) -> list[Main]:
        return [main for main in self.mains.values() if main.status is None and not main.step.background]

    def _signal(self, process: Process, number: int) -> None:
        processes.send(process, number)
        self._told_to_end.add((process.pid, process.start))

    # -- time -------------------------------------------------------------------------------------------------------------------

    def next_look(self) -> float | None:
        """When :meth:`tick` has something to do, on the monotonic clock; None: not by itself."""
        times = [self._look_at]
        if self._phase == "running":
            times += [self._step_ends, *self.times.all()]
        else:
            times.append(self._kill_at)
        times.append(self.streams.next_flush())
        return min((moment for moment in times if moment is not None), default=None)

    def tick(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        self.streams.flush(now)
        if self._phase == "running":
            self._tick_running(now)
        if self._phase != "running" and not self.over:
            self._tick_ending(now)

    def _tick_running(self, now: float) -> None:
        times = self.times
        if times.warning is not None and is_due(times.warning_at(), now):
            times.warned = True
            self._signal_ranks(times.warning.name, f"{times.warning.before} before its end")
        if is_due(times.notice_at(), now):
            self._tell_of_window()
        if times.window is not None and times.window.signal is not None and is_due(times.window_signal_at(), now):
            times.window_signalled = True
            self._signal_ranks(times.window.signal, f"{times.window.signal_before} s before its window ends")
        if is_due(times.window_at(), now):
            self._end_with_window()
        elif is_due(times.limit_at(), now):
            limit = times.time_limit or 0
            text = f"its time limit of {duration.short(limit)} was reached"
            self._evidence(Found(code="time-limit", text=text, data={"limit": str(limit)}))
            self.stop("cut", grace=self._host.plan.grace, why="time-limit")
        elif is_due(self._step_ends, now):
            step = next(main.step for main in self.mains.values() if main.status is None and main.step.timeout is not None)
            self._evidence(Found(code="start-failed", text=f"{step.name} took longer than {step.timeout:.0f} s"))
            self._decide(Verdict(state="failed", code=1))
            self._end(0)

    def _tick_ending(self, now: float) -> None:
        if self._phase == "ending" and not self._foreground():
            self._phase = "sweeping"
            if any(main.status is None for main in self.mains.values()):
                self._kill_at = min(self._kill_at or now, now + _SERVICES_GRACE)
        left = self._host.remaining(self)
        if not left and all(main.status is not None for main in self.mains.values()):
            self._settle()
            return
        self._look_at = now + _LOOK_AGAIN
        if self._kill_at is not None and now >= self._kill_at:
            for process in left:
                processes.send(process, SIGKILL)
            self._look_at = self._kill_at = now + _KILL_AGAIN
        elif self._phase == "sweeping":
            for process in left:
                if (process.pid, process.start) not in self._told_to_end:
                    self._signal(process, SIGTERM)

    def _end_with_window(self) -> None:
        """Its window closes: SIGTERM now, and at the window's end nothing of it is left."""
        window = self.times.window
        assert window is not None
        data = {"at": str(int(window.at)), "owner": window.owner, "window": window.window}
        known = {name: value for name, value in data.items() if value is not None} | ({"lent": "true"} if window.lent else {})
        text = "the owner needs what it has lent" if window.lent else "its window ended"
        self._evidence(Found(code="window-end", text=text, data=known))
        self.stop("cut", grace=max(0.0, window.at - time.time()), why="window")

    def _tell_of_window(self) -> None:
        """Say in the log and among the job's events when its window ends."""
        window = self.times.window
        assert window is not None
        self.times.told_of = window.at
        text = f"window {window.window}" if window.window else "its window"
        text += f" ends at {clock.rfc3339(clock.from_unix(window.at))}, in {duration.short(window.at - time.time())}"
        text += f": the devices go to {window.owner}" if window.owner is not None else ""
        first = next(iter(self._foreground()), None)
        self.streams.sink(first.start.node if first else 0, first.start.rank if first else None).note(text)
        self._note(text)

    def _signal_ranks(self, name: str, when: str) -> None:
        """Send a warning to the ranks: where a launcher started them, to those and not to the launcher."""
        name = name.upper()
        number = Signals[name if name.startswith("SIG") else f"SIG{name}"]
        ranks = addressees.of_the_warning([main.process for main in self._foreground()], self._host.remaining(self))
        for process in ranks:
            processes.send(process, number)
        self._note(f"sent {number.name} to {len(ranks)} ranks, {when}")

    # -- the end ----------------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Nothing of it is left: try again if that was meant, else write down how it ended."""
        if self._again:
            self._steps, self._again = list(self._again), ()
            self.streams.close_sources()
            self.mains.clear()
            self._phase, self._kill_at, self._look_at = "running", None, None
            self._advance()
            return
        self.over = True
        self.streams.close()
        for complaint in self.streams.complaints:
            self._note(complaint)
        assert self.verdict is not None
        verdict = self.verdict
        if verdict.state == "failed":
            verdict = self._explain(verdict)
        elif verdict.state == "succeeded" and self._host.plan.spec.kind == "pytorch":
            for rank in range(self._host.plan.spec.nodes * self._host.plan.spec.procs_per_node):
                self._rank_ended(rank, 0)
        elif verdict.code is None:
            verdict = self._with_last_exit(verdict)
        how = {"code": verdict.code, "signal": verdict.signal}
        self._write("task-ended", state=verdict.state, **{name: number for name, number in how.items() if number is not None})
        files.remove_tree(self._scratch)

    def _explain(self, verdict: Verdict) -> Verdict:
        """Write down what can be known of a failure, the first failing rank first; the exit of that rank is the task's."""
        from gpuctl.clusters.local.supervisor import evidence  # loaded by now: see Launch

        case = evidence.Case(
            kind=self._host.plan.spec.kind,
            first=self.first_failed,
            mains=list(self.mains.values()),
            tails=self.streams.tails(),
            started_at=self.started_at,
            group=self._host.group,
        )
        ends = evidence.rank_ends(case)
        if self._host.plan.spec.kind == "pytorch":
            for end in ends:
                self._rank_ended(end.rank, end.status)
        for found in evidence.gather(case, ends):
            self._evidence(found)
        return Verdict.of("failed", ends[0].status) if ends else verdict

    def _with_last_exit(self, verdict: Verdict) -> Verdict:
        statuses = [main.status for main in self.mains.values() if main.status is not None and not main.step.background]
        if not statuses:
            return verdict
        return Verdict.of(verdict.state, max(statuses, key=abs))

    # -- the journal ------------------------------------------------------------------------------------------------------------

    def _rank_ended(self, rank: int, status: int) -> None:
        how = {"code": status} if status >= 0 else {"signal": -status}
        self._host.journal.write("rank-ended", task=self.task.index, attempt=self.task.attempt, rank=rank, **how)

    def _evidence(self, found: Found) -> None:
        task, attempt = self.task.index, self.task.attempt
        words: dict[str, Any] = {"code": found.code, "text": found.text, "source": found.source, "data": dict(found.data)}
        self._host.journal.write("evidence", task=task, attempt=attempt, rank=found.rank, **words)

    def _note(self, text: str) -> None:
        self._write("note", text=text)

    def _write(self, what: Literal["task-started", "task-ended", "stopping", "note"], **data: Any) -> None:
        self._host.journal.write(what, task=self.task.index, attempt=self.task.attempt, **data)
