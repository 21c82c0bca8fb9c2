"""The in-pod program, run for real: what a pod would do with what is rendered, as processes of this machine."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpuctl.clusters.kubernetes import code
from gpuctl.clusters.kubernetes.manifests import Engine
from gpuctl.model.spec import ArraySpec, Checkpoint, JobSpec, SignalBefore, VolumeMount
from tests.unit.k8s_manifests.cases import rendered
from tests.unit.k8s_manifests.little_kubelet import LittleKubelet

SHELLS = [path for path in ("/bin/dash", "/bin/bash", "/bin/busybox") if os.access(path, os.X_OK)]

Pod = Callable[..., LittleKubelet]


@pytest.fixture(params=SHELLS or ["/bin/sh"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What ``/bin/sh`` is."""
    link = tmp_path / "sh"
    link.symlink_to(request.param)
    return str(link)


@pytest.fixture
def pod(tmp_path: Path, shell: str) -> Iterator[Pod]:
    """Makes the pod of a spec; the code is what lies in ``tmp_path/code``."""
    made: list[LittleKubelet] = []
    (tmp_path / "code").mkdir()

    def make(spec: JobSpec, *, engine: Engine = Engine.JOB, files: dict[str, str] | None = None, **changes: Any) -> LittleKubelet:
        for path, content in (files or {}).items():
            (tmp_path / "code" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "code" / path).write_text(content)
        kubelet = {name: changes.pop(name) for name in ("annotations", "env", "index", "labels", "which") if name in changes}
        packed = changes.pop("code", None) or code.build(str(tmp_path / "code"), name="llama", ray=spec.kind == "ray")
        objects = rendered(spec, engine, code=packed, **changes)
        made.append(LittleKubelet(objects, tmp_path / f"pod-{len(made)}", shell=shell, **kubelet))
        return made[-1]

    yield make
    for each in made:
        each.close()


