"""KubeRay and Kubeflow Trainer at work: what becomes of our RayJobs and TrainJobs, and what we make of what they say.

Needs a cluster in which both operators run, with a real node as ``test_k8s_node`` wants it: ``GPUCTL_TEST_RAY_TRAINER_KUBECONFIG`` and
``GPUCTL_TEST_NODE_IMAGE``. Without them these tests are skipped.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from gpuctl.kube.api import Api, open_api
from gpuctl.kube.objects.meta import Object
from gpuctl.model.ask import JobChange, JobQuery, LogQuery, Submission
from gpuctl.model.job import Code, Exit, Job, State
from gpuctl.model.spec import JobSpec, SignalBefore
from gpuctl.pool import following

KUBECONFIG = os.environ.get("GPUCTL_TEST_RAY_TRAINER_KUBECONFIG")
IMAGE = os.environ.get("GPUCTL_TEST_NODE_IMAGE")
"""Read before tests get a clean environment."""
pytestmark = [
    pytest.mark.skipif(
        not (KUBECONFIG and IMAGE),
        reason="no cluster with KubeRay, Trainer and a real node (GPUCTL_TEST_RAY_TRAINER_KUBECONFIG, GPUCTL_TEST_NODE_IMAGE)",
    ),
    pytest.mark.timeout(600),
]
PATIENCE = 400.0
SMALL_HEAD = "spec: {containers: [{name: main, resources: {requests: {cpu: 100m, memory: 1G}}}]}"
RAY = {"kind": "ray", "cpus": "0.2", "memory": "1500M", "gpus": 0, "pod_patch": SMALL_HEAD}
TORCH = {"kind": "pytorch", "cpus": "0.1", "memory": "500M", "gpus": 0}
TUNE = """
import ray, sys
ray.init(log_to_driver=False, logging_level="ERROR")
print("nodes", sum(node["Alive"] for node in ray.nodes()))
print("sum", sum(ray.get([ray.remote(num_cpus=0.1)(lambda n: n * n).remote(n) for n in range(8)])))
sys.exit(int(sys.argv[1]))
"""
SAVE = """
import ray, signal, sys, time
ray.init(log_to_driver=False, logging_level="ERROR")
signal.signal(signal.SIGUSR1, lambda *_: print("warned", flush=True))
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(0)))
print("begun", flush=True)
while True: time.sleep(0.2)
"""
TRAIN = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(total)
print(f"rank {dist.get_rank()} of {dist.get_world_size()} sum {total.item()}")
dist.destroy_process_group()
"""
NAP = "import sys, time\nprint('begun', flush=True)\ntime.sleep(float(sys.argv[1]))\n"


class Lab:
    """The cluster, in a namespace of one test."""

    def __init__(self, api: Api, cluster: KubernetesCluster, workdir: Path, namespace: str) -> None:
        self.api = api
        self.cluster = cluster
        self.workdir = workdir
        self.namespace = namespace

    def launch(self, **spec: Any) -> Job:
        submission = Submission(
            spec=JobSpec(**{"image": IMAGE, **spec}),
            base_name="job",
            request_id=secrets.token_hex(8),
            environment={},
            code=Code(workdir=str(self.workdir)),
        )
        return self.cluster.launch(submission).job

    def until(self, name: str, right: Callable[[Job], bool]) -> Job:
        ends = time.monotonic() + PATIENCE
        while True:
            job = self.cluster.job(name)
            if right(job):
                return job
            assert time.monotonic() < ends, job
            time.sleep(0.5)

    def final(self, name: str) -> Job:
        (job,) = self.cluster.wait([name], stop=threading.Event(), timeout=PATIENCE)
        return self.cluster.job(name) if job.final else job

    def why(self, name: str, code: str) -> str:
        """The sentence of the explanation, once it has this code."""
        ends = time.monotonic() + PATIENCE
        while True:
            reason = self.cluster.explain(name).reason
            if reason.code == code:
                return reason.sentence
            assert time.monotonic() < ends, reason
            time.sleep(0.5)

    def lines(self, name: str, **query: Any) -> list[str]:
        return b"".join(following.stream(self.cluster, name, LogQuery(**query), stop=threading.Event())).decode().splitlines()

    def pods(self, selector: str = "") -> list[str]:
        params = {"labelSelector": selector} if selector else {}
        return [each.metadata.name for each in self.api.list(f"/api/v1/namespaces/{self.namespace}/pods", Object, params=params)]

    def few_pods(self, count: int) -> None:
        body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": count}}}
        path = f"/api/v1/namespaces/{self.namespace}/resourcequotas"
        self.api.create(path, body, dict)
        ends = time.monotonic() + PATIENCE
        while not self.api.get(f"{path}/few", dict).get("status", {}).get("hard"):  # until it counts
            assert time.monotonic() < ends
            time.sleep(0.2)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name in ("STATE", "CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    assert KUBECONFIG is not None
    api = open_api(None, env=dict(os.environ), kubeconfig=KUBECONFIG)
    namespace = f"operated-{secrets.token_hex(4)}"
    api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, Object)
    options = {"ctx": api.context, "kubeconfig": KUBECONFIG, "namespace": namespace, "engine": "trainjob", "ray-version": "2.60.0"}
    cluster = build("lab", options)
    work = tmp_path / "work"
    work.mkdir()
    for file, text in (("tune.py", TUNE), ("save.py", SAVE), ("train.py", TRAIN), ("nap.py", NAP)):
        (work / file).write_text(text)
    yield Lab(api, cluster, work, namespace)
    for each in cluster.jobs(JobQuery()).items:
        if not each.final:
            cluster.stop(each.name, grace_seconds=0)
    api.delete(f"/api/v1/namespaces/{namespace}")
    cluster.close()
    api.close()


