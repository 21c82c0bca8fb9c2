"""Jobs on a real control plane: what its controllers make of our objects, and what we make of theirs."""

import itertools
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpuctl.base.errors import GpuctlError, NotAllowedError, UnavailableError
from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.resources import PODS
from gpuctl.model.ask import JobChange, JobQuery, LogQuery, Submission
from gpuctl.model.job import Code, Job, State
from gpuctl.model.spec import ArraySpec, JobSpec
from tests.integration.control_plane import ControlPlane
from tests.integration.fake_nodes import FakeNodes

PATIENCE = 60.0
_numbers = itertools.count()


@pytest.fixture(scope="module")
def plane(alpha: ControlPlane) -> Iterator[ControlPlane]:
    with FakeNodes(alpha.api(), "h100", 2, labels={"gpuctl.io/tier": "reserved"}):
        yield alpha


class Lab:
    """One namespace of the plane."""

    def __init__(self, plane: ControlPlane, workdir: Path) -> None:
        self.plane = plane
        self.namespace = plane.namespace(f"cluster-{next(_numbers)}")
        self.workdir = workdir
        self.made: list[KubernetesCluster] = []
        self.cluster = self.again()
        ends = time.monotonic() + PATIENCE
        while not all(node.ready and node.gpus_free == 8 for node in self.cluster.nodes().items):  # a new node is tainted for a moment
            assert time.monotonic() < ends, self.cluster.nodes()
            time.sleep(0.1)

    def again(self, context: str | None = None, **options: str) -> KubernetesCluster:
        given = {"ctx": context or self.plane.name, "kubeconfig": str(self.plane.kubeconfig), "namespace": self.namespace, "engine": "job"}
        self.made.append(build("lab", {**given, **options}))
        return self.made[-1]

    def submission(self, *, plays: dict[str, str] | None = None, **spec: Any) -> Submission:
        patch = msgspec.json.encode({"metadata": {"annotations": {f"fake/{key}": value for key, value in (plays or {}).items()}}}).decode()
        return Submission(
            spec=JobSpec(kind="command", command=("true",), pod_patch=patch, **{"gpus": 8, **spec}),
            base_name="job",
            request_id=secrets.token_hex(8),
            environment={},
            code=Code(workdir=str(self.workdir)),
        )

    def launch(self, *, plays: dict[str, str] | None = None, **spec: Any) -> Job:
        return self.cluster.launch(self.submission(plays=plays, **spec)).job

    def until(self, name: str, right: Callable[[Job], bool]) -> Job:
        ends = time.monotonic() + PATIENCE
        while True:
            job = self.cluster.job(name)
            if right(job):
                return job
            assert time.monotonic() < ends, job
            time.sleep(0.1)

    def final(self, name: str) -> Job:
        (job,) = self.cluster.wait([name], stop=threading.Event(), timeout=PATIENCE)
        return job

    def pods(self, job: Job) -> list[Pod]:
        return list(self.plane.api().list(PODS.path(self.namespace), Pod, params={"labelSelector": f"gpuctl.io/job-id={job.id}"}))

    def close(self) -> None:
        self.plane.kubectl("-n", self.namespace, "delete", "jobs", "--all", "--wait=false")
        self.plane.kubectl("-n", self.namespace, "delete", "pods", "--all", "--grace-period=0", "--force")  # room for the next test
        for cluster in self.made:
            cluster.close()


