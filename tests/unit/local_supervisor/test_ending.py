"""How jobs end: asked to, not wanting to, leaving something behind; and that their devices are held until nothing is left."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from gpuctl.clusters.local import processes
from gpuctl.clusters.local.launchplan import Request, Task
from gpuctl.model.spec import JobSpec
from tests.unit.local_supervisor.harness import Bench, until

STUBBORN = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; print('deaf', flush=True); time.sleep(300)"


def stubborn() -> tuple[str, ...]:
    return (sys.executable, "-c", STUBBORN)


def test_a_cancelled_job_may_end_by_itself(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", 'trap "echo saved; exit 0" TERM; echo up; while :; do sleep 0.05; done')))
    until(job.log)
    job.ask(Request(what="stop", by="anna"))
    job.wait()
    assert job.log(streams="o") == b"up\nsaved\n"
    assert job.entries("task-ended")[0].data == {"state": "cancelled", "code": 0}
    assert job.entries("stopping")[0].data == {"why": "anna", "signal": 15}


def test_one_that_does_not_listen_is_killed_after_the_grace(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=stubborn()), grace=1)
    until(job.log)
    began = time.monotonic()
    job.ask(Request(what="stop"))
    job.wait()
    assert 0.9 < time.monotonic() - began < 4
    assert job.entries("task-ended")[0].data == {"state": "cancelled", "signal": 9}
    assert job.locked() == [False]


def test_two_cancels_are_harmless_and_the_second_may_hasten(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=stubborn()), grace=60)
    until(job.log)
    job.ask(Request(what="stop"))
    until(lambda: job.entries("stopping"))
    job.ask(Request(what="stop"))
    time.sleep(0.7)
    assert job.process.poll() is None
    job.ask(Request(what="stop", grace=0))
    job.wait(timeout=5)
    assert len(job.entries("stopping")) == 1
    assert job.entries("task-ended")[0].data == {"state": "cancelled", "signal": 9}


def test_devices_are_held_until_the_last_process_is_gone(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=stubborn(), nodes=1, gpus=2), grace=1)
    until(job.log)
    job.ask(Request(what="stop"))
    until(lambda: job.entries("stopping"))
    assert job.locked() == [True, True]
    job.wait()
    assert job.locked() == [False, False]


def test_a_shell_script_is_told_and_so_is_what_it_runs(bench: Bench) -> None:
    text = "import signal, sys, time\nsignal.signal(15, lambda *_: (print('child saved'), sys.exit(0)))\nprint('up')\ntime.sleep(60)"
    bench.script("child.py", text)
    job = bench.launch(JobSpec(script=bench.script("job.sh", f"{sys.executable} child.py\n")))
    until(job.log)
    job.ask(Request(what="stop"))
    job.wait(timeout=5)
    assert b"child saved\n" in job.log()


def test_workers_of_a_program_are_left_to_it(bench: Bench) -> None:
    text = """
import multiprocessing, os, signal, sys, time
def work():
    time.sleep(60)
if __name__ == "__main__":
    worker = multiprocessing.get_context("fork").Process(target=work)
    def save(*_):
        time.sleep(0.5)
        print("worker alive while saving:", worker.is_alive(), flush=True)
        worker.terminate()
        sys.exit(0)
    worker.start()
    signal.signal(15, save)
    print("up", flush=True)
    worker.join()
