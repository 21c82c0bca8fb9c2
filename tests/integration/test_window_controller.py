"""The window controller on a real control plane: real evictions, real disruption budgets, a real scheduler, replicas that are stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpuctl.controllers.manifests.definition import definition
from gpuctl.controllers.windows.objects import WatchedNode, WatchedPod
from gpuctl.kube.api import Api
from gpuctl.kube.errors import NotFound
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import NODES, PODS, Resource
from tests.integration.control_plane import ControlPlane
from tests.integration.fake_nodes import FakeNodes

if TYPE_CHECKING:
    from typing_extensions import Self

SCHEDULES = Resource("gpuctl.io", "v1alpha1", "poolschedules", "PoolSchedule", namespaced=False)
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
OWNER = "gpuctl.io/owner-team"
PATIENCE_S = 120.0


def until(what: Callable[[], Any], why: str) -> Any:
    ends = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < ends, why
        time.sleep(0.1)
    return found


@pytest.fixture
def plane(alpha: ControlPlane) -> ControlPlane:
    alpha.kubectl("apply", "--server-side", "-f", _file(alpha, definition()))
    for name in ("gpuctl-system", "team-a", "platform"):
        alpha.namespace(name)
        alpha.kubectl("label", "--overwrite", "namespace", name, f"gpuctl.io/team={name}")
    return alpha


def _file(plane: ControlPlane, body: dict[str, Any]) -> str:
    path = plane.directory / f"{body['kind']}.json"
    path.write_text(json.dumps(body))
    return str(path)


@pytest.fixture
def nodes(plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    prefix = re.sub(r"[^a-z0-9]", "", request.node.name)[-12:]
    with FakeNodes(plane.api(), prefix, 2, labels={"windows": prefix}) as made:
        yield made.names
    for name in (prefix,):
        try:
            plane.api().delete(SCHEDULES.path(name=name))
        except NotFound:
            pass


def schedule(api: Api, nodes: list[str]) -> None:
    """Team-a owns the nodes for hours, then the platform."""
    name = nodes[0].rpartition("-")[0]
    body = {
        "apiVersion": SCHEDULES.api_version,
        "kind": "PoolSchedule",
        "metadata": {"name": name},
        "spec": _spec(name, _began(), 5 * 3600),
    }
    api.create(SCHEDULES.path(), body, Object)


def ends_in(api: Api, nodes: list[str], *, seconds: int) -> datetime:
    """Let the window end in so many seconds; the instant. A slow machine must not make it end before the test is there."""
    name = nodes[0].rpartition("-")[0]
    began = _began()
    length = max(60, int((datetime.now(timezone.utc) - began).total_seconds()) + seconds)
    api.patch(SCHEDULES.path(name=name), {"spec": _spec(name, began, length)}, Object)
    return began + timedelta(seconds=length)


def _began() -> datetime:
    return datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


def _spec(name: str, began: datetime, length: int) -> dict[str, Any]:
    drain = {"notify": "30s", "lead": "15s", "grace": "5s"}
    window = {"name": "now", "owner": "team-a", "start": f"0 {began.hour} * * *", "duration": f"{length}s", "drain": drain}
    return {"pool": {"nodeSelector": {"windows": name}}, "timeZone": "UTC", "defaultOwner": "platform", "windows": [window]}


def pod(api: Api, name: str, team: str, node: str | None = None, **labels: str) -> None:
    container = {"name": "main", "image": "none", "resources": {"limits": {"nvidia.com/gpu": 8}}}
    toleration = {"key": "gpuctl.io/owner", "operator": "Equal", "value": team, "effect": "NoSchedule"}
    spec = {"containers": [container], "restartPolicy": "Never", "tolerations": [toleration], "terminationGracePeriodSeconds": 5}
    if node is not None:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}  # type: ignore[assignment]
    meta = {"name": name, "labels": labels, "annotations": {"fake/run-seconds": "-1"}}
    api.create(PODS.path(team), {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, Object)


@contextmanager
def controller(plane: ControlPlane, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "gpuctl", "controller", "windows", "--context", plane.name, "--listen", "none", "--log-format", "json"]
    with log.open("ab") as out, subprocess.Popen(command, env=plane.env(), stderr=out) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            process.wait(30)


class Watcher:
    """Sees every version of the nodes and pods: two owners at once, a node without one, a pod of one beside a pod of the other."""

    def __init__(self, api: Api, nodes: list[str]) -> None:
        self._api = api
        self._nodes = set(nodes)
        self._stop = threading.Event()
        self.switches: list[tuple[datetime, str, str]] = []
        self.broken: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Self":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        before: dict[str, str] = {}
        for change in self._api.watch(NODES.path(), WatchedNode, resource_version="", stop=self._stop.is_set):
            for each in change.listing or ([change.object] if change.object is not None else []):
                if each.metadata.name not in self._nodes or change.kind == "DELETED":
                    continue
                label = each.metadata.label(OWNER)
                taints = [taint["value"] for taint in each.spec.taints or [] if taint["key"] == "gpuctl.io/owner"]
                if taints != ([label] if label else []):
                    self.broken.append(f"{each.metadata.name}: {label!r} and {taints}")
                if label != before.get(each.metadata.name, ""):
                    self.switches.append((datetime.now(timezone.utc), each.metadata.name, label))
                    before[each.metadata.name] = label


def owners(api: Api, nodes: list[str]) -> set[str]:
    return {api.get(NODES.path(name=name), WatchedNode).metadata.label(OWNER) for name in nodes}


def phase(api: Api, team: str, name: str) -> str:
    try:
        found = api.get(PODS.path(team, name), WatchedPod)
    except NotFound:
        return ""
    return "Ending" if found.metadata.deletion_timestamp is not None else found.status.phase


def test_a_window_ends_and_a_disruption_budget_holds_until_the_instant(plane: ControlPlane, nodes: list[str], tmp_path: Path) -> None:
    api = plane.api(namespace="team-a")
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"keep": "me"}}}
    api.create(
        BUDGETS.path("team-a"), {"apiVersion": "policy/v1", "kind": BUDGETS.kind, "metadata": {"name": "keep"}, "spec": budget}, Object
    )
    with Watcher(api, nodes) as seen, controller(plane, tmp_path / "log"):
        schedule(api, nodes)
        until(lambda: owners(api, nodes) == {"team-a"}, "the nodes are team-a's")
        pod(api, "kept", "team-a", nodes[0], keep="me")
        pod(api, "plain", "team-a", nodes[1])
        until(lambda: phase(api, "team-a", "kept") == phase(api, "team-a", "plain") == "Running", "both run")
        ends = ends_in(api, nodes, seconds=35)
        pod(api, "next", "platform", nodes[0])
        until(lambda: phase(api, "team-a", "plain") in ("Ending", ""), "what nothing protects is evicted")
        assert datetime.now(timezone.utc) < ends
        while datetime.now(timezone.utc) < ends - timedelta(seconds=1):
            assert phase(api, "team-a", "kept") == "Running"
            assert phase(api, "platform", "next") == "Pending"
            time.sleep(0.2)
        until(lambda: owners(api, nodes) == {"platform"}, "the nodes are the platform's")
        until(lambda: phase(api, "platform", "next") == "Running", "the next owner's pod runs")
        assert phase(api, "team-a", "kept") == ""
    assert seen.broken == []
    assert [owner for _, _, owner in seen.switches] == ["team-a", "team-a", "platform", "platform"]
    told = plane.kubectl("get", "events", "-n", "team-a", "-o", "jsonpath={range .items[*]}{.reason} {end}")
    assert "WindowEnds" in told
    assert "WindowCut" in told
    api.delete(PODS.path("platform", "next"), grace_s=0)
    api.delete(BUDGETS.path("team-a", "keep"))


def test_two_replicas_one_stopped_and_resumed_act_once(plane: ControlPlane, nodes: list[str], tmp_path: Path) -> None:
    api = plane.api(namespace="team-a")
    logs = [tmp_path / "one", tmp_path / "two"]
    with Watcher(api, nodes) as seen, controller(plane, logs[0]) as one:
        until(lambda: "leads now" in logs[0].read_text(), "the first one leads")
        with controller(plane, logs[1]):
            schedule(api, nodes)
            until(lambda: owners(api, nodes) == {"team-a"}, "the nodes are team-a's")
            ends = ends_in(api, nodes, seconds=25)
            one.send_signal(signal.SIGSTOP)
            pod(api, "job", "team-a", nodes[0])
            until(lambda: "leads now" in logs[1].read_text(), "the second one follows")
            until(lambda: owners(api, nodes) == {"platform"}, "the second one switches")
            one.send_signal(signal.SIGCONT)
            until(lambda: "leads no longer" in logs[0].read_text(), "the first one knows that it leads no longer")
            time.sleep(3)
    assert datetime.now(timezone.utc) > ends
    assert seen.broken == []
    assert [owner for _, _, owner in seen.switches] == ["team-a", "team-a", "platform", "platform"]
    first, second = (path.read_text() for path in logs)
    assert first.count("node changed hands") == 2
    assert second.count("node changed hands") == 2
    assert "pod asked to end" not in first


def test_killed_after_everything_it_does_it_gets_there(plane: ControlPlane, nodes: list[str], tmp_path: Path) -> None:
    api = plane.api(namespace="team-a")
    log = tmp_path / "log"
    log.touch()

    def deeds() -> int:
        return len(re.findall("node closed|node changed hands|pod asked to end|job told", log.read_text()))

    with Watcher(api, nodes) as seen:
        with controller(plane, log):
            schedule(api, nodes)
            until(lambda: owners(api, nodes) == {"team-a"}, "the nodes are team-a's")
            pod(api, "again", "team-a", nodes[0])
            until(lambda: phase(api, "team-a", "again") == "Running", "it runs")
            ends = ends_in(api, nodes, seconds=20)
        kills = 0
        while owners(api, nodes) != {"platform"}:
            assert datetime.now(timezone.utc) < ends + timedelta(seconds=PATIENCE_S), log.read_text()
            _expire(api)
            before = deeds()
            with controller(plane, log) as process:
                started = time.monotonic()
                while deeds() == before and time.monotonic() - started < 20 and owners(api, nodes) != {"platform"}:
                    time.sleep(0.02)
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
    assert kills >= 2
    assert seen.broken == []
    assert [owner for _, _, owner in seen.switches] == ["team-a", "team-a", "platform", "platform"]
    assert phase(api, "team-a", "again") == ""


def _expire(api: Api) -> None:
    """Take the Lease of a killed leader away: waiting for its end would only make the test longer."""
    try:
        api.delete("/apis/coordination.k8s.io/v1/namespaces/gpuctl-system/leases/gpuctl-window-controller")
    except NotFound:
        pass
