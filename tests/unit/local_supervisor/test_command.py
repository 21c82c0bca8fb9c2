"""Jobs of kind command, run by a real supervisor: what starts, with which environment, and what is written down."""

import os
import signal
from pathlib import Path

import pytest

from gpuctl.clusters.local.launchplan import Task
from gpuctl.model.spec import JobSpec, SignalBefore
from tests.unit.local_supervisor.harness import Bench


def environment(said: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in said.decode().splitlines() if "=" in line)


def test_a_program_runs_to_its_end(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", "echo out; echo err >&2; pwd")))
    entries = job.wait()
    assert [entry.what for entry in entries] == ["supervisor", "task-started", "rank-ended", "task-ended", "ended"]
    assert entries[1].data["devices"] == [0]
    assert entries[1].data["slot"] == 0
    assert entries[3].data == {"state": "succeeded", "code": 0}
    assert sorted(job.log().splitlines()) == sorted([b"out", b"err", job.plan.workdir.encode()])
    assert job.log(streams="e") == b"err\n"
    assert job.locked() == [False]
    assert job.process.returncode == 0
    assert not os.path.exists(job.plan.scratch)


def test_the_environment_is_the_jobs_own(bench: Bench) -> None:
    job = bench.launch(
        JobSpec(command=("env",), env={"PET_MAX_RESTARTS": "3"}),
        tasks=[Task(attempt=2)],
        env={"LR": "1e-3", "GPUCTL_TOKEN": "t0p", "GPUCTL_TOKEN_FILE": "/x", "RANK": "3", "PET_MAX_RESTARTS": "3", "PET_NNODES": "9"},
        volumes={"my-data": "/data"},
        checkpoint="/ckpt",
    )
    job.wait()
    env = environment(job.log("a2.n0.r0.log"))
    assert env["LR"] == "1e-3"
    assert env["PET_MAX_RESTARTS"] == "3"
    expected = {
        "GPUCTL_JOB": "test-k3f9",
        "GPUCTL_JOB_ID": job.plan.job_id,
        "GPUCTL_LAUNCH": "1",
        "GPUCTL_ATTEMPT": "2",
        "GPUCTL_RESUME_FROM": "/ckpt",
        "GPUCTL_CHECKPOINT_DIR": "/ckpt",
        "GPUCTL_VOLUME_MY_DATA": "/data",
        "GPUCTL_NODE_RANK": "0",
        "PYTHONUNBUFFERED": "1",
        "SPT_NOENV": "1",
    }
    assert {name: env.get(name) for name in expected} == expected
    assert not {"GPUCTL_TOKEN", "GPUCTL_TOKEN_FILE", "RANK", "WORLD_SIZE", "PET_NNODES", "GPUCTL_ARRAY_INDEX"} & set(env)
    assert "CUDA_VISIBLE_DEVICES" not in env


def test_gpus_are_shown_by_uuid_and_exactly_those(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("env",), nodes=2, gpus=2), kind="nvidia", env={"CUDA_VISIBLE_DEVICES": "7"})
    job.wait()
    first, second = (environment(job.log(f"a1.n{node}.r{node}.log")) for node in range(2))
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("GPU-0,GPU-1", "GPU-2,GPU-3")
    assert (first["PET_NODE_RANK"], second["PET_NODE_RANK"]) == ("0", "1")
    assert first["PET_MASTER_PORT"] == second["PET_MASTER_PORT"]
    assert first["PET_NNODES"] == "2"
    assert "WORLD_SIZE" not in first


def test_per_gpu_starts_a_copy_for_each_with_its_rank(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", "echo $RANK/$LOCAL_RANK of $WORLD_SIZE/$LOCAL_WORLD_SIZE"), nodes=2, gpus=2, per="gpu"))
    job.wait()
    said = [job.log(f"a1.n{rank // 2}.r{rank}.log") for rank in range(4)]
    assert said == [b"0/0 of 4/2\n", b"1/1 of 4/2\n", b"2/0 of 4/2\n", b"3/1 of 4/2\n"]


def test_descriptors_do_not_reach_the_job(bench: Bench) -> None:
    job = bench.launch(
        JobSpec(command=("sh", "-c", "ls -l /proc/$$/fd | grep -c -e lock -e alive -e journal; cat /proc/self/stat | wc -l; cat"))
    )
    job.wait()
    assert job.log().splitlines()[0] == b"0"
    assert job.entries("task-ended")[0].data["state"] == "succeeded"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("no-such-program",), 127, "no-such-program: command not found"),
        (("./no-such-file",), 127, "./no-such-file: no such file"),
        (("./plain.txt",), 126, "./plain.txt: not executable (chmod +x ./plain.txt)"),
        (("/",), 126, "/: is a directory"),
        (("./bad-interpreter",), 127, "./bad-interpreter: bad interpreter"),
    ],
)
def test_what_cannot_be_started_says_why(bench: Bench, command: tuple[str, ...], code: int, words: str) -> None:
    bench.script("plain.txt", "hello")
    bench.script("bad-interpreter", "#!/no/such/thing\n", mode=0o755)
    job = bench.launch(JobSpec(command=command))
    job.wait()
    assert job.entries("task-ended")[0].data == {"state": "failed", "code": code}
    assert words in job.evidence()["start-failed"].data["text"]


