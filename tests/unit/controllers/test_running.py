"""What keeps a controller running: its clock, its ears, its Lease, and what is said when a part of it dies."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from gpuctl.base import clock
from gpuctl.base.errors import AuthError, UsageError
from gpuctl.controllers import informer
from gpuctl.controllers.informer import Informer
from gpuctl.controllers.logs import Log
from gpuctl.controllers.windows import controller as running
from gpuctl.controllers.windows.controller import Controller, Election
from gpuctl.controllers.windows.look import Settings
from gpuctl.controllers.windows.metrics import Metrics
from gpuctl.controllers.windows.objects import WatchedNode
from gpuctl.controllers.windows.service import Service, Wanted
from gpuctl.controllers.windows.timekeeping import ServerClock
from gpuctl.kube.api import Api
from gpuctl.kube.resources import NODES
from tests.fakes.kube_api import FakeApi, Server
from tests.unit.controllers.conftest import SCHEDULES_PATH, marks, pool_schedule


def until(what: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.02)


class Skewed:
    """An API whose server tells these differences, one after the other."""

    def __init__(self, *told: float) -> None:
        self.told = list(told)

    def clock_skew(self) -> float:
        return self.told.pop(0)


def test_the_clock_follows_the_servers_and_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    start = clock.now()
    seconds = iter(range(100))
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(seconds=next(seconds)))
    kept = ServerClock(cast("Api", Skewed(-1.8, -2.2, -1.8, -2.1, 30.0, 29.2, 31.5, 0.3)))
    ahead = []
    before = start
    for _ in range(8):
        now = kept.now()
        assert now >= before
        before = now
        ahead.append(kept.ahead)
    assert ahead == [0.0, -2.2, -2.2, -2.2, 30.0, 30.0, 30.0, 0.0]


def test_ears_outlive_credentials_that_cannot_be_had(api: FakeApi, opened: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "REFUSED_WAIT_S", 0.05)
    watch, failing = opened.watch, [True]

    def troubled(*args: Any, **more: Any) -> Iterator[Any]:
        if failing:
            raise AuthError("the credential plugin failed")
        return watch(*args, **more)

    monkeypatch.setattr(opened, "watch", troubled)
    heard = threading.Event()
    ears = Informer(opened, NODES.path(), WatchedNode, changed=heard.set)
    ears.start()
    until(lambda: ears.error is not None)
    assert not ears.synced
    assert ears.alive
    failing.clear()
    until(lambda: ears.synced)
    assert {each.metadata.name for each in ears.items()} == {"cpu", "n0", "n1", "n2"}
    ears.stop()
    assert not ears.alive


@pytest.fixture
def controller(opened: Api) -> Iterator[Controller]:
    made = Controller(opened, Settings("lab"), Election("gpuctl-system", "me"), Log("text", out=io.StringIO()), metrics=Metrics())
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_it_switches_and_gives_its_lease_back(api: FakeApi, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "BUSY_S", 0.2)
    api.put(SCHEDULES_PATH, pool_schedule(windows=[]))
    until(lambda: marks(api, "n0")[0] == "platform")
    assert controller.alive() is None
    assert controller.ready() is None
    controller.stop()
    lease = "/apis/coordination.k8s.io/v1/leases"
    until(lambda: api.all(lease)[0]["spec"].get("holderIdentity") is None)


def test_a_part_that_dies_is_told(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    until(lambda: controller.alive() is None)

    def broken() -> bool:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(controller._lease, "attempt", broken)
    until(lambda: controller.alive() == "lab: a part of it has died")


def test_a_controller_that_dies_ends_the_process(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Controller) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Controller, "run", broken)
    out = io.StringIO()
    env = {"KUBECONFIG": str(server.kubeconfig), "HOME": str(tmp_path)}
    with pytest.raises(RuntimeError, match="a fault of ours"):
        Service(Wanted(listen=None), env=env, log_to=out).run(lambda stop: None)
    assert "a controller has died" in out.getvalue()


def test_two_contexts_of_one_cluster_are_refused(server: Server, tmp_path: Path) -> None:
    document = json.loads(server.kubeconfig.read_text())
    document["contexts"].append({"name": "again", "context": document["contexts"][0]["context"]})
    server.kubeconfig.write_text(json.dumps(document))
    env = {"KUBECONFIG": str(server.kubeconfig), "HOME": str(tmp_path)}
    with pytest.raises(UsageError, match="contexts fake and again are one cluster"):
        Service(Wanted(contexts=("fake", "again")), env=env, log_to=io.StringIO()).look(dry_run=True)
