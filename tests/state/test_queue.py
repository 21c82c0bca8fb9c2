"""The local queue against a model: any order of submits, ends, crashes, cancels, holds and passing time keeps its promises.

The store, the locks, the journals and the scheduler are the real ones; supervisors are fakes that end when the model says, and the clock
is the model's.
"""

import dataclasses
import os
import shutil
import tempfile
from datetime import datetime, timedelta, timezone
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from gpuctl.base import clock
from gpuctl.base.errors import ConflictError
from gpuctl.clusters.local import spawn
from gpuctl.clusters.local.cluster import build
from gpuctl.model.ask import JobChange, JobQuery
from gpuctl.model.job import FINAL, State
from gpuctl.model.spec import Dependency
from tests.fakes.machine import submission
from tests.state.supervisors import FakeSupervisors

SLOTS = 3


@dataclasses.dataclass
class Known:
    """What the model knows of one job."""

    gpus: int
    retries: int
    after: str | None
    mode: str
    held: bool
    cancelled: bool = False
    failures: int = 0
    losses: int = 0
    final: State | None = None
    ran: int = 0


class QueueMachine(RuleBasedStateMachine):
    """The rules, and what must hold after each of them."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.mkdtemp(prefix="gpuctl-state-")
        self.supervisors = FakeSupervisors()
        self.now = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
        names = {f"XDG_{name}": self.home for name in ("STATE_HOME", "DATA_HOME", "CONFIG_HOME", "CACHE_HOME", "RUNTIME_DIR")}
        self.patches = [
            mock.patch.dict(os.environ, {**names, "HOME": self.home, "GPUCTL_LOCK_DIR": f"{self.home}/locks"}),
            mock.patch.object(spawn, "start", self.supervisors.start),
            mock.patch.object(clock, "now", self.read_clock),
        ]
        for patch in self.patches:
            patch.start()
        self.cluster = build("local", {"devices": "slots", "slots": str(SLOTS)})
        self.known: dict[str, Known] = {}

    def read_clock(self) -> datetime:
        """The model's clock."""
        return self.now

    def teardown(self) -> None:
        self.supervisors.close()
        self.cluster.close()
        for patch in reversed(self.patches):
            patch.stop()
        shutil.rmtree(self.home)

    @initialize()
    def begin(self) -> None:
        assert self.cluster.jobs(JobQuery()).items == ()

    # -- what people do -----------------------------------------------------------------------------------------------------------

    @rule(target=jobs, gpus=st.integers(0, SLOTS), retries=st.integers(0, 1), held=st.booleans(), priority=st.integers(-1, 1))
    def submit(self, gpus: int, retries: int, held: bool, priority: int) -> str:
        asked = submission("true", gpus=gpus, retries=retries, hold=held, priority=priority)
        job = self.cluster.launch(asked).job
        assert self.cluster.launch(asked).job.id == job.id
        self.known[job.id] = Known(gpus, retries, None, "any", held)
        return job.id

    @rule(target=jobs, other=jobs, mode=st.sampled_from(["ok", "any", "fail"]))
    def submit_after(self, other: str, mode: str) -> str:
        before = self.cluster.job(other).state
        try:
            job = self.cluster.launch(submission("true", after=(Dependency(job=other, mode=mode),))).job  # type: ignore[arg-type]
        except ConflictError:
            assert before.final
            assert (before is State.SUCCEEDED) == (mode == "fail")
            return other
        self.known[job.id] = Known(1, 0, other, mode, False)
        return job.id

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        before = self.cluster.job(job_id).state
        changed = self.cluster.stop(job_id)
        assert changed.already == before.final
        if not before.final:
            self.known[job_id].cancelled = True
            assert (changed.job.state is State.CANCELLED) == (job_id not in self.supervisors.running)

    @rule(job_id=jobs, held=st.booleans())
    def hold_or_release(self, job_id: str, held: bool) -> None:
        before = self.cluster.job(job_id).state
        try:
            self.cluster.update(job_id, JobChange(hold=held))
        except ConflictError:
            assert before is not State.QUEUED
        else:
            assert before is State.QUEUED
            self.known[job_id].held = held

    @rule()
    def another_process(self) -> None:
        self.cluster.close()
        self.cluster = build("local", {"devices": "slots", "slots": str(SLOTS)})

    # -- what happens by itself ---------------------------------------------------------------------------------------------------

    def _one_that_runs(self, choice: int) -> str | None:
        running = sorted(self.supervisors.running)
        return running[choice % len(running)] if running else None

    @rule(choice=st.integers(0, 9), succeeds=st.booleans())
    def end(self, choice: int, succeeds: bool) -> None:
        job_id = self._one_that_runs(choice)
        if job_id is None:
            return
        supervisor = self.supervisors.pop(job_id)
        if supervisor.told_to_stop():
            supervisor.end("cancelled", None)
            return
        self.known[job_id].failures += not succeeds
        supervisor.end("succeeded" if succeeds else "failed", 0 if succeeds else 3)

    @rule(choice=st.integers(0, 9))
    def crash(self, choice: int) -> None:
        job_id = self._one_that_runs(choice)
        if job_id is not None:
            self.known[job_id].losses += 1
            self.supervisors.pop(job_id).die()

    @rule(seconds=st.sampled_from([1, 11, 700]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(seconds=st.sampled_from([5, 3600]))
    def clock_goes_back(self, seconds: int) -> None:
        self.now -= timedelta(seconds=seconds)

    # -- what must hold -----------------------------------------------------------------------------------------------------------

    @invariant()
    def promises_hold(self) -> None:
        jobs = {job.id: job for job in self.cluster.jobs(JobQuery()).items}
        assert jobs.keys() == self.known.keys(), "an accepted job is lost, or one came from nowhere"
        used = [index for supervisor in self.supervisors.running.values() for index in supervisor.devices]
        assert len(used) == len(set(used)) <= SLOTS, "a device is leased twice"
        free = [device.index for device in self.cluster.nodes().items[0].devices if device.free]
        assert sorted([*free, *used]) == list(range(SLOTS)), "a device is leased by the dead"
        for job_id, job in jobs.items():
            known = self.known[job_id]
            if known.final is not None:
                assert job.state is known.final, "a final state went back"
            known.final = job.state if job.final else None
        for job_id, job in jobs.items():
            known = self.known[job_id]
            assert job.state.active == (job_id in self.supervisors.running)
            starts = self.supervisors.started.count(job_id)
            assert starts == job.attempt_count, "an attempt was not counted"
            assert known.failures <= known.retries + 1
            if known.held and starts == 0:
                assert not job.state.active
            self._check_end(job_id, job.state, starts)
            assert os.path.exists(f"{self.cluster._state_root}/jobs/{job_id}/sealed") == (not job.final)
        self._check_progress(jobs.values())

    def _check_end(self, job_id: str, state: State, starts: int) -> None:
        known = self.known[job_id]
        if state is State.FAILED:
            assert known.failures == known.retries + 1, "retries were not used"
        elif state is State.CANCELLED:
            assert known.cancelled or known.after is not None
        elif state is State.LOST:
            assert known.losses
            assert known.retries == 0
        if starts and known.after is not None:
            before = self.known[known.after].final
            assert before is not None, "started before what it waits for had ended"
            assert known.mode == "any" or (before is State.SUCCEEDED) == (known.mode == "ok")

    def _check_progress(self, jobs: object) -> None:
        """With nothing running, somebody who may start does: every job was made to fit."""
        if self.supervisors.running:
            return
        for job in self.cluster.jobs(JobQuery(states=frozenset(State) - FINAL)).items:
            known = self.known[job.id]
            waits = job.reason is not None and job.reason.code in ("backoff", "dependency", "retrying")
            assert known.held or waits, f"{job.name} waits for nothing: {job.reason}"


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
