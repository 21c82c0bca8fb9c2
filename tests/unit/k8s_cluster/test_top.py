"""What running jobs use: the real shell program over a made-up ``/proc``, and what is unknown when something cannot be read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpuctl.base import clock
from gpuctl.clusters.kubernetes import top
from gpuctl.clusters.kubernetes.cluster import KubernetesCluster
from gpuctl.clusters.kubernetes.streams import inside
from gpuctl.clusters.kubernetes.streams.inside import Gpu, Rank
from gpuctl.kube.errors import Forbidden
from gpuctl.model.ask import Submission
from tests.fakes.kube_api import FakeApi
from tests.unit.k8s_cluster.test_usage import pod_of
from tests.unit.k8s_streams.container import Containers

GI, MI = 1 << 30, 1 << 20
Make = Callable[..., Submission]
SMI = "0, 97, 40960, 81559\n1, 3, 1024, 81559\n"
METRICS = {("metrics.k8s.io", "v1beta1"): [("pods", "PodMetrics", True)]}


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Containers:
    """What is to run in a pod runs here, and finds a ``/proc`` of the test's own."""
    (tmp_path / "pod").mkdir()
    made = Containers(tmp_path / "pod")
    (made.proc / "uptime").write_text("1000.00 5000.00\n")
    (tmp_path / "bin").mkdir()
    made.env["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    monkeypatch.setattr(inside, "exec_", made.start)
    return made


def smi(containers: Containers, text: str, code: int = 0) -> None:
    program = Path(containers.env["PATH"].partition(":")[0]) / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {code}\n")
    program.chmod(0o755)


def process(containers: Containers, pid: int, *, pages: int = 256, **env: str) -> None:
    containers.process(pid, containers.work, **env)
    fields = ["0"] * 50
    fields[21] = str(pages)  # rss, behind the name
    (containers.proc / str(pid) / "stat").write_text(f"{pid} (a b) c) S {' '.join(fields[1:])}\n")


@pytest.fixture
def gang(api: FakeApi, cluster: KubernetesCluster, submission: Make, containers: Containers) -> str:
    """A running job of one node, two GPUs, a rank each; its log wrote something just now."""
    name = cluster.launch(submission(gpus=2, per="gpu")).job.name
    pod_of(api, name, 0, bound=clock.now())
    api.logs = lambda _container, _pod: clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f000Z hello\n").encode()
    process(containers, 7, GPUCTL_JOB=name, GPUCTL_POD_ROLE="node")  # the in-pod program
    process(containers, 8, GPUCTL_JOB=name, RANK="0", LOCAL_RANK="0")
    process(containers, 9, GPUCTL_JOB=name, RANK="1", LOCAL_RANK="1")
    process(containers, 10, GPUCTL_JOB=name, RANK="1", LOCAL_RANK="1", pages=100)
    process(containers, 11, OTHER="x")
    return name


def test_each_rank_has_its_processes_and_its_gpu(cluster: KubernetesCluster, containers: Containers, gang: str) -> None:
    smi(containers, SMI)
    listing = cluster.top(gang)
    assert listing.incomplete == {}
    page = os.sysconf("SC_PAGESIZE")
    first, second = listing.items
    assert (first.rank, first.device, first.gpus, first.gpu, first.gpu_memory, first.gpu_memory_total) == (
        0,
        0,
        1,
        97,
        40960 * MI,
        81559 * MI,
    )
    assert (second.rank, second.device, second.gpu, second.processes, second.memory) == (1, 1, 3, 2, 356 * page)
    assert (first.processes, first.memory, first.cpu, first.node) == (1, 256 * page, 0.0, "node-0")
    assert first.silent_for is not None
    assert 0 <= first.silent_for < 60


def test_all_my_jobs_have_a_row_each(cluster: KubernetesCluster, containers: Containers, gang: str) -> None:
    smi(containers, SMI)
    (row,) = cluster.top(None).items
    assert (row.job, row.rank, row.gpus, row.gpu, row.gpu_memory, row.processes) == (gang, None, 2, 50, 41984 * MI, 3)


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        (None, 0, "the image has no nvidia-smi"),
        ("Failed to initialize NVML: Driver/library version mismatch\n", 18, "nvidia-smi: Failed to initialize NVML"),
        ("", 0, "nvidia-smi shows no GPU"),
        (SMI + "2, 1, 1, 81559\n", 0, "its container sees 3 and holds 2"),
    ],
)
def test_gpus_that_cannot_be_read_are_unknown_and_said(
    cluster: KubernetesCluster, containers: Containers, gang: str, text: str | None, code: int, why: str
) -> None:
    if text is not None:
        smi(containers, text, code)
    for rows in (cluster.top(gang), cluster.top(None)):
        assert list(rows.incomplete) == ["lab"]
        assert why in rows.incomplete["lab"]
        for row in rows.items:
            assert (row.gpu, row.gpu_memory, row.gpu_memory_total) == (None, None, None)
            assert row.processes


