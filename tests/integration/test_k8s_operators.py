"""JobSet and Kueue at work: what their controllers make of our objects, and what we make of what they say.

Needs a cluster in which both run (fake nodes are added here): ``GPUCTL_TEST_OPERATORS_KUBECONFIG``. Without it these tests are skipped.
"""

import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpuctl.base.errors import NotAllowedError
from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from gpuctl.kube.api import Api, open_api
from gpuctl.kube.errors import AlreadyExists, NotFound
from gpuctl.kube.objects.meta import Object
from gpuctl.model.ask import JobChange, JobQuery, Submission
from gpuctl.model.job import Code, Job, State
from gpuctl.model.spec import ArraySpec, JobSpec
from tests.integration.fake_nodes import FakeNodes

KUBECONFIG = os.environ.get("GPUCTL_TEST_OPERATORS_KUBECONFIG")
"""Read before tests get a clean environment."""
pytestmark = [
    pytest.mark.skipif(not KUBECONFIG, reason="no cluster with JobSet and Kueue (GPUCTL_TEST_OPERATORS_KUBECONFIG)"),
    pytest.mark.timeout(300),
]
PATIENCE = 120.0
KUEUE = "kueue.x-k8s.io/v1beta1"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    opened = open_api(None, env=dict(os.environ), kubeconfig=KUBECONFIG)
    with FakeNodes(opened, "operated", 2, labels={"gpuctl.io/tier": "reserved"}):
        yield opened
    opened.close()


class Lab:
    """A namespace with a queue of eight GPUs of its own, or with none."""

    def __init__(self, api: Api, workdir: Path, *, queue: bool = True) -> None:
        self.api = api
        self.workdir = workdir
        self.name = f"operated-{secrets.token_hex(3)}-{next(_numbers)}"
        api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}, Object)
        for name, value in (("operated-lowest", -50), ("operated-low", 10), ("operated-high", 100)):
            body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
            self._create("/apis/scheduling.k8s.io/v1/priorityclasses", body)
        if queue:
            self._queue()
        self.cluster = self._cluster()

    def _queue(self) -> None:
        self._create(f"/apis/{KUEUE}/resourceflavors", self._kueue("ResourceFlavor", "operated", {}))
        resources = [
            {"name": "cpu", "nominalQuota": 900},
            {"name": "memory", "nominalQuota": "9000Gi"},
            {"name": "nvidia.com/gpu", "nominalQuota": 8},
        ]
        groups = [{"coveredResources": [each["name"] for each in resources], "flavors": [{"name": "operated", "resources": resources}]}]
        own = {"matchLabels": {"kubernetes.io/metadata.name": self.name}}
        spec = {"namespaceSelector": own, "preemption": {"withinClusterQueue": "LowerPriority"}, "resourceGroups": groups}
        self._create(f"/apis/{KUEUE}/clusterqueues", self._kueue("ClusterQueue", self.name, spec))
        local = self._kueue("LocalQueue", "team", {"clusterQueue": self.name})
        self._create(f"/apis/{KUEUE}/namespaces/{self.name}/localqueues", local)

    def _cluster(self) -> KubernetesCluster:
        assert KUBECONFIG is not None
        classes = "-100:operated-lowest,0:operated-low,100:operated-high"
        given = {"ctx": self.api.context, "kubeconfig": KUBECONFIG, "namespace": self.name, "priority-classes": classes}
        return build("lab", given)

    def _kueue(self, kind: str, name: str, spec: Any) -> dict[str, Any]:
        return {"apiVersion": KUEUE, "kind": kind, "metadata": {"name": name}, "spec": spec}

    def _create(self, path: str, body: dict[str, Any]) -> None:
        try:
            self.api.create(path, body, Object)
        except AlreadyExists:
            return

    def stop_queue(self, policy: str) -> None:
        self.api.patch(f"/apis/{KUEUE}/clusterqueues/{self.name}", {"spec": {"stopPolicy": policy}}, Object)

    def launch(self, **spec: Any) -> Job:
        return self.cluster.launch(self.submission(**spec)).job

    def submission(self, *, seconds: int = -1, code: int = 0, **spec: Any) -> Submission:
        notes = {"fake/run-seconds": str(seconds), "fake/exit-code": str(code)}
        patch = msgspec.json.encode({"metadata": {"annotations": notes}}).decode()
        return Submission(
            spec=JobSpec(**{"kind": "command", "command": ("true",), "pod_patch": patch, "gpus": 8, "cpus": "1", "memory": "1Gi", **spec}),
            base_name="job",
            request_id=secrets.token_hex(8),
            environment={},
            code=Code(workdir=str(self.workdir)),
        )

    def until(self, name: str, right: Callable[[Job], bool]) -> Job:
        ends = time.monotonic() + PATIENCE
        while True:
            job = self.cluster.job(name)
            if right(job):
                return job
            assert time.monotonic() < ends, job
            time.sleep(0.2)

    def quota_once_used(self, gpus: int) -> tuple[float | None, ...]:
        """What the queue may hold, holds, and has free, once it holds so much: Kueue writes that down a little after it admits."""
        ends = time.monotonic() + PATIENCE
        while True:
            (row,) = [row for row in self.cluster.quota().items if row.source == "kueue"]
            if row.used == gpus or time.monotonic() > ends:
                return row.nominal, row.used, row.free
            time.sleep(0.2)

    def why(self, name: str, code: str, words: str = "") -> list[str]:
        """The sentences of the explanation, the answer first, once the answer has this code and these words."""
        ends = time.monotonic() + PATIENCE
        while True:
            told = self.cluster.explain(name)
            if told.reason.code == code and words in told.reason.sentence:
                return [told.reason.sentence, *(each.sentence for each in told.also)]
            assert time.monotonic() < ends, told
            time.sleep(0.2)

    def close(self) -> None:
        for each in self.cluster.jobs(JobQuery()).items:
            if not each.final:
                self.cluster.stop(each.name, grace_seconds=0)
        self.api.delete(f"/api/v1/namespaces/{self.name}")
        try:
            self.api.delete(f"/apis/{KUEUE}/clusterqueues/{self.name}")
        except NotFound:
            pass  # it was to have none
        self.cluster.close()