def test_a_text_file_without_a_first_line_is_run_by_sh(bench: Bench) -> None:
    bench.script("plain", "echo from sh $1", mode=0o755)
    job = bench.launch(JobSpec(command=("./plain", "one")))
    job.wait()
    assert job.log() == b"from sh one\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("job.sh", "echo sh $1", b"sh 7\n"),
        ("job.sh", "#!/usr/bin/env -S python3 -u\nimport sys; print('py', sys.argv[1])", b"py 7\n"),
        ("job.py", "import sys; print('own', sys.argv[1])", b"own 7\n"),
    ],
)
def test_scripts_need_no_executable_bit(bench: Bench, name: str, text: str, said: bytes) -> None:
    job = bench.launch(JobSpec(script=bench.script(name, text), args=("7",)))
    job.wait()
    assert job.log(streams="o") == said


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("#!/no/such/sh\n", 127, "bad interpreter: /no/such/sh"),
        ("#!\n", 126, "names no interpreter"),
        ("\x7fELF\0\0", 126, "not executable"),
    ],
)
def test_scripts_that_nothing_can_run(bench: Bench, text: str, code: int, words: str) -> None:
    job = bench.launch(JobSpec(script=bench.script("job.sh", text)))
    job.wait()
    assert job.entries("task-ended")[0].data["code"] == code
    assert words in job.evidence()["start-failed"].data["text"]


def test_a_script_from_stdin(bench: Bench) -> None:
    job = bench.launch(JobSpec(stdin_script="echo hello $1; exit 3", args=("you",)))
    job.wait()
    assert job.log() == b"hello you\n"
    assert job.entries("task-ended")[0].data == {"state": "failed", "code": 3}


def test_a_missing_interpreter_is_named(bench: Bench) -> None:
    job = bench.launch(JobSpec(script=bench.script("a.py", "")), interpreter="/gone/bin/python")
    job.wait()
    assert job.evidence()["interpreter-missing"].data["data"] == {"interpreter": "/gone/bin/python"}


def test_setup_runs_first_and_its_failure_is_the_tasks(bench: Bench) -> None:
    good = bench.launch(JobSpec(command=("cat", "made"), setup="echo preparing; echo yes > made"))
    good.wait()
    assert good.log() == b"yes\n"
    assert good.log("a1.n0.agent.log") == b"preparing\n"
    bad = bench.launch(JobSpec(command=("touch", "never"), setup="echo oh no >&2; exit 4"))
    bad.wait()
    assert bad.entries("task-ended")[0].data == {"state": "failed", "code": 4}
    assert bad.evidence()["setup-failed"].data["data"] == {"code": "4"}
    assert not (Path(bad.plan.workdir) / "never").exists()


def test_setup_sees_the_jobs_interpreter_first(bench: Bench) -> None:
    bench.script("env/pip", "#!/bin/sh\necho installing $2\n", mode=0o755)
    interpreter = str(bench.base / "work" / "env" / "python")
    job = bench.launch(JobSpec(command=("sh", "-c", "command -v pip || true"), setup="pip install it"), interpreter=interpreter)
    job.wait()
    assert job.log("a1.n0.agent.log") == b"installing it\n"
    assert interpreter.encode()[:-6] not in job.log()


def test_a_signal_is_told_as_such(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", "kill -SEGV $$")))
    job.wait()
    assert job.entries("task-ended")[0].data == {"state": "failed", "signal": 11}
    assert job.evidence()["signal"].data["text"] == "rank 0 died of signal 11 (SIGSEGV)"


def test_the_first_failing_copy_ends_the_others(bench: Bench) -> None:
    text = 'if [ "$GPUCTL_NODE_RANK" = 1 ]; then exit 5; fi; exec sleep 60'
    job = bench.launch(JobSpec(command=("sh", "-c", text), nodes=3))
    job.wait(timeout=10)
    assert job.entries("task-ended")[0].data == {"state": "failed", "code": 5}
    first = job.entries("rank-ended")[0]
    assert (first.rank, first.data) == (1, {"code": 5})
    assert {entry.rank: entry.data for entry in job.entries("rank-ended")[1:]} == {0: {"signal": 15}, 2: {"signal": 15}}
    assert [entry.rank for entry in job.entries("evidence")] == [1]


def test_the_signal_before_the_limit_reaches_the_program(bench: Bench) -> None:
    text = 'trap "echo told; exit 0" USR1; while :; do sleep 0.05; done'
    spec = JobSpec(command=("sh", "-c", text), signal=SignalBefore(name="USR1", before="2s"))
    job = bench.launch(spec, time_limit=3)
    job.wait()
    assert job.log() == b"told\n"
    assert job.entries("task-ended")[0].data["state"] == "succeeded"


def test_the_time_limit_cuts(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "60")), time_limit=1)
    job.wait()
    assert job.entries("task-ended")[0].data == {"state": "cut", "signal": int(signal.SIGTERM)}
    assert job.evidence()["time-limit"].data["data"] == {"limit": "1"}
    assert job.entries("stopping")[0].data["why"] == "time-limit"


def test_an_environment_that_is_no_utf8_arrives_as_it_was(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", "printf %s $ODD")), env={"ODD": os.fsdecode(b"\xff\xfe")})
    job.wait()
    assert job.log(streams="o") == b"\xff\xfe"


def test_an_environment_that_cannot_be_passed_on_is_told(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("true",)), env={"NULL": "a\0b"})
    job.wait()
    assert job.entries("task-ended")[0].data == {"state": "failed", "code": 126}
    assert "null byte" in job.evidence()["start-failed"].data["text"]


def test_a_working_directory_that_is_gone_is_told(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("true",)), workdir="/no/such/place")
    job.wait()
    assert job.evidence()["start-failed"].data["text"] == "cannot enter /no/such/place: No such file or directory"