def test_fields_that_the_driver_does_not_tell_are_unknown(cluster: KubernetesCluster, containers: Containers, gang: str) -> None:
    smi(containers, "0, [N/A], 10, [Not Supported]\n1, 3, 20, 81559\n")
    first, _ = cluster.top(gang).items
    assert (first.gpu, first.gpu_memory, first.gpu_memory_total) == (None, 10 * MI, None)
    (row,) = cluster.top(None).items
    assert (row.gpu, row.gpu_memory, row.gpu_memory_total) == (None, 30 * MI, None), "a half-known sum is none"


def test_where_exec_is_forbidden_metrics_tell_what_they_can(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.groups |= METRICS
    name = cluster.launch(submission(gpus=1)).job.name
    pod_of(api, name, 0, bound=clock.now())
    labels = {"gpuctl.io/job-id": cluster.job(name).id}
    usage = {"cpu": "2500m", "memory": "3Gi"}
    api.put(
        "/apis/metrics.k8s.io/v1beta1/pods",
        {"metadata": {"name": f"{name}-0", "labels": labels}, "containers": [{"name": "main", "usage": usage}]},
        namespace="ml",
    )

    def forbidden(*_args: Any, **_options: Any) -> Any:
        raise Forbidden("exec in pod is forbidden", code="forbidden", cause="the verb create on pods/exec is missing")

    monkeypatch.setattr(inside, "exec_", forbidden)
    for listing in (cluster.top(name), cluster.top(None)):
        (row,) = listing.items
        assert (row.cpu, row.memory, row.gpu, row.processes, row.gpus) == (250.0, 3 * GI, None, None, 1)
        assert "the verb create on pods/exec is missing" in listing.incomplete["lab"]


def test_a_pod_that_does_not_tell_in_time_is_unknown(
    cluster: KubernetesCluster, containers: Containers, gang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "WITHIN_S", 0.3)
    containers.change = lambda argv: ["sleep", "30"]
    listing = cluster.top(gang)
    assert "did not tell in 0.3 s" in listing.incomplete["lab"]
    assert [(row.cpu, row.memory, row.gpu, row.processes) for row in listing.items] == [(None,) * 4] * 2


def test_only_so_many_pods_are_looked_into(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top, "MOST_PODS", 1)
    name = cluster.launch(submission(nodes=3, gpus=0)).job.name
    for index in range(3):
        pod_of(api, name, index, bound=clock.now())
    listing = cluster.top(name)
    assert listing.incomplete == {"lab": "only 1 of 3 pods are looked into (and 1 more pods)"}
    assert len(listing.items) == 3
    (row,) = cluster.top(None).items
    assert (row.cpu, row.gpus, row.node) == (None, 0, "node-0 and 2 more")


def test_what_does_not_run_has_no_rows(api: FakeApi, cluster: KubernetesCluster, submission: Make, containers: Containers) -> None:
    assert cluster.top(None).items == ()
    name = cluster.launch(submission(gpus=1)).job.name
    assert cluster.top(name).items == ()
    pod_of(api, name, 0, bound=None)
    assert (cluster.top(name).items, cluster.top(None).items) == ((), ())
    assert containers.sessions == []


def test_two_looks_make_a_rate() -> None:
    text = "k 100 4096\nu 10.00\np 0 5 100 7\np - 4 10 1\nu 10.50\np 0 5 150 8\np - 4 10 1\np 1 6 3 2\ng 0, 5, 1, 2\n"
    seen = inside.read(text, gpus=True)
    assert seen.ranks == (Rank(None, 0.0, 4096, 1), Rank(0, 100.0, 8 * 4096, 1), Rank(1, 0.0, 2 * 4096, 1))
    assert (seen.gpus, seen.why) == ((Gpu(0, 5, MI, 2 * MI),), "")


@pytest.mark.parametrize("text", ["", "k\n", "u x\nrubbish\n", "p 0 1 2 3\n", "k a b\nu 1\np 0 x y z\nu 2\n"])
def test_rubbish_is_nothing_known(text: str) -> None:
    assert inside.read(text, gpus=False) == inside.Inside((), ())