"""
    job = bench.launch(JobSpec(script=bench.script("main.py", text)))
    until(job.log)
    job.ask(Request(what="stop"))
    job.wait(timeout=5)
    assert b"worker alive while saving: True\n" in job.log()


@pytest.mark.parametrize("daemon", ["{} &", "setsid {} &", "(setsid {} &) &", "env -i setsid {} >/dev/null 2>&1 &"])
def test_what_a_job_leaves_behind_is_ended_before_it_is_final(bench: Bench, daemon: str) -> None:
    sleep = f"sleep 300.{time.time_ns()}"

    def sleeps() -> bool:
        return any(_command(pid) == sleep and not row.dead for pid, row in processes.table().items())

    bench.script("x", "")
    go = bench.base / "work" / "go"
    os.mkfifo(go)
    job = bench.launch(JobSpec(command=("sh", "-c", f"{daemon.format(sleep)} read line < go; exit 0")))
    until(sleeps)
    go.write_text("now\n")
    job.wait(timeout=8)
    assert job.entries("task-ended")[0].data == {"state": "succeeded", "code": 0}
    assert not sleeps()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").replace("\0", " ")
    except OSError:
        return ""


def test_a_deaf_daemon_is_killed_and_the_devices_wait_for_that(bench: Bench) -> None:
    bench.script("deaf.py", STUBBORN)
    job = bench.launch(JobSpec(command=("sh", "-c", f"setsid {sys.executable} deaf.py & sleep 0.5")), grace=1)
    until(lambda: job.entries("rank-ended"))
    assert job.locked() == [True]
    job.wait(timeout=8)
    assert job.entries("task-ended")[0].data["state"] == "succeeded"
    assert processes.alive_processes(job.plan.job_id, 1) == ()


def test_a_job_started_from_within_is_no_part_of_it(bench: Bench) -> None:
    text = f"GPUCTL_RESIDENT=1 setsid {sys.executable} -c 'import time; time.sleep(30)' & echo $! > resident; exit 0"
    job = bench.launch(JobSpec(command=("sh", "-c", text)))
    job.wait(timeout=8)
    with open(os.path.join(job.plan.workdir, "resident")) as file:
        pid = int(file.read())
    row = processes.look(pid)
    assert row is not None
    assert not row.dead
    os.kill(pid, signal.SIGKILL)


def test_a_supervisor_that_is_told_to_end_ends_its_job(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "60")))
    until(lambda: job.entries("task-started"))
    job.process.send_signal(signal.SIGTERM)
    job.wait(timeout=5)
    assert job.entries("task-ended")[0].data == {"state": "lost", "signal": 15}
    assert job.evidence()["supervisor-died"].data["text"].startswith("the supervisor was told to end")


def test_a_new_time_limit_counts_from_the_start(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "60")), time_limit=3600)
    until(lambda: job.entries("task-started"))
    job.ask(Request(what="time", time_limit=1))
    job.wait(timeout=5)
    assert job.entries("time-limit")[0].data == {"time_limit": 1}
    assert job.entries("task-ended")[0].data["state"] == "cut"


def test_a_job_without_processes_of_its_own_left_is_not_waited_for(bench: Bench) -> None:
    began = time.monotonic()
    job = bench.launch(JobSpec(command=("true",)), grace=30)
    job.wait()
    assert time.monotonic() - began < 5


def test_the_keeper_is_woken_or_started(bench: Bench) -> None:
    wake = bench.base / "wake"
    os.mkfifo(wake)
    proof = bench.base / "started"
    argv = ("/bin/sh", "-c", f"touch {proof}")
    reader = os.open(wake, os.O_RDONLY | os.O_NONBLOCK)
    try:
        bench.launch(JobSpec(command=("true",)), wake=str(wake), keeper_argv=argv).wait()
        assert os.read(reader, 100)
        assert not proof.exists()
    finally:
        os.close(reader)
    bench.launch(JobSpec(command=("true",)), wake=str(wake), keeper_argv=argv).wait()
    until(proof.exists)


def test_tasks_named_in_a_stop_end_and_the_others_go_on(bench: Bench) -> None:
    spec = JobSpec(command=("sh", "-c", 'test "$GPUCTL_ARRAY_INDEX" = 2 || exec sleep 60'))
    job = bench.launch(spec, tasks=[Task(index=index) for index in range(3)], slots=2)
    until(lambda: len(job.entries("task-started")) == 2)
    job.ask(Request(what="stop", tasks=(0, 1)))
    job.wait(timeout=8)
    assert {entry.task: entry.data["state"] for entry in job.entries("task-ended")} == {0: "cancelled", 1: "cancelled", 2: "succeeded"}


def test_without_a_cgroup_it_ends_as_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    site = bench.base / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("from gpuctl.clusters.local import cgroup\ncgroup.base = lambda: None\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    bench.script("deaf.py", STUBBORN)
    text = f"setsid {sys.executable} $PWD/deaf.py & env -i setsid {sys.executable} $PWD/deaf.py & sleep 0.5; exit 3"
    job = bench.launch(JobSpec(command=("sh", "-c", text)), grace=1)
    job.wait(timeout=8)
    assert job.entries("supervisor")[0].data["cgroup"] is None
    assert job.entries("task-ended")[0].data == {"state": "failed", "code": 3}
    deaf = [row for row in processes.table().values() if not row.dead and f"{job.plan.workdir}/" in _command(row.pid)]
    assert deaf == []


def test_the_last_line_of_a_program_that_failed_is_evidence(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", "echo one; echo no data here >&2; exit 5")))
    job.wait()
    assert job.evidence()["exit-code"].data["data"] == {"code": "5", "said": "no data here"}
