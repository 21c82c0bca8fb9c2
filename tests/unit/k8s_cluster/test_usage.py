"""GPU time from what a cluster still has: bound pods, jobs whose pods are gone, and what is not known."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from gpuctl.base import clock
from gpuctl.base.clock import rfc3339
from gpuctl.clusters.kubernetes import usage
from gpuctl.clusters.kubernetes.cluster import KubernetesCluster
from gpuctl.model.ask import JobQuery, Submission
from gpuctl.model.job import State
from gpuctl.model.spec import ArraySpec
from tests.fakes.kube_api import FakeApi, Refusal

JOBS, PODS = "/apis/batch/v1/jobs", "/api/v1/pods"
Make = Callable[..., Submission]
NOW = clock.now().replace(microsecond=0)
NOON = (NOW - timedelta(days=2)).replace(hour=12, minute=0, second=0)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage.clock, "now", lambda: NOW)


def job_of(api: FakeApi, name: str) -> dict[str, Any]:
    """The job's object, as if it had been submitted some days ago."""
    (found,) = [each for each in api.all(JOBS) if each["metadata"]["labels"]["gpuctl.io/job"] == name]
    found["metadata"]["creationTimestamp"] = rfc3339(NOON - timedelta(days=1))
    return api.put(JOBS, found)


def pod_of(api: FakeApi, name: str, index: int, *, bound: datetime | None, ended: datetime | None = None, code: int = 0) -> None:
    """A pod of the job: bound and perhaps ended then."""
    job = job_of(api, name)
    template = job["spec"]["template"]
    mark = {"batch.kubernetes.io/job-completion-index": str(index)}
    state: dict[str, Any] = {"running": {"startedAt": rfc3339(bound)}} if bound is not None else {}
    if ended is not None:
        state = {"terminated": {"exitCode": code, "finishedAt": rfc3339(ended)}}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"], "controller": True}
    status: dict[str, Any] = {"phase": "Pending" if bound is None else "Running" if ended is None else "Failed" if code else "Succeeded"}
    if bound is not None:
        status["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(bound)}]
        status["containerStatuses"] = [{"name": "main", "state": state}]
    pod = {
        "metadata": {
            "name": f"{name}-{index}",
            "labels": {**template["metadata"]["labels"], **mark},
            "annotations": mark,
            "ownerReferences": [owner],
        },
        "spec": {**template["spec"], **({"nodeName": f"node-{index}"} if bound is not None else {})},
        "status": status,
    }
    api.put(PODS, pod, namespace="ml")


def concluded(api: FakeApi, name: str, kind: str, *, started: datetime, at: datetime) -> None:
    condition = {"type": kind, "status": "True", "reason": kind, "lastTransitionTime": rfc3339(at)}
    status = {"startTime": rfc3339(started), "conditions": [condition]}
    if kind == "Complete":
        status["completionTime"] = rfc3339(at)
    api.put(JOBS, {**job_of(api, name), "status": status})


def table(cluster: KubernetesCluster, **query: Any) -> list[tuple[str, str, int, int]]:
    rows = cluster.usage(JobQuery(**{"since": NOW - timedelta(days=6), **query})).items
    assert {row.cluster for row in rows} <= {"lab"}
    return [(row.day, row.state, row.jobs, row.gpu_seconds) for row in rows]


def day(at: datetime) -> str:
    return at.astimezone(timezone.utc).strftime("%Y-%m-%d")


def test_pods_count_from_their_node_to_their_end(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission(nodes=2, gpus=8)).job.name
    pod_of(api, name, 0, bound=NOON, ended=NOON + timedelta(hours=1))
    pod_of(api, name, 1, bound=NOON + timedelta(minutes=10), ended=NOON + timedelta(minutes=70))
    concluded(api, name, "Complete", started=NOON - timedelta(hours=5), at=NOON + timedelta(hours=2))
    assert table(cluster) == [(day(NOON), "succeeded", 1, 2 * 8 * 3600)]


def test_over_midnight_both_days_have_their_part_and_since_cuts(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission(gpus=1)).job.name
    pod_of(api, name, 0, bound=NOON, ended=NOON + timedelta(hours=20))
    concluded(api, name, "Complete", started=NOON, at=NOON + timedelta(hours=20))
    tomorrow = day(NOON + timedelta(days=1))
    assert table(cluster) == [(day(NOON), "succeeded", 1, 12 * 3600), (tomorrow, "succeeded", 1, 8 * 3600)]
    assert table(cluster, since=NOON + timedelta(hours=13)) == [(tomorrow, "succeeded", 1, 7 * 3600)]
    assert table(cluster, since=NOON + timedelta(hours=21)) == []


def test_what_runs_counts_until_now_and_what_waits_not_at_all(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission(gpus=4)).job.name
    pod_of(api, name, 0, bound=NOW - timedelta(seconds=100))
    waits = cluster.launch(submission(gpus=4)).job.name
    pod_of(api, waits, 0, bound=None)
    rows = table(cluster)
    assert sum(row[3] for row in rows) == 400
    assert {row[1] for row in rows} == {"running"}


def test_pods_that_are_gone_count_as_their_job(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission(nodes=2, gpus=8)).job.name
    pod_of(api, name, 0, bound=NOON, ended=NOON + timedelta(minutes=30), code=3)
    concluded(api, name, "Failed", started=NOON, at=NOON + timedelta(minutes=30))
    assert table(cluster) == [(day(NOON), "failed", 1, 2 * 8 * 1800)]


def test_tasks_of_an_array_count_each_for_itself(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission(gpus=2, array=ArraySpec(last=3))).job.name
    for index in range(3):
        pod_of(api, name, index, bound=NOON, ended=NOON + timedelta(minutes=10 * (index + 1)))
    assert sum(row[3] for row in table(cluster)) == 2 * 60 * (10 + 20 + 30)


def test_filters(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission(gpus=1)).job.name
    pod_of(api, name, 0, bound=NOON, ended=NOON + timedelta(hours=1))
    concluded(api, name, "Complete", started=NOON, at=NOON + timedelta(hours=1))
    me = cluster.job(name).user
    assert table(cluster, user=me) == table(cluster, user="all") != []
    assert table(cluster, user="bert") == table(cluster, team="vision") == table(cluster, labels={"a": "b"}) == []
    assert table(cluster, states=frozenset({State.FAILED})) == []


def test_what_the_cluster_has_forgotten_is_said(cluster_of: Callable[..., KubernetesCluster]) -> None:
    cluster = cluster_of(ttl="3d")
    for since in (timedelta(days=2), timedelta(days=3, seconds=2)):
        assert cluster.usage(JobQuery(since=NOW - since)).incomplete == {}
    for query in (JobQuery(since=NOW - timedelta(days=30)), JobQuery()):
        assert cluster.usage(query).incomplete == {"lab": "what jobs used that ended more than 3d ago: the cluster has forgotten them"}


def test_pods_that_may_not_be_listed_are_replaced_by_their_jobs_times(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission(nodes=2, gpus=8)).job.name
    pod_of(api, name, 0, bound=NOON, ended=NOON + timedelta(minutes=1))
    concluded(api, name, "Complete", started=NOON, at=NOON + timedelta(hours=1))

    def trouble(method: str, path: str) -> None:
        if "/pods" in path:
            raise Refusal(403, "Forbidden", "pods is forbidden")

    api.trouble = trouble
    listing = cluster.usage(JobQuery(since=NOW - timedelta(days=6)))
    assert sum(row.gpu_seconds for row in listing.items) == 2 * 8 * 3600
    assert listing.incomplete["lab"].endswith("so GPUs count from start to end of their jobs")