def seen(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    """Read the log until ``text`` has come."""
    assert process.stdout is not None
    log = b""
    while text not in log:
        more = process.stdout.read1(4096)  # type: ignore[attr-defined]
        assert more, log
        log += more
    return log


def python(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def test_the_code_is_there_and_the_program_runs_in_it(pod: Pod) -> None:
    files = {"train.py": python("import sys, lib.model, os", "print(sys.argv[1:], lib.model.SIZE, sorted(os.listdir('.')))")}
    files["lib/model.py"] = "SIZE = 7\n"
    status, log = pod(JobSpec(script="train.py", args=("--lr", "$(HOME)", "$$x", "a  b", "it's", "")), files=files).run()
    assert (status, log) == (0, "['--lr', '$(HOME)', '$$x', 'a  b', \"it's\", ''] 7 ['lib', 'train.py']\n")


def test_several_parts_are_put_together(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpuctl.clusters.kubernetes.code import parts

    noise = os.urandom(3000).hex()
    monkeypatch.setattr(parts, "LARGEST_PART", len(parts.program()) + 500)
    monkeypatch.setattr(parts, "MOST_PARTS", 12)
    made = pod(JobSpec(command=("cat", "noise")), files={"noise": noise})
    assert len(list((made.directory / "in").glob("part.*"))) == 2
    assert made.run() == (0, noise)


def test_code_that_changed_on_its_way_is_not_run(pod: Pod) -> None:
    made = pod(JobSpec(command=("echo", "ran")), files={"a": "b"})
    part = made.directory / "in" / "part.0"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    status, log = made.run()
    assert status == 74
    assert "not what was submitted" in log
    assert made.termination.read_text().startswith("code-damaged: ")
    assert "ran" not in log


def test_a_working_directory_below_the_root_is_entered(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "code" / "deep").mkdir()
    (tmp_path / "code" / "deep" / "x.txt").write_text("deep")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "code", check=True)
    packed = code.build(str(tmp_path / "code" / "deep"), name="llama")
    assert pod(JobSpec(command=("cat", "x.txt")), code=packed).run() == (0, "deep")


def test_no_code_is_an_empty_directory(pod: Pod) -> None:
    made = pod(JobSpec(command=("ls", "-A")), code=code.entry_only())
    assert made.run() == (0, "")


def test_setup_runs_once_before_the_program(pod: Pod) -> None:
    spec = JobSpec(command=("sh", "-c", "cat log; echo $RANK"), gpus=3, per="gpu", setup="echo set up >> log; echo loud")
    status, log = pod(spec).run()
    assert status == 0
    lines = log.splitlines()
    assert lines[0] == "loud"
    assert sorted(lines[1:]) == ["[0] 0", "[0] set up", "[1] 1", "[1] set up", "[2] 2", "[2] set up"]


def test_a_setup_that_fails_ends_the_job(pod: Pod) -> None:
    made = pod(JobSpec(command=("echo", "ran"), setup="echo no such package >&2; exit 5"))
    status, log = made.run()
    assert status == 5
    assert log == "no such package\ngpuctl: setup ended with 5\n"
    assert made.termination.read_text() == "setup-failed: setup ended with 5\n"


@pytest.mark.parametrize(
    ("script", "status"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("true", 0), ("no-such-program", 127)]
)
def test_the_container_ends_as_its_program(script: str, status: int, pod: Pod) -> None:
    assert pod(JobSpec(command=("sh", "-c", script))).run()[0] == status


def test_a_program_that_is_missing_is_named(pod: Pod) -> None:
    status, log = pod(JobSpec(command=("no-such-program", "-x"))).run()
    assert status == 127
    assert "no-such-program" in log


def test_the_end_reaches_the_program(pod: Pod) -> None:
    program = python(
        "import signal, sys, time",
        "def ended(*_):",
        "    print('saved', flush=True)",
        "    sys.exit(9)",
        "signal.signal(signal.SIGTERM, ended)",
        "print('ready', flush=True)",
        "time.sleep(60)",
    )
    made = pod(JobSpec(script="train.py"), files={"train.py": program})
    running = made.start()
    seen(running, b"ready\n")
    running.send_signal(signal.SIGTERM)
    log, _ = running.communicate(timeout=10)
    assert (running.returncode, log) == (9, b"saved\n")


def test_the_end_reaches_what_a_shell_started(pod: Pod) -> None:
    made = pod(JobSpec(command=("sh", "-c", "python3 -c 'import time; print(1, flush=True); time.sleep(60)'; echo after; exit 4")))
    running = made.start()
    seen(running, b"1\n")
    began = time.monotonic()
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=10)
    assert running.returncode == 143
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["USR1", "INT"])
def test_the_warning_comes_before_the_limit(name: str, pod: Pod) -> None:
    program = python(
        "import signal, sys, time",
        f"signal.signal(signal.SIG{name}, lambda *_: sys.exit(print('warned') or 0))",
        "time.sleep(60)",
    )
    spec = JobSpec(script="train.py", time="4s", signal=SignalBefore(name=f"SIG{name}", before="2s"))
    began = time.monotonic()
    assert pod(spec, files={"train.py": program}).run() == (0, "warned\n")
    assert 1 < time.monotonic() - began < 10


def test_the_warning_goes_to_the_ranks_below_a_launcher(pod: Pod) -> None:
    rank = "import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(print('rank warned') or 0)); time.sleep(60)"
    launcher = python(
        "import os, subprocess, sys", f"sys.exit(subprocess.call([sys.executable, '-c', {rank!r}], env=os.environ | {{'LOCAL_RANK': '0'}}))"
    )
    spec = JobSpec(script="launch.py", time="3s", signal=SignalBefore(name="USR1", before="1s"))
    assert pod(spec, files={"launch.py": launcher}).run() == (0, "rank warned\n")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_of_the_users_own_from_outside_goes_to_the_ranks(pod: Pod, number: signal.Signals) -> None:
    warned = f"signal.signal({int(number)}, lambda *_: sys.exit(print('rank warned') or 0))"
    rank = f"import signal, sys, time; {warned}; print('ready', flush=True); time.sleep(60)"
    launcher = python(
        "import os, subprocess, sys", f"sys.exit(subprocess.call([sys.executable, '-c', {rank!r}], env=os.environ | {{'LOCAL_RANK': '0'}}))"
    )
    running = pod(JobSpec(script="launch.py"), files={"launch.py": launcher}).start()
    seen(running, b"ready\n")
    running.send_signal(number)
    log, _ = running.communicate(timeout=10)
    assert (running.returncode, log) == (0, b"rank warned\n")