@pytest.fixture
def lab_of(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Lab]]:
    for name in ("STATE", "CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    (tmp_path / "work").mkdir()
    made: list[Lab] = []

    def make(*, queue: bool = True) -> Lab:
        made.append(Lab(api, tmp_path / "work", queue=queue))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def lab(lab_of: Callable[..., Lab]) -> Lab:
    return lab_of()


def running(job: Job) -> bool:
    return job.state is State.RUNNING


def queued(job: Job) -> bool:
    return job.state is State.QUEUED


def test_quota_preemption_and_the_way_back(lab: Lab) -> None:
    first = lab.launch()
    lab.until(first.name, running)
    assert lab.quota_once_used(8) == (8, 8, 0)
    urgent = lab.launch(priority=100)
    lab.until(urgent.name, running)
    back = lab.until(first.name, queued)
    assert "evicted" in [event.what for event in back.timeline]
    said = lab.why(first.name, "quota")
    assert "quota of nvidia.com/gpu in flavor operated is in use, 8 more needed" in said[0]
    assert any(sentence.startswith("was preempted") and "UID" not in sentence for sentence in said)
    lab.cluster.stop(urgent.name, grace_seconds=0)
    lab.until(first.name, running)


def test_a_stopped_queue_says_so_itself(lab: Lab) -> None:
    lab.stop_queue("Hold")
    job = lab.launch()
    assert lab.why(job.name, "queued", "admits")[0] == f"queue {lab.name} admits no jobs now: Can't admit new workloads: is stopped"
    lab.stop_queue("None")
    lab.until(job.name, running)


def test_a_held_job_stays_where_it_is_until_it_is_released(lab: Lab) -> None:
    lab.until(lab.launch().name, running)
    held = [lab.launch(), lab.launch(gpus=1, array=ArraySpec(first=0, last=3))]
    for job in held:
        lab.why(job.name, "quota")
        lab.cluster.update(job.name, JobChange(hold=True))
        assert lab.why(job.name, "held")[0] == "held by its owner, does not start until released"
    lab.cluster.stop(next(each.name for each in lab.cluster.jobs(JobQuery()).items if each.state is State.RUNNING), grace_seconds=0)
    time.sleep(3.0)  # long enough for a queue that would start them
    assert [lab.cluster.job(job.name).state for job in held] == [State.QUEUED, State.QUEUED]
    lab.cluster.update(held[0].name, JobChange(hold=False))
    lab.until(held[0].name, running)


def test_a_job_set_tries_again(lab: Lab) -> None:
    job = lab.launch(seconds=1, code=3, retries=1)
    (ended,) = lab.cluster.wait([job.name], stop=threading.Event(), timeout=PATIENCE)
    whole = lab.cluster.job(job.name)
    assert (ended.state, whole.attempt_count) == (State.FAILED, 2)
    assert [(each.number, each.state) for each in whole.attempts] == [(1, State.FAILED), (2, State.FAILED)]
    assert whole.exit is not None
    assert whole.exit.code == 3


def test_a_job_set_of_a_priority_below_zero_has_pods(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(queue=False)
    job = lab.until(lab.launch(priority=-10, gpus=1).name, running)
    (pod,) = lab.api.list(f"/api/v1/namespaces/{lab.name}/pods", dict[str, Any])
    assert pod["spec"]["priority"] == -50
    assert job.state is State.RUNNING


def test_what_never_fits_the_queue(lab: Lab) -> None:
    job = lab.launch(nodes=2)
    assert "asks 16 nvidia.com/gpu, the queue may never hold more than 8" in lab.why(job.name, "never-fits")[0]
    lab.cluster.stop(job.name)
    assert lab.cluster.job(job.name).state is State.CANCELLED


def test_the_head_of_a_ray_is_counted_and_fits_beside_its_workers(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(queue=False)
    elsewhere = ("operated-0", "operated-1")
    ray: dict[str, Any] = {"kind": "ray", "gpu_type": "A30", "exclude": elsewhere, "cpus": None, "memory": None}
    small = {"cores": 16, "memory": "64Gi", "product": "NVIDIA-A30", "labels": {"gpuctl.io/tier": "reserved"}}
    with FakeNodes(lab.api, "small", 1, **small):
        job = lab.launch(**ray)
        running_now = lab.until(job.name, running)
        assert [pod.node for pod in running_now.attempts[-1].pods] == ["small-0", "small-0"]
        lab.cluster.stop(job.name, grace_seconds=0)
        lab.until(job.name, lambda each: each.final)
        with pytest.raises(NotAllowedError, match="and 2 cores and 8Gi memory for the head of its Ray, the largest node"):
            lab.launch(**ray | {"cpus": "15"})
        filler = lab.launch(gpus=0, cpus="2", exclude=elsewhere)
        lab.until(filler.name, running)
        (option,) = lab.cluster.plan(lab.submission(**ray)).options
        assert not option.now
        assert option.reason is not None
        assert option.reason.sentence.startswith("needs 2 cores and 8Gi memory for the head of its Ray")