@pytest.fixture
def lab(plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name in ("STATE", "CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    (tmp_path / "work").mkdir()
    made = Lab(plane, tmp_path / "work")
    yield made
    made.close()


def test_a_gang_runs_on_its_nodes(lab: Lab) -> None:
    job = lab.launch(nodes=2, plays={"run-seconds": "1"})
    running = lab.until(job.name, lambda job: job.state is State.RUNNING)
    assert [pod.ranks for pod in running.attempts[0].pods] == [(0,), (1,)]
    assert (running.tier, running.verified) == ("reserved", False)
    ended = lab.final(job.name)
    assert (ended.state, [end.exit.code for end in ended.attempts[0].ranks]) == (State.SUCCEEDED, [0, 0])


def test_one_rank_that_fails_ends_the_gang(lab: Lab) -> None:
    job = lab.final(lab.launch(nodes=2, plays={"run-seconds": "0.5", "exit-code": "7"}).name)
    assert (job.state, job.exit and job.exit.code) == (State.FAILED, 7)
    assert lab.cluster.explain(job.name).reason.code == "exit-code"


def test_an_array_tells_its_tasks_apart(lab: Lab) -> None:
    job = lab.launch(gpus=1, array=ArraySpec(first=3, last=8, parallel=2), plays={"run-seconds": "0.2"})
    ended = lab.final(job.name)
    assert ended.state is State.SUCCEEDED
    assert ended.tasks is not None
    assert ended.tasks.succeeded == 6
    assert lab.cluster.job(f"{job.name}_5").state is State.SUCCEEDED
    rows = lab.cluster.jobs(JobQuery(tasks=True)).items
    assert [row.name for row in rows] == [f"{job.name}_{index}" for index in range(3, 9)]


def test_each_task_of_an_array_has_attempts_of_its_own(lab: Lab) -> None:
    job = lab.launch(gpus=1, array=ArraySpec(first=3, last=4), retries=1, plays={"run-seconds": "0.2", "exit-code": "7"})
    ended = lab.final(job.name)
    assert (ended.state, ended.tasks and ended.tasks.failed) == (State.FAILED, 2)
    task = lab.cluster.job(f"{job.name}_4")
    assert [(each.number, each.state, each.task) for each in task.attempts] == [(1, State.FAILED, 4), (2, State.FAILED, 4)]
    assert task.attempt_count == 2
    first, second = ({log.attempt for log in lab.cluster.logs(f"{job.name}_4", LogQuery(attempt=number))} for number in (1, None))
    assert (first, second) == ({1}, {2})


def test_a_running_job_is_cancelled_and_stays_known(lab: Lab) -> None:
    job = lab.launch(nodes=2, plays={"run-seconds": "-1"})
    lab.until(job.name, lambda job: job.state is State.RUNNING)
    lab.cluster.stop(job.name, grace_seconds=0)
    ended = lab.final(job.name)
    assert (ended.state, ended.started_at is not None) == (State.CANCELLED, True)
    assert lab.cluster.explain(job.name).reason.code == "cancelled"
    assert [each.state for each in lab.cluster.jobs(JobQuery()).items] == [State.CANCELLED]


def test_a_tombstone_is_complete_without_a_pod(lab: Lab) -> None:
    job = lab.launch(hold=True)
    assert lab.cluster.stop(job.name).job.state is State.CANCELLED
    ends = time.monotonic() + PATIENCE
    while not lab.plane.kubectl("-n", lab.namespace, "get", "jobs", "-o", "jsonpath={.items[*].status.completionTime}"):
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert lab.plane.kubectl("-n", lab.namespace, "get", "pods,secrets", "-o", "name") == ""
    assert lab.cluster.job(job.name).state is State.CANCELLED


def test_a_held_job_is_released(lab: Lab) -> None:
    job = lab.launch(hold=True, plays={"run-seconds": "0.2"})
    time.sleep(0.5)
    assert lab.cluster.job(job.name).state is State.QUEUED
    lab.cluster.update(job.name, JobChange(hold=False))
    assert lab.final(job.name).state is State.SUCCEEDED


def test_the_time_limit_of_a_running_job_is_shortened(lab: Lab) -> None:
    job = lab.launch(time="2h", plays={"run-seconds": "-1"})
    lab.until(job.name, lambda job: job.state is State.RUNNING)
    lab.cluster.update(job.name, JobChange(time="30m"))
    changed = lab.cluster.job(job.name)
    assert changed.spec.time == "30m"
    assert changed.ends_by is not None
    assert changed.started_at is not None
    assert abs((changed.ends_by - changed.started_at).total_seconds() - 1800) < 10
    assert [pod.spec.active_deadline_seconds for pod in lab.pods(job)] == [1800]


def test_what_waits_for_room_says_for_how_much(lab: Lab) -> None:
    first = lab.launch(nodes=2, plays={"run-seconds": "-1"})
    lab.until(first.name, lambda job: job.state is State.RUNNING)
    waiting = lab.launch()
    lab.until(waiting.name, lambda job: job.reason is not None and job.reason.code == "capacity")
    reason = lab.cluster.explain(waiting.name).reason
    assert reason.sentence.startswith("needs 8 free GPUs on one node; 2 of 2 nodes have too few")
    with pytest.raises(UnavailableError) as caught:
        lab.launch(nodes=2)
    assert caught.value.code == "no-room-now"
    lab.cluster.stop(first.name, grace_seconds=0)


def test_a_quota_that_is_full_is_told_in_numbers(lab: Lab) -> None:
    lab.plane.kubectl("-n", lab.namespace, "create", "quota", "gpus", "--hard=requests.nvidia.com/gpu=4")
    ends = time.monotonic() + PATIENCE
    while [row.used for row in lab.cluster.quota().items] != [0]:  # until it is counted, nobody obeys it
        assert time.monotonic() < ends
        time.sleep(0.2)
    job = lab.launch()
    while (reason := lab.cluster.explain(job.name).reason).code != "quota":
        assert time.monotonic() < ends, reason
        time.sleep(0.2)
    assert reason.sentence == "quota gpus: 0 of 4 GPUs used, 8 asked for"
    assert [each.reason for each in lab.cluster.jobs(JobQuery(name=job.name)).items] == [reason]
    (row,) = lab.cluster.quota().items
    assert (row.name, row.nominal, row.used) == ("gpus", 4, 0)


def test_an_eviction_is_no_fault_of_the_jobs(lab: Lab) -> None:
    job = lab.launch(nodes=2, plays={"run-seconds": "-1"})
    lab.until(job.name, lambda job: job.state is State.RUNNING)
    pod = lab.pods(job)[0].metadata.name
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": lab.namespace}}
    lab.plane.api().create(PODS.path(lab.namespace, pod, "eviction"), body, Object)
    for each in lab.pods(job):  # what a kubelet does once the containers are gone
        path = PODS.path(lab.namespace, each.metadata.name, "status")
        lab.plane.api().patch(path, {"status": {"phase": "Failed"}}, Object)
    assert lab.final(job.name).state is State.LOST
    assert lab.cluster.explain(job.name).reason.code == "evicted"


def test_waiting_outlives_the_api_server(lab: Lab) -> None:
    job = lab.launch(plays={"run-seconds": "4"})
    lab.until(job.name, lambda job: job.state is State.RUNNING)
    done: list[Job] = []
    ending = lab.cluster.wait([job.name], stop=threading.Event(), timeout=PATIENCE)
    waiter = threading.Thread(target=lambda: done.extend(ending))
    waiter.start()
    lab.plane.stop_api()
    try:
        assert lab.again().status().health == "unreachable"
    finally:
        lab.plane.start_api()
    waiter.join(PATIENCE)
    assert [each.state for each in done] == [State.SUCCEEDED]


def test_the_printed_access_rules_are_enough(lab: Lab) -> None:
    alice = lab.again(f"{lab.plane.name}-alice")
    with pytest.raises(NotAllowedError) as caught:
        alice.jobs(JobQuery())
    assert "list" in f"{caught.value.message} {caught.value.cause}"
    refused = [line for line in alice.checks() if line.verdict == "problem"]
    assert refused
    kubectl(lab, "apply", lab.cluster.rbac())
    try:
        used_by(alice, lab)
    finally:  # the control plane is everybody's: who comes next shall find alice without rights
        kubectl(lab, "delete", lab.cluster.rbac())
        ends = time.monotonic() + PATIENCE
        while lab.plane.api(f"{lab.plane.name}-alice").can_i("list", PODS, namespace="default").allowed:
            assert time.monotonic() < ends
            time.sleep(0.3)


def kubectl(lab: Lab, verb: str, documents: str) -> None:
    command = ["kubectl", verb, "-f", "-"]
    subprocess.run(command, env=lab.plane.env(), input=documents, text=True, check=True, capture_output=True, timeout=60)


def used_by(alice: KubernetesCluster, lab: Lab) -> None:
    """Submit, wait, cancel and look around with nothing but the printed rules."""
    ends = time.monotonic() + PATIENCE
    while True:  # an authorizer learns of new rules within a second or so
        try:
            job = alice.launch(lab.submission(plays={"run-seconds": "0.2"})).job
            break
        except GpuctlError:
            assert time.monotonic() < ends
            time.sleep(0.3)
    (ended,) = alice.wait([job.name], stop=threading.Event(), timeout=PATIENCE)
    assert ended.state is State.SUCCEEDED
    held = alice.launch(lab.submission(hold=True)).job
    assert alice.stop(held.name).job.state is State.CANCELLED
    assert [node.gpus_free is not None for node in alice.nodes().items] == [True, True]
    assert [line.text for line in alice.checks() if line.name == "access" and line.verdict == "problem"] == []


def test_two_names_of_one_cluster_are_one_place(lab: Lab) -> None:
    other = lab.again(f"{lab.plane.name}-cert")
    assert other.uid == lab.cluster.uid
