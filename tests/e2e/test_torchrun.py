"""Real torchrun (gloo) jobs under a real supervisor."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.clusters.local import processes
from gpuctl.clusters.local.launchplan import Request
from gpuctl.model.spec import JobSpec, SignalBefore
from tests.unit.local_supervisor.harness import Bench, until

pytestmark = pytest.mark.e2e

ALL_REDUCE = """
import os, sys
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(total)
print(f"rank {dist.get_rank()} of {dist.get_world_size()} sum {total.item():.0f} args {sys.argv[1:]}")
dist.destroy_process_group()
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    pytest.importorskip("torch")
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 2), (2, 2)])
def test_ranks_meet_and_each_has_its_own_log(bench: Bench, nodes: int, gpus: int) -> None:
    script = bench.script("train.py", ALL_REDUCE)
    job = bench.launch(JobSpec(kind="pytorch", nodes=nodes, gpus=gpus, script=script, args=("--lr", "0.1")))
    job.wait(timeout=60)
    ended = job.entries("task-ended")[0]
    assert ended.data == {"state": "succeeded", "code": 0}, job.log("a1.n0.agent.log").decode()
    world = nodes * gpus
    total = world * (world + 1) // 2
    for rank in range(world):
        said = job.log(f"a1.n{rank // gpus}.r{rank}.log", streams="o")
        assert said == f"rank {rank} of {world} sum {total} args ['--lr', '0.1']\n".encode()
    assert sorted((entry.rank, entry.data["code"]) for entry in job.entries("rank-ended")) == [(rank, 0) for rank in range(world)]
    assert not any(job.locked())


def test_the_first_failing_rank_ends_all_and_is_told(bench: Bench) -> None:
    text = """
import os, sys, time
if os.environ["RANK"] == "2":
    time.sleep(0.5)
    raise ValueError("batch 17 is bad")
time.sleep(300)
"""
    job = bench.launch(JobSpec(kind="pytorch", nodes=2, gpus=2, script=bench.script("train.py", text)), grace=6)
    job.wait(timeout=60)
    assert job.entries("task-ended")[0].data == {"state": "failed", "code": 1}
    ends = {entry.rank: entry.data for entry in job.entries("rank-ended")}
    assert ends[2] == {"code": 1}
    seen = job.evidence()
    assert seen["python-traceback"].rank == 2
    assert seen["python-traceback"].data["text"] == "ValueError: batch 17 is bad"
    assert {entry.rank for entry in job.entries("evidence")} == {2}
    assert processes.alive_processes(job.plan.job_id, 1) == ()


def test_an_exit_code_and_a_signal_are_the_ranks_own(bench: Bench) -> None:
    script = bench.script("exit.py", "import os, sys\nsys.exit(7 if os.environ['RANK'] == '0' else 0)")
    job = bench.launch(JobSpec(kind="pytorch", script=script))
    died = bench.launch(JobSpec(kind="pytorch", script=bench.script("die.py", "import os\nos.kill(os.getpid(), 11)")))
    job.wait(timeout=60)
    died.wait(timeout=60)
    assert job.entries("task-ended")[0].data == {"state": "failed", "code": 7}
    assert died.entries("task-ended")[0].data == {"state": "failed", "signal": 11}


def test_files_of_the_working_directory_do_not_pass_for_what_torch_imports(bench: Bench) -> None:
    for name in ("cuda.py", "queue.py", "random.py"):
        bench.script(name, "raise SystemExit('taken for a library')")
    job = bench.launch(JobSpec(kind="pytorch", script=bench.script("src/train.py", "import torch\nprint(torch.__name__)\n")))
    job.wait(timeout=60)
    assert job.entries("task-ended")[0].data == {"state": "succeeded", "code": 0}, job.log("a1.n0.agent.log").decode()


def test_ranks_that_ignore_sigterm_are_killed(bench: Bench) -> None:
    text = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(300)\n"
    job = bench.launch(JobSpec(kind="pytorch", gpus=2, script=bench.script("train.py", text)), grace=6)
    until(lambda: job.log("a1.n0.r0.log") and job.log("a1.n0.r1.log"), timeout=60)
    job.ask(Request(what="stop"))
    job.wait(timeout=20)
    assert job.entries("task-ended")[0].data["state"] == "cancelled"
    assert processes.alive_processes(job.plan.job_id, 1) == ()
    assert not any(job.locked())


def test_the_signal_goes_to_ranks_and_not_to_torchrun(bench: Bench) -> None:
    text = """
import os, signal, sys, time
def told(*_):
    print("told", flush=True)
    sys.exit(0)
signal.signal(signal.SIGUSR1, told)
open("ready" + os.environ["RANK"], "w").close()
time.sleep(300)
"""
    spec = JobSpec(kind="pytorch", gpus=2, script=bench.script("train.py", text), signal=SignalBefore(name="USR1", before="30s"))
    job = bench.launch(spec, time_limit=3600)
    until(lambda: all(os.path.exists(os.path.join(job.plan.workdir, f"ready{rank}")) for rank in range(2)), timeout=60)
    job.ask(Request(what="time", time_limit=30))
    job.wait(timeout=30)
    assert [job.log(f"a1.n0.r{rank}.log") for rank in range(2)] == [b"told\n", b"told\n"]
    assert job.entries("task-ended")[0].data == {"state": "succeeded", "code": 0}


def test_binary_output_of_a_rank_is_kept_byte_for_byte(bench: Bench) -> None:
    text = "import os\nos.write(1, bytes(range(256)) + b'\\n' + b'x' * 1_000_000 + b'\\n')\n"
    job = bench.launch(JobSpec(kind="pytorch", script=bench.script("train.py", text)))
    job.wait(timeout=60)
    assert job.log("a1.n0.r0.log", streams="o") == bytes(range(256)) + b"\n" + b"x" * 1_000_000 + b"\n"


def test_a_port_that_was_taken_meanwhile_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The master's agent cannot listen: everything is started again on another port."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        sitecustomize = bench.base / "site"
        sitecustomize.mkdir()
        # The first port that the supervisor finds is the taken one, as if somebody had been faster.
        (sitecustomize / "sitecustomize.py").write_text(
            "import sys\n"
            "if 'gpuctl.clusters.local.supervisor' in ' '.join(sys.orig_argv):\n"
            "    from gpuctl.clusters.local.kinds import torchrun\n"
            f"    ports, real = [[{taken}]], torchrun.free_ports\n"
            "    torchrun.free_ports = lambda count: ports.pop() if ports else real(count)\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(sitecustomize))
        job = bench.launch(JobSpec(kind="pytorch", script=bench.script("train.py", "print('met')")))
        job.wait(timeout=60)
    assert job.entries("task-ended")[0].data == {"state": "succeeded", "code": 0}
    assert job.log("a1.n0.r0.log") == b"met\n"
    assert "trying again" in job.entries("note")[0].data["text"]