def test_keyboard_interrupts_are_not_ignored(pod: Pod) -> None:
    program = python(
        "import time",
        "try:",
        "    print('ready', flush=True)",
        "    time.sleep(60)",
        "except KeyboardInterrupt:",
        "    print('interrupted')",
    )
    running = pod(JobSpec(script="train.py"), files={"train.py": program}).start()
    seen(running, b"ready\n")
    running.send_signal(signal.SIGINT)
    log, _ = running.communicate(timeout=10)
    assert (running.returncode, log) == (0, b"interrupted\n")


def test_copies_know_their_ranks_and_so_does_their_log(pod: Pod) -> None:
    spec = JobSpec(command=("sh", "-c", "echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $NODE_RANK"), nodes=2, gpus=2, per="gpu")
    made = pod(spec, index=1)
    made.template["spec"]["initContainers"].pop()  # the gang's: nobody answers for the other node here
    status, log = made.run()
    assert status == 0
    assert sorted(log.splitlines()) == ["[2] 2 0 4 2 1", "[3] 3 1 4 2 1"]


def test_the_first_copy_that_fails_ends_the_others(pod: Pod) -> None:
    spec = JobSpec(command=("sh", "-c", "[ $RANK != 1 ] || exit 6; sleep 60; echo late"), gpus=3, per="gpu")
    began = time.monotonic()
    status, log = pod(spec).run()
    assert status == 6
    assert "copy 1 ended with 6" in log
    assert "late" not in log
    assert time.monotonic() - began < 10


def test_every_copy_is_told_to_end(pod: Pod) -> None:
    spec = JobSpec(command=("sh", "-c", "trap 'echo ended $RANK; exit 8' TERM; echo ready; while :; do sleep 0.1; done"), gpus=2, per="gpu")
    running = pod(spec).start()
    log = seen(running, b"ready\n")
    while log.count(b"ready\n") < 2:
        log += seen(running, b"ready\n")
    running.send_signal(signal.SIGTERM)
    rest, _ = running.communicate(timeout=10)
    assert {b"[0] ended 0", b"[1] ended 1"} <= set(rest.splitlines())
    assert running.returncode == 8


def test_signals_that_come_at_once_are_handed_over_one_after_the_other(pod: Pod) -> None:
    spec = JobSpec(command=("sh", "-c", "trap 'echo told' TERM; trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done"), gpus=1)
    running = pod(spec).start()
    log = seen(running, b"ready\n")
    for round_ in range(20):
        running.send_signal(signal.SIGTERM)
        time.sleep(0.002 * round_)  # the second one comes while the first is handed over
        running.send_signal(signal.SIGTERM)
        log += seen(running, b"told\n")
    time.sleep(0.5)  # of two different signals in one instant, bash's wait may keep one to itself until the next comes
    running.send_signal(signal.SIGUSR1)
    rest, _ = running.communicate(timeout=10)
    assert b"/proc/" not in log + rest, log + rest
    assert running.returncode == 7


def test_a_process_that_is_left_behind_does_not_hold_the_container(pod: Pod) -> None:
    spec = JobSpec(command=("sh", "-c", "sleep 30 & echo $RANK"), gpus=2, per="gpu")
    began = time.monotonic()
    status, log = pod(spec, code=code.entry_only()).run_to_the_end_of_its_first()
    assert (status, sorted(log.splitlines())) == (0, ["[0] 0", "[1] 1"])
    assert time.monotonic() - began < 15


