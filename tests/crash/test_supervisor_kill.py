"""kill -9 of a supervisor: nothing of its job is left afterwards, and nothing else is touched."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.clusters.local import cgroup, processes
from gpuctl.clusters.local.launchplan import Task
from gpuctl.model.spec import JobSpec
from tests.unit.local_supervisor.harness import Bench, Supervised, until

DEAF = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 13, 15)]; time.sleep(300)"
TREE = f"""
import os, subprocess, sys, time
deaf = [sys.executable, "-c", {DEAF!r}]
subprocess.Popen(deaf)
subprocess.Popen(deaf, start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, deaf)
    os._exit(0)
print("up", flush=True)
time.sleep(300)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def kill(job: Supervised) -> str | None:
    """kill -9 the supervisor; the cgroup of its launch."""
    group = job.entries("supervisor")[0].data["cgroup"]
    job.process.kill()
    job.process.wait()
    return group


@pytest.mark.parametrize("with_group", [True, False])
def test_reaping_leaves_none_whatever_their_session(bench: Bench, with_group: bool) -> None:
    job = bench.launch(JobSpec(command=(sys.executable, "-c", TREE)))
    until(lambda: job.log() == b"up\n" and len(processes.alive_processes(job.plan.job_id, 1)) >= 4)
    group = kill(job)
    alive = processes.alive_processes(job.plan.job_id, 1)
    assert len(alive) >= 3
    # Locks are the supervisor's alone: they are free now, which is why whoever heals reaps before anything is leased again.
    assert job.locked() == [False]
    killed = processes.reap(job.plan.job_id, 1, group=group if with_group else None)
    assert killed >= 3
    assert processes.wait_gone(alive, timeout=0)
    assert processes.reap(job.plan.job_id, 1, group=group) == 0
    assert group is None or not os.path.exists(group)


def test_other_launches_jobs_and_residents_are_not_touched(bench: Bench) -> None:
    sleep = JobSpec(command=("sleep", "300"))
    doomed = bench.launch(sleep, job_id="aaaaaaaaaaaa", launch=1)
    later = bench.launch(sleep, job_id="aaaaaaaaaaaa", launch=2)
    longer = bench.launch(sleep, job_id="aaaaaaaaaaaab", launch=1)
    for job in (doomed, later, longer):
        job.until("task-started")
    marked = {**os.environ, processes.JOB_ID: "aaaaaaaaaaaa", processes.LAUNCH: "1"}
    resident = subprocess.Popen(["sleep", "300"], env={**marked, processes.RESIDENT: "1"})
    forger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(300)", f"{processes.JOB_ID}=aaaaaaaaaaaa", f"{processes.LAUNCH}=1"]
    )
    try:
        group = kill(doomed)
        assert processes.reap("aaaaaaaaaaaa", 1, group=group) == 1
        assert resident.poll() is None
        assert forger.poll() is None
        assert later.process.poll() is None
        assert len(processes.alive_processes("aaaaaaaaaaaa", 2)) == 1
        assert len(processes.alive_processes("aaaaaaaaaaaab", 1)) == 1
    finally:
        for child in (resident, forger):
            child.kill()
            child.wait()


def test_a_reused_pid_is_not_hit() -> None:
    child = subprocess.Popen(["sleep", "300"])
    try:
        now = processes.look(child.pid)
        assert now is not None
        assert not processes.send(now._replace(start=now.start - 1), signal.SIGKILL)
        assert child.poll() is None
        assert processes.send(now, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    assert not processes.send(now, signal.SIGKILL)


def test_the_journal_of_a_killed_supervisor_is_whole(bench: Bench) -> None:
    """At any moment of an array: entries are numbered without a gap, and no task has ended that had not begun."""
    for delay in range(6):
        job = bench.launch(JobSpec(command=("true",)), tasks=[Task(index=index) for index in range(500)], slots=4)
        until(lambda job=job, delay=delay: len(job.entries("task-ended")) > 7 * delay)  # type: ignore[misc]
        group = kill(job)
        entries = job.entries()
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        began: set[int | None] = set()
        for entry in entries:
            if entry.what == "task-started":
                began.add(entry.task)
            elif entry.what == "task-ended":
                assert entry.task in began
        assert not job.entries("ended")
        processes.reap(job.plan.job_id, 1, group=group)
        assert processes.alive_processes(job.plan.job_id, 1) == ()


def test_a_rank_that_is_killed_is_told_as_such(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "300"), nodes=2))
    until(lambda: len(processes.alive_processes(job.plan.job_id, 1)) == 2)
    (first, second) = processes.usage(job.plan.job_id, 1, kind="command")
    assert (first.rank, second.rank) == (0, 1)
    assert first.rss > 0
    os.kill(first.pids[0], signal.SIGKILL)
    job.wait(timeout=10)
    assert job.entries("task-ended")[0].data == {"state": "failed", "signal": 9}
    assert job.evidence()["signal"].rank == 0


@pytest.mark.e2e
def test_ranks_of_torchrun_are_reaped(bench: Bench) -> None:
    pytest.importorskip("torch")
    script = bench.script("train.py", "import os, time\nprint('up', os.environ['RANK'])\ntime.sleep(300)\n")
    job = bench.launch(JobSpec(kind="pytorch", nodes=2, gpus=2, script=script))
    until(lambda: all(job.log(f"a1.n{rank // 2}.r{rank}.log") for rank in range(4)), timeout=60)
    kill(job)
    assert len(processes.alive_processes(job.plan.job_id, 1)) >= 6
    assert processes.reap(job.plan.job_id, 1) >= 4
    assert processes.alive_processes(job.plan.job_id, 1) == ()


@pytest.mark.e2e
def test_a_ray_of_a_killed_supervisor_is_reaped(bench: Bench) -> None:
    pytest.importorskip("ray")
    script = bench.script("tune.py", "import ray, time\nray.init()\nprint('up', flush=True)\ntime.sleep(300)\n")
    job = bench.launch(JobSpec(kind="ray", gpus=1, script=script))
    until(lambda: b"up" in job.log(), timeout=90)
    kill(job)
    assert processes.reap(job.plan.job_id, 1) > 0
    assert processes.alive_processes(job.plan.job_id, 1) == ()
    mine = [row for row in processes.table().values() if not row.dead and job.plan.scratch in _words(row.pid)]
    assert mine == []


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_a_cgroup_that_was_never_told_of_is_removed(bench: Bench) -> None:
    """Killed between making its cgroup and its first entry: whoever reaps finds the cgroup by its name."""
    made = cgroup.enter("ffffffffffff", 1)
    if made is None:
        pytest.skip("no cgroup can be made here")
    assert cgroup.leave()
    assert processes.reap("ffffffffffff", 1) == 0
    assert not os.path.exists(made)
