"""``gpuctl run``: logs on stdout, the job's code at the end."""

import io
import os
import signal
import threading
from typing import Any

import msgspec
import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.cli import retrying
from gpuctl.model.ask import Submission, Submitted
from gpuctl.model.job import Job, State
from gpuctl.model.reason import Reason
from tests.cli.quick import QuickCluster, quick_pool
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool


def test_stdout_is_what_the_job_writes(run: Any) -> None:
    pool, _ = quick_pool(lines=["one", "two"])
    outcome = run(pool, "run", "--request-id", "r1", "--", "true")
    assert (outcome.code, outcome.out) == (0, "one\ntwo\n")
    assert "job/true-bn9w succeeded" in outcome.err


def test_logs_of_a_job_that_ended_before_we_looked(run: Any) -> None:
    class Instant(QuickCluster):
        def launch(self, submission: Submission) -> Submitted:
            submitted = super().launch(submission)
            self.job(submitted.job.id)
            return msgspec.structs.replace(submitted, job=self.job(submitted.job.id))

    outcome = run(fake_pool(Instant(lines=["one"])), "run", "--", "true")
    assert (outcome.code, outcome.out) == (0, "one\n")


@pytest.mark.parametrize(
    ("codes", "state", "code"), [({0: 3}, None, 3), ({0: 137}, None, 137), ({0: 0}, State.CANCELLED, 143), ({0: 0}, State.CUT, 125)]
)
def test_it_ends_with_the_job_s_code(run: Any, codes: dict[int, int], state: State | None, code: int) -> None:
    assert run(quick_pool(codes=codes, state=state)[0], "run", "--", "true").code == code


def test_flags_are_those_of_submit(run: Any) -> None:
    pool, cluster = quick_pool()
    assert run(pool, "run", "-j", "1x2", "--time", "10m", "--env", "A=1", "--", "prog", "--time", "x").code == 0
    (submission,) = cluster.submissions.values()
    assert (submission.spec.gpus, submission.spec.time, submission.spec.command) == (2, "10m", ("prog", "--time", "x"))


def test_wrong_input_is_2_and_creates_nothing(run: Any) -> None:
    pool, cluster = quick_pool()
    outcome = run(pool, "run", "-j", "0x1")
    assert (outcome.code, cluster.submissions) == (2, {})
    assert outcome.err.startswith("error[invalid-input]: cannot run: 2 values are wrong\n")


def test_a_timeout_is_124(run: Any) -> None:
    assert run(quick_pool(stays=State.QUEUED)[0], "run", "--timeout", "1s", "--", "true").code == 124


def test_ctrl_c_leaves_the_job_alone_and_says_so(run: Any) -> None:
    pool, cluster = quick_pool(stays=State.RUNNING)
    timer = threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    outcome = run(pool, "run", "--request-id", "r1", "--", "true")
    timer.join()
    assert outcome.code == 130
    assert "job/true-bn9w goes on without this terminal\nhint: gpuctl logs -f true-bn9w    or: gpuctl cancel true-bn9w\n" in outcome.err
    assert [job.state for job in cluster.jobs_by_id.values()] == [State.RUNNING]


def test_a_reader_that_left_is_141_and_the_job_goes_on(run: Any) -> None:
    pool, cluster = quick_pool(lines=["one"], stays=State.RUNNING)
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as raw:  # a real one: what the kernel says counts
        assert run(pool, "run", "--", "true", out=io.TextIOWrapper(raw, write_through=True)).code == 141
    assert [job.state for job in cluster.jobs_by_id.values()] == [State.RUNNING]


class Unreachable(QuickCluster):
    """A cluster that takes a job and is gone."""

    def job(self, ref: str) -> Job:
        raise UnavailableError("cannot reach local", code="cluster-gone")


def test_our_own_failure_is_125_once_the_job_is_accepted(run: Any) -> None:
    outcome = run(fake_pool(Unreachable()), "run", "--request-id", "r1", "--", "true")
    assert outcome.code == 125
    assert "error[cluster-gone]: cannot follow job/true-bn9w: cannot reach local" in outcome.err


class TriedAgain(QuickCluster):
    """The first attempt fails after some looks, the second one starts after some more and succeeds."""

    def __init__(self, *, runs: int, pauses: int) -> None:
        super().__init__()
        self.runs = runs
        self.pauses = pauses

    def job(self, ref: str) -> Job:
        job = FakeCluster.job(self, ref)
        if job.state is State.RUNNING and job.attempt_count == 1:
            self.runs -= 1
            if self.runs > 0:
                return job
            waits = Reason(code="backoff", sentence="attempt 2 may start in 9s, at 12:00 UTC", what="wait")
            return self._keep(msgspec.structs.replace(self.finish(job.id, {0: 3}, retry=True), reason=waits))
        if job.state is State.QUEUED and job.attempt_count == 1 and self.pauses:
            self.pauses -= 1
            return job
        return super().job(ref)


@pytest.mark.parametrize("runs", [1, 12], ids=["before it was seen to run", "while its logs are followed"])
def test_a_failed_attempt_is_told_once_while_the_next_one_waits(run: Any, monkeypatch: pytest.MonkeyPatch, runs: int) -> None:
    monkeypatch.setattr(retrying, "_EVERY", 0.0)
    pool = fake_pool(TriedAgain(runs=runs, pauses=4))
    outcome = run(pool, "run", "--request-id", "r1", "--retries", "1", "--", "true")
    assert outcome.code == 0
    told = [line for line in outcome.err.splitlines() if "attempt 1" in line]
    assert told == ["job/true-bn9w: attempt 1 failed (exit code 3); attempt 2 may start in 9s, at 12:00 UTC"]