def test_a_task_knows_its_index_and_its_arguments(pod: Pod) -> None:
    array = ArraySpec(first=10, last=12, args=(("a",), ("it's", "two\nlines", "$HOME", "*"), ()))
    spec = JobSpec(script="show.py", args=("--all",), array=array)
    show = {"show.py": python("import os, sys", "print(os.environ['GPUCTL_ARRAY_INDEX'], sys.argv[1:])")}
    assert pod(spec, files=show, index=1).run() == (0, "11 " + repr(["--all", "it's", "two\nlines", "$HOME", "*"]) + "\n")
    assert pod(spec, files=show, index=2).run() == (0, "12 ['--all']\n")
    some = msgspec.structs.replace(spec, array=msgspec.structs.replace(array, only=(10, 12)))
    assert pod(some, files=show, index=1).run() == (0, "12 ['--all']\n")


def test_a_later_attempt_knows_where_to_resume(pod: Pod, tmp_path: Path) -> None:
    spec = JobSpec(
        command=("sh", "-c", "echo $GPUCTL_ATTEMPT ${GPUCTL_RESUME_FROM:-none} $GPUCTL_VOLUME_RUNS; ls -d $GPUCTL_CHECKPOINT_DIR"),
        volumes=(VolumeMount(name="runs", path=str(tmp_path / "runs")),),
        checkpoint=Checkpoint(volume="runs", dir="/llama"),
    )
    where = f"{tmp_path}/runs/llama"
    assert pod(spec).run() == (0, f"1 none {tmp_path}/runs\n{where}\n")
    restarts = {"jobset.sigs.k8s.io/restart-attempt": "2"}
    assert pod(spec, engine=Engine.JOBSET, labels=restarts).run() == (0, f"3 {where} {tmp_path}/runs\n{where}\n")
    assert pod(spec, attempt=2).run() == (0, f"2 {where} {tmp_path}/runs\n{where}\n")


def test_each_task_of_an_array_counts_its_own_attempts(pod: Pod) -> None:
    spec = JobSpec(command=("sh", "-c", "echo $GPUCTL_ARRAY_INDEX $GPUCTL_ATTEMPT"), array=ArraySpec(last=3), retries=3)
    failures = "batch.kubernetes.io/job-index-failure-count"
    ignored = "batch.kubernetes.io/job-index-ignored-failure-count"
    assert pod(spec).run() == (0, "0 1\n")
    assert pod(spec, annotations={failures: "0"}, index=1).run() == (0, "1 1\n")
    assert pod(spec, annotations={failures: "2"}, index=1).run() == (0, "1 3\n")
    assert pod(spec, annotations={failures: "1", ignored: "2"}, index=2).run() == (0, "2 4\n")


def test_a_pod_that_a_queue_starts_again_resumes_although_no_attempt_was_counted(pod: Pod, tmp_path: Path) -> None:
    spec = JobSpec(
        command=("sh", "-c", "echo ${GPUCTL_RESUME_FROM:-none}; read line <then; eval $line"),
        volumes=(VolumeMount(name="runs", path=str(tmp_path / "runs")),),
        checkpoint=Checkpoint(volume="runs", dir="/llama"),
    )
    where = f"{tmp_path}/runs/llama"
    waits = {"then": "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done\n"}
    first = pod(spec, files=waits).start()
    assert seen(first, b"up\n").endswith(b"none\nup\n")
    first.terminate()  # preempted; the program has saved its work and says that all is well
    assert first.wait(20) == 0
    assert pod(spec, files={"then": "exit 3\n"}).run() == (3, f"{where}\n")
    assert pod(spec, index=1).run() == (3, "none\n")  # another node of the job has not been there
    assert pod(spec, files={"then": "exit 0\n"}).run() == (0, f"{where}\n")
    (left,) = os.listdir(where)
    assert left.endswith("-node-1")  # who ends well leaves nothing


