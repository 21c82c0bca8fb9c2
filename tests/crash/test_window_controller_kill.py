"""kill -9 of a window controller before and after every write: the next one goes on, no node has two owners or none."""

import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from gpuctl.kube.api import open_api
from tests.fakes.kube_api import ENGINES, KINDS, SCHEDULES, FakeApi, Server
from tests.fakes.kube_world import NODES, PODS, node
from tests.unit.controllers.conftest import Desk

SCHEDULES_PATH = "/apis/gpuctl.io/v1alpha1/poolschedules"
QUEUES, FLAVORS = "/apis/kueue.x-k8s.io/v1beta2/clusterqueues", "/apis/kueue.x-k8s.io/v1beta2/resourceflavors"
LEASES = "/apis/coordination.k8s.io/v1/leases"
PRODUCT = "NVIDIA-H100-80GB-HBM3"
MOST_WRITES = 40


def world() -> FakeApi:
    """Team-a's nodes whose window has ended: closed half an hour ago, one with a job on it; team-b's quota is still to rise."""
    api = FakeApi(groups={**KINDS, **SCHEDULES, **ENGINES})
    for name in ("team-a", "team-b", "gpuctl-system"):
        api.put("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": name, "labels": {"gpuctl.io/team": name}}})
    since = (datetime.now(timezone.utc) - timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name in ("n0", "n1"):
        made = node(name, 8, PRODUCT, **{"gpuctl.io/owner-team": "team-a", "gpuctl.io/schedule": "pool"})
        made["metadata"]["annotations"] = {"gpuctl.io/window-closing-since": since}
        taints = {"gpuctl.io/owner": "team-a", "gpuctl.io/window-closing": "team-b"}
        made["spec"]["taints"] = [{"key": key, "value": value, "effect": "NoSchedule"} for key, value in taints.items()]
        api.put(NODES, made)
    # The last change was a minute ago, at a minute's beginning: a window of team-a that has just ended.
    ended = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    start = ended - timedelta(hours=2)
    window = {"name": "w", "owner": "team-a", "start": f"{start.minute} {start.hour} * * *", "duration": "2h"}
    spec = {"pool": {}, "timeZone": "UTC", "defaultOwner": "team-b", "windows": [window]}
    api.put(SCHEDULES_PATH, {"kind": "PoolSchedule", "metadata": {"name": "pool", "generation": 1}, "spec": spec})
    labels = {"gpuctl.io/job-id": "abc", "gpuctl.io/attempt": "1"}
    job = {"kind": "Job", "metadata": {"name": "train", "labels": labels, "annotations": {"gpuctl.io/spec": "{}"}}}
    api.put("/apis/batch/v1/jobs", job, namespace="team-a")
    container = {"name": "main", "resources": {"requests": {"nvidia.com/gpu": "8"}}}
    pod = {"metadata": {"name": "train-0", "labels": labels}, "spec": {"nodeName": "n0", "containers": [container]}}
    api.put(PODS, {**pod, "kind": "Pod", "status": {"phase": "Running"}}, namespace="team-a")
    api.put(FLAVORS, {"metadata": {"name": "h100"}, "spec": {"nodeLabels": {"nvidia.com/gpu.product": PRODUCT}}})
    for team, nominal in (("team-a", 16), ("team-b", 0)):
        resources = [{"name": "nvidia.com/gpu", "nominalQuota": str(nominal)}]
        groups = [{"coveredResources": ["nvidia.com/gpu"], "flavors": [{"name": "h100", "resources": resources}]}]
        meta = {"name": team, "labels": {"gpuctl.io/team": team, "gpuctl.io/window-quota": "true"}}
        api.put(QUEUES, {"kind": "ClusterQueue", "metadata": meta, "spec": {"resourceGroups": groups}})
    return api


def quotas(api: FakeApi) -> dict[str, int]:
    def of(queue: dict[str, Any]) -> int:
        return int(queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0]["nominalQuota"])

    return {each["metadata"]["name"]: of(each) for each in api.all(QUEUES)}