def running(job: Job) -> bool:
    return job.state is State.RUNNING


def test_ray_ends_as_its_program_does_and_only_its_log_stays(lab: Lab) -> None:
    job = lab.launch(**RAY, script="tune.py", args=("7",), nodes=2)
    told: list[str] = []
    follower = threading.Thread(target=lambda: told.extend(lab.lines(job.name, follow=True)))
    follower.start()
    ended = lab.final(job.name)
    assert (ended.state, ended.exit) == (State.FAILED, Exit(code=7))
    follower.join(PATIENCE)
    printed = ["nodes 3", "sum 140"]
    assert [line for line in told if line in printed] == printed
    ends = time.monotonic() + PATIENCE
    while lab.pods("ray.io/node-type"):  # with what the job asked for
        assert time.monotonic() < ends
        time.sleep(0.5)
    assert lab.lines(job.name) == printed
    assert lab.lines(job.name, failed=True) == printed
    assert lab.why(job.name, "exit-code") == "rank 0 ended with exit code 7"


def test_the_limit_warns_and_then_ends_the_program_of_a_ray(lab: Lab) -> None:
    job = lab.launch(**RAY, script="save.py", nodes=1, time="150s", signal=SignalBefore(name="USR1", before="15s"))
    lab.until(job.name, running)
    ended = lab.final(job.name)
    assert (ended.state, ended.exit) == (State.CUT, None)
    assert lab.lines(job.name) == ["begun", "warned", "saved"]
    assert "time limit of" in lab.why(job.name, "time-limit")


def test_a_setup_that_fails_on_one_node_ends_the_ray(lab: Lab) -> None:
    setup = 'test "$RAY_NODE_TYPE_NAME" = headgroup || exit 4'
    job = lab.launch(**RAY, script="tune.py", args=("0",), nodes=1, setup=setup)
    ended = lab.final(job.name)
    assert (ended.state, ended.exit) == (State.FAILED, Exit(code=4))
    assert lab.why(job.name, "setup-failed").startswith("--setup ended with exit code 4 on ")


def test_a_ray_whose_head_goes_is_lost(lab: Lab) -> None:
    job = lab.launch(**RAY, script="save.py", nodes=1)
    lab.until(job.name, running)
    (head,) = lab.pods("ray.io/node-type=head")
    lab.api.delete(f"/api/v1/namespaces/{lab.namespace}/pods/{head}", grace_s=0)
    assert lab.final(job.name).state is State.FAILED
    assert "Ray was gone before the program had ended" in lab.why(job.name, "lost")


def test_a_ray_is_held_released_kept_by_a_quota_and_cancelled(lab: Lab) -> None:
    lab.few_pods(1)
    job = lab.launch(**RAY, script="tune.py", args=("0",), nodes=1, hold=True)
    assert lab.why(job.name, "held")
    lab.cluster.update(job.name, JobChange(hold=False))
    assert "quota few is full" in lab.why(job.name, "quota")
    lab.cluster.stop(job.name)
    assert lab.final(job.name).state is State.CANCELLED
    assert lab.pods() == []


def test_torchrun_over_the_pods_of_a_train_job(lab: Lab) -> None:
    job = lab.launch(**TORCH, script="train.py", nodes=2)
    ended = lab.final(job.name)
    assert (ended.state, ended.exit) == (State.SUCCEEDED, Exit(code=0)), lab.lines(job.name)
    assert sorted(lab.lines(job.name, fold=False)) == [f"[{rank}] rank {rank} of 2 sum 3.0" for rank in (0, 1)]


def test_a_train_job_is_held_released_and_cut(lab: Lab) -> None:
    job = lab.launch(**TORCH, script="nap.py", args=("300",), nodes=1, time="15s", hold=True)
    assert lab.why(job.name, "held")
    time.sleep(3.0)  # long enough for an operator that would start it
    assert lab.pods() == []
    lab.cluster.update(job.name, JobChange(hold=False))
    lab.until(job.name, running)
    assert lab.final(job.name).state is State.CUT


def test_a_train_job_kept_by_a_quota_is_cancelled_for_good(lab: Lab) -> None:
    lab.few_pods(1)
    job = lab.launch(**TORCH, script="nap.py", args=("300",), nodes=2)
    assert "quota few is full" in lab.why(job.name, "quota")
    lab.cluster.stop(job.name)
    assert lab.final(job.name).state is State.CANCELLED
    ends = time.monotonic() + PATIENCE
    while lab.pods():  # Trainer makes no others
        assert time.monotonic() < ends
        time.sleep(0.5)