def test_logs_are_kept_on_a_volume(pod: Pod, tmp_path: Path) -> None:
    spec = JobSpec(
        command=("sh", "-c", "echo one; echo two >&2; exit 3"),
        volumes=(VolumeMount(name="runs", path=str(tmp_path / "runs")),),
        logs_to="runs:/logs",
    )
    status, log = pod(spec).run()
    assert (status, log) == (3, "one\ntwo\n")
    assert (tmp_path / "runs/logs/llama-k3f9/node-0.log").read_text() == "one\ntwo\n"
    both = msgspec.structs.replace(spec, per="gpu", gpus=2, command=("sh", "-c", "echo one; echo two >&2"))
    assert pod(both).run()[0] == 0
    assert "[1] two\n" in (tmp_path / "runs/logs/llama-k3f9/node-0.log").read_text()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho sh $1\n", "sh x\n"),
        ("#!/usr/bin/env python3\nimport sys; print('py', sys.argv[1])\n", "py x\n"),
        ("echo plain $1\n", "plain x\n"),
    ],
)
def test_scripts_run_as_they_say(script: str, said: str, pod: Pod) -> None:
    assert pod(JobSpec(script="run", args=("x",)), files={"run": script}).run() == (0, said)
    assert pod(JobSpec(stdin_script=script, args=("x",))).run() == (0, said)


def test_a_script_that_is_missing_is_named(pod: Pod) -> None:
    status, log = pod(JobSpec(script="gone.sh")).run()
    assert status == 127
    assert log.startswith("gpuctl: gone.sh: no such file in ")


def test_the_program_sees_its_contract_and_nothing_of_ours(pod: Pod) -> None:
    show = {"show.py": python("import json, os", "print(json.dumps(dict(os.environ)))")}
    spec = JobSpec(
        script="show.py", nodes=1, gpus=2, env={"LR": "$(HOME) $$", "EMPTY": ""}, secrets=("KEY",), setup="true", time="1h", logs_to=None
    )
    status, log = pod(spec, files=show).run()
    assert status == 0
    env = msgspec.json.decode(log.splitlines()[-1], type=dict[str, str])
    assert [name for name in env if name.startswith("GPUCTL_POD_")] == []
    assert (env["LR"], env["EMPTY"], env["KEY"]) == ("$(HOME) $$", "", "value of KEY")
    assert (env["PET_NNODES"], env["PET_NPROC_PER_NODE"], env["PET_NODE_RANK"], env["MASTER_PORT"]) == ("1", "2", "0", "29500")
    assert (env["GPUCTL_JOB"], env["GPUCTL_NODE_RANK"], env["PYTHONUNBUFFERED"]) == ("llama-k3f9", "0", "1")
    assert not {"RANK", "WORLD_SIZE", "LEAKED"} & set(env)


def test_one_process_gets_no_variables_of_a_distributed_run(pod: Pod) -> None:
    status, log = pod(JobSpec(command=("env",))).run()
    assert status == 0
    assert not [line for line in log.splitlines() if line.startswith(("PET_", "MASTER_", "NODE_RANK", "WORLD_SIZE", "RANK"))]


