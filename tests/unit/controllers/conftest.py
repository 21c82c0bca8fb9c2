"""A cluster in memory with three GPU nodes and a schedule: team-a's by night, the platform's by day."""

import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from gpuctl.controllers.logs import Log
from gpuctl.controllers.windows.look import Due, Looker, Settings
from gpuctl.controllers.windows.metrics import Metrics
from gpuctl.controllers.windows.sources import Listed
from gpuctl.kube.api import Api, Timeouts, open_api
from tests.fakes.kube_api import ENGINES, KINDS, SCHEDULES, FakeApi, Server
from tests.fakes.kube_world import NODES, PODS, node

SCHEDULES_PATH = "/apis/gpuctl.io/v1alpha1/poolschedules"
TEN = datetime(2026, 3, 3, 22, tzinfo=timezone.utc)
SIX = datetime(2026, 3, 4, 6, tzinfo=timezone.utc)
NIGHT: dict[str, Any] = {"name": "night", "owner": "team-a", "start": "0 22 * * *", "end": "0 6 * * *"}


def pool_schedule(name: str = "pool", **spec: Any) -> dict[str, Any]:
    body = {"pool": {}, "timeZone": "UTC", "defaultOwner": "platform", "windows": [NIGHT], **spec}
    return {"apiVersion": "gpuctl.io/v1alpha1", "kind": "PoolSchedule", "metadata": {"name": name, "generation": 1}, "spec": body}


def pod(name: str, on: str = "n0", *, gpus: int = 8, labels: dict[str, str] | None = None, grace: int = 30, **meta: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "none", "resources": {"requests": {"nvidia.com/gpu": str(gpus)}} if gpus else {}}
    spec = {"nodeName": on, "containers": [container], "terminationGracePeriodSeconds": grace}
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels or {}, **meta}, "spec": spec, "status": {"phase": "Running"}}


@pytest.fixture
def api() -> FakeApi:
    made = FakeApi(groups={**KINDS, **SCHEDULES, **ENGINES})
    for name in ("team-a", "team-b", "gpuctl-system"):
        made.put("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": name, "labels": {"gpuctl.io/team": name}}})
    for number in range(3):
        made.put(NODES, node(f"n{number}", 8, "NVIDIA-H100-80GB-HBM3"))
    made.put(NODES, node("cpu", 0, ""))
    return made


@pytest.fixture
def server(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Server(api, tmp_path)
    yield made
    made.close()


@pytest.fixture
def opened(server: Server, tmp_path: Path) -> Iterator[Api]:
    env = {"KUBECONFIG": str(server.kubeconfig), "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    made = open_api(None, env=env, timeouts=Timeouts(retries=0))
    yield made
    made.close()


class Desk:
    """A controller's one look, at any instant."""

    def __init__(self, opened: Api, *, webhook: str | None = None, may: Callable[[], bool] = lambda: True) -> None:
        self.lines = io.StringIO()
        self.metrics = Metrics()
        self.now = TEN
        log = Log("text", out=self.lines)
        settings = Settings("lab", webhook=webhook)
        self.looker = Looker(opened, Listed(opened), settings, log=log, metrics=self.metrics, may=may, now=lambda: self.now)

    def look(self, now: datetime) -> Due:
        self.now = now
        due = self.looker.due(now)
        self.looker.carry_out(due, now)
        return due

    def settle(self, now: datetime) -> datetime:
        """Look until a hand-over that only has to wait is done; the instant of the last look."""
        for _ in range(3):
            self.look(now)
            now += timedelta(seconds=7)
        return now


@pytest.fixture
def desk(opened: Api) -> Desk:
    return Desk(opened)


def marks(api: FakeApi, name: str) -> tuple[str | None, str | None, dict[str, str]]:
    """Owner, schedule and taints of a node."""
    found = next(each for each in api.all(NODES) if each["metadata"]["name"] == name)
    labels = found["metadata"]["labels"]
    taints = {each["key"]: each.get("value", "") for each in found["spec"].get("taints") or []}
    return labels.get("gpuctl.io/owner-team"), labels.get("gpuctl.io/schedule"), taints


def owned(api: FakeApi, name: str, team: str, *, closing: str | None = None, since: datetime | None = None, schedule: str = "pool") -> None:
    """Mark a node as a controller would have left it."""
    found = next(each for each in api.all(NODES) if each["metadata"]["name"] == name)
    found["metadata"]["labels"] |= {"gpuctl.io/owner-team": team, "gpuctl.io/schedule": schedule}
    taints = [{"key": "gpuctl.io/owner", "value": team, "effect": "NoSchedule"}]
    if closing is not None:
        taints.append({"key": "gpuctl.io/window-closing", "value": closing, "effect": "NoSchedule"})
        assert since is not None
        found["metadata"].setdefault("annotations", {})["gpuctl.io/window-closing-since"] = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    found["spec"]["taints"] = [*(found["spec"].get("taints") or []), *taints]
    api.put(NODES, found)


__all__ = ["NIGHT", "NODES", "PODS", "SCHEDULES_PATH", "SIX", "TEN", "Desk", "marks", "owned", "pod", "pool_schedule"]
