"""Pods on nodes that are not there: the watch sees them live, and their logs stream."""

import threading
import time
from typing import Any

from gpuctl.kube.api import Api
from gpuctl.kube.objects.jobs import Job
from gpuctl.kube.objects.meta import is_true
from gpuctl.kube.objects.nodes import Node
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.resources import CONFIG_MAPS, JOBS, NODES, PODS
from tests.integration.control_plane import ControlPlane
from tests.integration.fake_nodes import FakeNodes


def job(name: str, *, pods: int, gpus: int = 8, **annotations: str) -> dict[str, Any]:
    container = {"name": "main", "image": "none", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    notes = {f"fake/{key.replace('_', '-')}": value for key, value in annotations.items()}
    template = {"metadata": {"annotations": notes}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"parallelism": pods, "completions": pods, "completionMode": "Indexed", "backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def ended(api: Api, path: str, kind: str) -> Job:
    limit = time.monotonic() + 30
    while True:
        found = api.get(path, Job)
        if is_true(found.status.conditions, kind):
            return found
        assert time.monotonic() < limit, found.status
        time.sleep(0.2)


def test_a_job_runs_on_nodes_that_are_not_there(alpha: ControlPlane) -> None:
    api = alpha.api(namespace=alpha.namespace("runs"))
    with FakeNodes(api, "runs", 2, labels={"gpuctl.io/tier": "reserved"}) as nodes:
        node = api.get(NODES.path(name=nodes.names[0]), Node)
        assert node.status.allocatable is not None
        assert node.status.allocatable["nvidia.com/gpu"] == "8"
        assert is_true(node.status.conditions, "Ready")
        where = JOBS.path("runs")
        api.create(where, job("good", pods=2, log="one\ntwo", run_seconds="0.3"), Job)
        done = ended(api, f"{where}/good", "Complete")
        assert done.status.succeeded == 2
        assert done.status.completed_indexes == "0,1"
        pods = api.list(PODS.path("runs"), Pod, params={"labelSelector": "job-name=good"})
        assert {pod.spec.node_name for pod in pods} <= set(nodes.names)
        name = pods.items[0].metadata.name
        assert api.text(PODS.path("runs", name, "log")) == "one\ntwo\n"
        with api.stream(PODS.path("runs", name, "log"), params={"timestamps": True, "tailLines": 1}) as chunks:
            assert b"".join(chunks).endswith(b"Z two\n")
        api.create(where, job("bad", pods=1, exit_code="137", reason="OOMKilled", run_seconds="0.2"), Job)
        ended(api, f"{where}/bad", "Failed")
        bad = api.list(PODS.path("runs"), Pod, params={"labelSelector": "job-name=bad"}).items[0]
        assert bad.ended
        assert bad.status.container_statuses is not None
        state = bad.status.container_statuses[0].state
        assert state is not None
        assert state.terminated is not None
        assert (state.terminated.exit_code, state.terminated.reason) == (137, "OOMKilled")


def test_a_watch_sees_every_change_over_a_restart_of_the_server(beta: ControlPlane) -> None:
    api = beta.api(namespace="default")
    where = CONFIG_MAPS.path("default")
    listing = api.list(where, Pod)
    stopping = threading.Event()
    seen: list[tuple[str, str]] = []

    def follow() -> None:
        nonlocal seen
        for change in api.watch(where, Pod, resource_version=listing.resource_version, stop=stopping.is_set):
            if change.object is not None:
                seen += [(change.kind, change.object.metadata.name)]

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        expected = []
        for index in range(6):
            if index == 3:
                beta.stop_api()
                beta.start_api()
            name = f"seen-{index}"
            api.create(where, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}, Pod)
            api.delete(f"{where}/{name}")
            expected += [("ADDED", name), ("DELETED", name)]
        limit = time.monotonic() + 40
        while seen != expected and time.monotonic() < limit:
            time.sleep(0.1)
        assert seen == expected
    finally:
        stopping.set()
        began = time.monotonic()
        follower.join(10)
    assert not follower.is_alive()
    assert time.monotonic() - began < 3


def test_a_watch_from_nothing_begins_with_the_whole(alpha: ControlPlane) -> None:
    api = alpha.api()
    first = next(iter(api.watch("/api/v1/namespaces", Pod, resource_version="", stop=lambda: False)))
    assert first.kind == "REPLACED"
    assert first.listing is not None
    assert {"default", "kube-system"} <= {each.metadata.name for each in first.listing}