@pytest.mark.parametrize("newer", [{"PET_NODE_RANK": "1", "PET_NNODES": "2"}, {}], ids=["newer operator", "older operator"])
def test_a_node_number_that_the_training_operator_calls_rank_is_not_shown(newer: dict[str, str], pod: Pod, tmp_path: Path) -> None:
    operator = {"MASTER_ADDR": "llama-master-0", "MASTER_PORT": "23456", "WORLD_SIZE": "4", "RANK": "1", **newer}
    torch = tmp_path / "site" / "torch" / "distributed"
    torch.mkdir(parents=True)
    (torch.parent / "__init__.py").write_text("")
    (torch / "__init__.py").write_text("")
    (torch / "run.py").write_text("import json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n")
    spec = JobSpec(kind="pytorch", nodes=2, gpus=2, script="t.py", args=("-x",))
    made = pod(spec, engine=Engine.PYTORCHJOB, index=None, env=operator | {"PYTHONPATH": str(tmp_path / "site")})
    status, log = made.run()
    assert status == 0
    argv, env = msgspec.json.decode(log, type=tuple[list[str], dict[str, str]])
    assert argv == ["t.py", "-x"]
    assert not {"RANK", "WORLD_SIZE"} & set(env)
    assert (env["PET_NNODES"], env["PET_NODE_RANK"], env["GPUCTL_NODE_RANK"]) == ("2", "1", "1")
    assert (env["PET_MASTER_ADDR"], env["PET_MASTER_PORT"], env["PET_NPROC_PER_NODE"], env["PET_TEE"]) == (
        "llama-master-0",
        "23456",
        "2",
        "3",
    )


def test_a_limit_is_told_apart_from_a_failure_where_failures_are_retried(pod: Pod) -> None:
    spec = JobSpec(command=("sh", "-c", "echo ready; sleep 60"), time="1s", retries=1)
    running = pod(spec, engine=Engine.JOBSET).start()
    seen(running, b"ready\n")
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=10)
    assert running.returncode == 198
    assert pod(msgspec.structs.replace(spec, time="1h", command=("false",)), engine=Engine.JOBSET).run()[0] == 1


def test_a_gang_waits_for_its_peers_and_gives_up(pod: Pod) -> None:
    spec = JobSpec(kind="pytorch", nodes=3, gpus=1, script="t.py")
    made = pod(spec, files={"t.py": ""})
    container = made.template["spec"]["initContainers"][-1]
    assert container["name"] == "gpuctl-gang"
    for each in container["env"]:
        if each["name"] == "GPUCTL_POD_WAIT":
            each["value"] = "1"
    container["env"].append({"name": "GPUCTL_POD_POLL", "value": "0.2"})
    status, log = made.run()
    assert status == 75
    assert made.termination.read_text() == "gang-incomplete: 3 of 3 nodes did not start within 1 s (node 0 1 2)\n"
    assert "3 of 3 nodes" in log


