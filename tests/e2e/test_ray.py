"""A real Ray of the job's own under a real supervisor."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.clusters.local import processes
from gpuctl.model.spec import JobSpec
from tests.unit.local_supervisor.harness import Bench

pytestmark = pytest.mark.e2e

WORK = """
import os, sys
import ray
ray.init(logging_level="ERROR")

@ray.remote(num_cpus=1)
def where(wait):
    import time
    time.sleep(wait)
    return ray.get_runtime_context().get_node_id()

head = ray.get_runtime_context().get_node_id()
slots = int(ray.cluster_resources()["CPU"])
nodes = set(ray.get([where.remote(1.0) for _ in range(slots)]))
print("slots", slots, "workers", len(nodes), "head used", head in nodes, "nodes", len(ray.nodes()))
print("token in environment", "RAY_AUTH_TOKEN" in os.environ, "mode", os.environ["RAY_AUTH_MODE"])
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("nodes", "slots", "code"), [(1, 2, 0), (2, 1, 3)])
def test_tasks_run_on_workers_and_nothing_is_left(bench: Bench, nodes: int, slots: int, code: int) -> None:
    script = bench.script("tune.py", WORK)
    job = bench.launch(JobSpec(kind="ray", nodes=nodes, gpus=slots, script=script, args=(str(code),)))
    job.wait(timeout=100)
    ended = job.entries("task-ended")[0].data
    assert ended == {"state": "succeeded" if code == 0 else "failed", "code": code}, job.log("a1.n0.agent.log").decode()
    assert job.log(streams="o").splitlines()[:2] == [
        f"slots {nodes * slots} workers {nodes} head used False nodes {nodes + 1}".encode(),
        b"token in environment False mode token",
    ]
    assert processes.alive_processes(job.plan.job_id, 1) == ()
    assert not os.path.exists(job.plan.scratch)
    assert not any(job.locked())