def owners(api: FakeApi) -> dict[str, tuple[str, list[str]]]:
    """Label and owner taints of every node."""
    return {
        each["metadata"]["name"]: (
            each["metadata"]["labels"].get("gpuctl.io/owner-team", ""),
            [taint["value"] for taint in each["spec"].get("taints") or [] if taint["key"] == "gpuctl.io/owner"],
        )
        for each in api.all(NODES)
    }


class Laws:
    """Looks at everything after every write."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.broken: list[str] = []
        self.switched: list[str] = []

    def hold(self) -> None:
        for name, (label, taints) in owners(self.api).items():
            if taints != [label]:
                self.broken.append(f"{name} is {label}'s and lets in {taints}")
            busy = any(pod["spec"]["nodeName"] == name for pod in self.api.all(PODS))
            if label == "team-b" and busy:
                self.broken.append(f"{name} went to team-b while team-a's pod was there")
        if sum(quotas(self.api).values()) > 16:
            self.broken.append(f"{quotas(self.api)} are more than there is")


def run(server: Server, tmp_path: Path, *, kill_at: int | None, after: bool, laws: Laws) -> bool:
    """One look in a process of its own, killed at its ``kill_at``-th write; whether it came to its end."""
    api = server.api
    writes, lock = 0, threading.Lock()
    process: list[subprocess.Popen[bytes]] = []
    answer = api.answer

    def counted(method: str, target: str, body: bytes, content: str) -> tuple[int, Any]:
        nonlocal writes
        if method == "GET" or "leases" in target:
            return answer(method, target, body, content)
        with lock:
            writes += 1
            if writes == kill_at and not after:
                os.kill(process[0].pid, signal.SIGKILL)
            if kill_at is not None and (writes > kill_at or (writes == kill_at and not after)):
                return 500, {"kind": "Status", "status": "Failure", "message": "nobody is there to hear it", "code": 500}
            found = answer(method, target, body, content)
            laws.hold()
            if writes == kill_at:
                os.kill(process[0].pid, signal.SIGKILL)
            return found

    api.answer = counted  # type: ignore[method-assign]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "KUBECONFIG": str(server.kubeconfig)}
    command = [sys.executable, "-m", "gpuctl", "controller", "windows", "--once"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as started:
        process.append(started)
        _, said = started.communicate(timeout=60)
    api.answer = answer  # type: ignore[method-assign]
    assert started.returncode in (0, -signal.SIGKILL), said.decode()
    for lease in api.all(LEASES):
        api.remove(LEASES, ("gpuctl-system", lease["metadata"]["name"]))  # it has run out
    return started.returncode == 0


def go_on(server: Server, tmp_path: Path, laws: Laws) -> None:
    """The next leader, in this process: three looks."""
    env = {"KUBECONFIG": str(server.kubeconfig), "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    opened = open_api(None, env=env)
    desk = Desk(opened)
    for _ in range(3):
        desk.look(datetime.now(timezone.utc))
        laws.hold()
    opened.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.timeout(300)
def test_killed_at_every_write_the_next_one_goes_on(tmp_path: Path, after: bool) -> None:
    for kill_at in range(1, MOST_WRITES):
        api = world()
        server = Server(api, tmp_path)
        laws = Laws(api)
        ended = run(server, tmp_path, kill_at=kill_at, after=after, laws=laws)
        go_on(server, tmp_path, laws)
        server.close()
        assert laws.broken == [], kill_at
        assert owners(api) == {name: ("team-b", ["team-b"]) for name in ("n0", "n1")}, kill_at
        assert quotas(api) == {"team-a": 0, "team-b": 16}, kill_at
        assert api.all(PODS) == []
        (job,) = api.all("/apis/batch/v1/jobs")
        assert job["metadata"]["annotations"]["gpuctl.io/window-next-owner"] == "team-b"
        if ended:
            assert kill_at > 6, "so few writes cannot be all"
            return
    raise AssertionError("it never came to its end")