def test_a_whole_gang_starts(pod: Pod) -> None:
    made = pod(JobSpec(command=("echo", "go"), nodes=2))
    for each in made.template["spec"]["initContainers"][-1]["env"]:
        if each["name"] == "GPUCTL_POD_PEERS":
            each["value"] = "127.0.0.{}"
    assert made.run() == (0, "go\n")


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_torchrun_meets_itself_on_two_nodes(pod: Pod, shell: str) -> None:
    pytest.importorskip("torch")
    if Path(shell).resolve().name != "dash":
        pytest.skip("one shell is enough for a minute of torch")
    program = python(
        "import torch, torch.distributed as d",
        "d.init_process_group('gloo')",
        "x = torch.ones(1) * d.get_rank()",
        "d.all_reduce(x)",
        "print('sum', int(x), 'of', d.get_world_size())",
        "d.destroy_process_group()",
    )
    spec = JobSpec(kind="pytorch", nodes=2, gpus=2, script="train.py")
    nodes = [pod(spec, files={"train.py": program}, index=index) for index in (0, 1)]
    port = _free_port()
    for each in nodes:
        for variable in each.template["spec"]["containers"][0]["env"]:
            if variable["name"].endswith("MASTER_ADDR"):
                variable["value"] = "127.0.0.1"
            if variable["name"].endswith("MASTER_PORT"):
                variable["value"] = port
        each.template["spec"]["initContainers"].pop()
    running = [each.start() for each in nodes]
    logs = [each.communicate(timeout=150)[0].decode() for each in running]
    assert [each.returncode for each in running] == [0, 0], logs
    lines = sorted(line for log in logs for line in log.splitlines() if "sum" in line)
    assert lines == [f"[{rank}] sum 6 of 4" for rank in range(4)]


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_ray_without_its_operator(pod: Pod, shell: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    if Path(shell).resolve().name != "dash":
        pytest.skip("one shell is enough for half a minute of Ray")
    program = python(
        "import ray, sys",
        "ray.init(log_to_driver=False, logging_level='ERROR')",
        "alive = [node for node in ray.nodes() if node['Alive']]",
        "print('nodes', len(alive), 'answer', ray.get(ray.remote(lambda: 42).remote()), sys.argv[1:])",
        "sys.exit(5)",
    )
    spec = JobSpec(kind="ray", gpus=0, script="tune.py", args=("it's", "$x"))
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as short:  # sockets' paths have 107 bytes
        made = pod(spec, files={"tune.py": program}, env={"TMPDIR": short})
        for variable in made.template["spec"]["containers"][0]["env"]:
            if variable["name"] == "GPUCTL_POD_RAY_PORT":
                variable["value"] = _free_port()
        status, log = made.run(timeout=150)
    assert status == 5, log
    assert log == """nodes 1 answer 42 ["it's", '$x']\n"""


def _free_port() -> str:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


KUBERAY = "KUBERAY_GEN_RAY_START_CMD"
HEAD, WORKER = 1, 2


@pytest.mark.parametrize("which", [HEAD, WORKER])
def test_a_node_of_kuberays_becomes_one_although_its_setup_failed(which: int, pod: Pod) -> None:
    spec = JobSpec(kind="ray", gpus=0, script="tune.py", setup="echo no such package; exit 4")
    made = pod(spec, engine=Engine.RAYJOB, files={"tune.py": ""}, which=which, index=None, env={KUBERAY: "echo started"})
    assert made.run() == (0, "no such package\ngpuctl: setup ended with 4\n")
    assert (made.directory / "work/ray.log").read_text() == 'started --resources={"gpuctl-setup-ended-4": 1}\n'


def test_what_ray_says_last_is_told_where_it_could_not_start(pod: Pod) -> None:
    spec = JobSpec(kind="ray", gpus=0, script="tune.py")
    start = "echo cannot bind; exit 3"
    made = pod(spec, engine=Engine.RAYJOB, files={"tune.py": ""}, which=WORKER, index=None, env={KUBERAY: start})
    assert made.run() == (3, "cannot bind\n")


def test_the_end_reaches_the_program_of_kuberays_ray_before_ray(pod: Pod) -> None:
    program = python(
        "import os, signal, sys, time",
        "def ended(*_):",
        "    time.sleep(0.5)",
        "    open('saved', 'w').write('after Ray' if os.path.exists('told') else 'before Ray')",
        "    sys.exit(0)",
        "signal.signal(signal.SIGTERM, ended)",
        "open('ready', 'w').close()",
        "time.sleep(60)",
    )
    ray = "trap 'echo > told; exit 0' TERM; /bin/sh $GPUCTL_POD_BASE/in/entry.sh program & wait"
    spec = JobSpec(kind="ray", gpus=0, script="tune.py")
    made = pod(spec, engine=Engine.RAYJOB, files={"tune.py": program}, which=HEAD, index=None, env={KUBERAY: ray})
    first = made.start_first()
    first.communicate(timeout=20)
    running = made.start()
    work = made.directory / "work/code"
    ends = time.monotonic() + 30
    while not (work / "ready").exists():
        assert time.monotonic() < ends
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)
    assert (work / "saved").read_text() == "before Ray"


def test_the_program_is_posix() -> None:
    checker = shutil.which("shellcheck")
    if checker is None:
        pytest.skip("no shellcheck on PATH")
    package = Path(sys.modules["gpuctl.clusters.kubernetes.code"].__file__ or "")
    programs = [str(package.with_name(name)) for name in ("entry.sh", "fetch.sh", "ray.sh")]
    done = subprocess.run([checker, "-s", "sh", "-S", "warning", *programs], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
