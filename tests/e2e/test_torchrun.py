"""Real torchrun (gloo) jobs under a real supervisor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.model.spec import JobSpec
from tests.unit.local_supervisor.harness import Bench

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
