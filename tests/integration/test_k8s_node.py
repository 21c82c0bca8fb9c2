"""torchrun over two pods, Ray without its operator, a task killed for memory, a cancelled job: on a node that really runs them.

Needs a cluster with a real node that resolves the names of headless Services, and an image with Python, torch, ray and sh that the node has
already: ``GPUCTL_TEST_NODE_KUBECONFIG`` and ``GPUCTL_TEST_NODE_IMAGE``. ``GPUCTL_TEST_NODE_ENGINE`` forces an engine (``jobset`` where its
operator runs); without it plain Jobs are tested.
"""

import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from gpuctl.kube.api import open_api
from gpuctl.model.ask import JobQuery, LogQuery, Submission
from gpuctl.model.job import Code, Job, State
from gpuctl.model.spec import JobSpec
from gpuctl.pool import following

KUBECONFIG = os.environ.get("GPUCTL_TEST_NODE_KUBECONFIG")
IMAGE = os.environ.get("GPUCTL_TEST_NODE_IMAGE")
ENGINE = os.environ.get("GPUCTL_TEST_NODE_ENGINE") or "job"
"""All read before tests get a clean environment."""
pytestmark = [
    pytest.mark.skipif(not (KUBECONFIG and IMAGE), reason="no real node (GPUCTL_TEST_NODE_KUBECONFIG, GPUCTL_TEST_NODE_IMAGE)"),
    pytest.mark.timeout(600),
]
PATIENCE = 400.0
SMALL = {"cpus": "0.1", "memory": "500M", "gpus": 0}
TRAIN = """
import os, sys
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(total)
print(f"rank {dist.get_rank()} of {dist.get_world_size()} sum {total.item()} {open('data').read()} {sys.argv[1:]}")
dist.destroy_process_group()
"""
TUNE = """
import os, sys, ray
ray.init(log_to_driver=False, logging_level="ERROR")
print("nodes", sum(node["Alive"] for node in ray.nodes()), "cpus", int(ray.cluster_resources()["CPU"]))
print("sum", sum(ray.get([ray.remote(num_cpus=0.1)(lambda n: n * n).remote(n) for n in range(8)])))
sys.exit(7)
"""
EAT = "kept = []\nwhile True: kept.append(bytearray(20 << 20))"


class Lab:
    """The cluster with the node, and a directory with the programs."""

    def __init__(self, cluster: KubernetesCluster, workdir: Path) -> None:
        self.cluster = cluster
        self.workdir = workdir

    def launch(self, **spec: Any) -> Job:
        submission = Submission(
            spec=JobSpec(**{**SMALL, "image": IMAGE, **spec}),
            base_name="node",
            request_id=secrets.token_hex(8),
            environment={},
            code=Code(workdir=str(self.workdir)),
        )
        return self.cluster.launch(submission).job

    def final(self, name: str) -> Job:
        (job,) = self.cluster.wait([name], stop=threading.Event(), timeout=PATIENCE)
        return self.cluster.job(name) if job.final else job

    def lines(self, name: str, **query: Any) -> list[str]:
        return b"".join(following.stream(self.cluster, name, LogQuery(**query), stop=threading.Event())).decode().splitlines()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name in ("STATE", "CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    assert KUBECONFIG is not None
    context = open_api(None, env=dict(os.environ), kubeconfig=KUBECONFIG).context
    cluster = build("lab", {"ctx": context, "kubeconfig": KUBECONFIG, "engine": ENGINE})
    work = tmp_path / "work"
    work.mkdir()
    for name, text in (("train.py", TRAIN), ("tune.py", TUNE), ("eat.py", EAT), ("data", "brought along")):
        (work / name).write_text(text)
    yield Lab(cluster, work)
    for each in cluster.jobs(JobQuery(name="node")).items:
        if not each.final:
            cluster.stop(each.name, grace_seconds=0)
    cluster.close()


def test_torchrun_over_two_pods(lab: Lab) -> None:
    job = lab.launch(kind="pytorch", script="train.py", args=("--lr", "1"), nodes=2)
    ended = lab.final(job.name)
    assert (ended.state, ended.exit.code if ended.exit else None) == (State.SUCCEEDED, 0), lab.lines(job.name)
    assert sorted(lab.lines(job.name, fold=False)) == [f"[{rank}] rank {rank} of 2 sum 3.0 brought along ['--lr', '1']" for rank in (0, 1)]
    assert [end.exit.code for end in ended.attempts[-1].ranks] == [0, 0]


def test_ray_without_its_operator_ends_as_its_program_does(lab: Lab) -> None:
    job = lab.launch(kind="ray", script="tune.py", nodes=2, memory="1500M", pod_patch=_small_head())
    ended = lab.final(job.name)
    assert (ended.state, ended.exit.code if ended.exit else None) == (State.FAILED, 7), lab.lines(job.name)
    assert "sum 140" in [line.removeprefix("[0] ") for line in lab.lines(job.name)]
    nodes, cpus = (3, 2) if ENGINE == "jobset" else (2, 2)  # a JobSet's head is a node of its own, without a core
    assert f"nodes {nodes} cpus {cpus}" in [line.removeprefix("[0] ") for line in lab.lines(job.name)]


def _small_head() -> str:
    """A head asks for two cores, which a small machine does not have besides its workers."""
    return "spec: {containers: [{name: main, resources: {requests: {cpu: 100m, memory: 1G}}}]}"


def test_who_takes_more_memory_than_asked_for_is_told_the_limit(lab: Lab) -> None:
    job = lab.launch(kind="command", command=("python", "eat.py"), memory="200Mi")
    assert lab.final(job.name).state is State.FAILED
    reason = lab.cluster.explain(job.name).reason
    assert (reason.code, "200Mi" in reason.sentence) == ("oom-killed", True), reason


def test_a_cancelled_job_gets_its_signal_and_its_log_says_that_it_is_gone(lab: Lab) -> None:
    job = lab.launch(kind="command", command=("sh", "-c", "echo up; trap 'echo told; exit 0' TERM; while :; do sleep 0.1; done"))
    told: list[str] = []
    follower = threading.Thread(target=lambda: told.extend(lab.lines(job.name, follow=True)))
    follower.start()
    ends = time.monotonic() + PATIENCE
    while not (lab.cluster.job(job.name).state is State.RUNNING and lab.lines(job.name) == ["up"]):
        assert time.monotonic() < ends
        time.sleep(0.5)
    lab.cluster.stop(job.name)
    assert lab.final(job.name).state is State.CANCELLED
    follower.join(PATIENCE)
    assert told[0] == "up"
    assert "told" in told
    assert [line.partition(" (")[0] for line in lab.lines(job.name)] == ["no log is left, for the pods are gone"]
