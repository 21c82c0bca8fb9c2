"""Health, readiness and metrics over HTTP, and the addresses they are served at."""

import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from gpuctl.base.errors import UsageError
from gpuctl.controllers import serving
from gpuctl.controllers.logs import Log, Once
from gpuctl.controllers.windows.metrics import Metrics
from gpuctl.policy.windows.marked import Standing


class Health:
    alive: str | None = None
    ready: str | None = None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(metrics: Metrics, health: Health) -> Iterator[serving.Server]:
    where = serving.address("127.0.0.1:0")
    made = serving.Server(where, registry=metrics.registry, alive=lambda: health.alive, ready=lambda: health.ready)
    yield made
    made.close()


def get(server: serving.Server, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_and_readiness_say_what_is_wrong(server: serving.Server, health: Health) -> None:
    assert get(server, "/healthz") == (200, "ok\n")
    assert get(server, "/readyz") == (200, "ok\n")
    health.alive, health.ready = "lab: stuck for 300 s", "lab: still reading"
    assert get(server, "/healthz") == (503, "lab: stuck for 300 s\n")
    assert get(server, "/readyz") == (503, "lab: still reading\n")
    assert get(server, "/elsewhere")[0] == 404


def test_metrics_tell_of_schedules_and_forget_those_that_are_gone(server: serving.Server, metrics: Metrics) -> None:
    metrics.standing("lab", [Standing(name="pool", accepted=True, nodes=("a", "b"), behind={"a": "waits"})])
    metrics.switches.labels("lab", "pool", "team-a").inc()
    text = get(server, "/metrics")[1]
    assert 'gpuctl_windows_nodes{cluster="lab",schedule="pool"} 2.0' in text
    assert 'gpuctl_windows_nodes_behind{cluster="lab",schedule="pool"} 1.0' in text
    assert 'gpuctl_windows_switches_total{cluster="lab",owner="team-a",schedule="pool"} 1.0' in text
    metrics.standing("lab", [])
    assert "gpuctl_windows_nodes{" not in get(server, "/metrics")[1]


@pytest.mark.parametrize("text", ["8080", "host:", "host:x", ":99999"])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="--listen: is no address"):
        serving.address(text)


def test_addresses() -> None:
    assert serving.address(":8080") == ("", 8080)
    assert serving.address("[::1]:1") == ("::1", 1)


def test_every_interface_is_both_families(metrics: Metrics) -> None:
    made = serving.Server(serving.address(":0"), registry=metrics.registry, alive=lambda: None, ready=lambda: None)
    try:
        assert get(made, "/healthz") == (200, "ok\n")
        with urllib.request.urlopen(f"http://localhost:{made.port}/readyz", timeout=10) as answer:
            assert answer.status == 200
    finally:
        made.close()


def test_an_address_that_is_taken_is_told(server: serving.Server, metrics: Metrics) -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.1") as told:
        serving.Server(serving.Address("127.0.0.1", server.port), registry=metrics.registry, alive=lambda: None, ready=lambda: None)
    assert told.value.code == "address-taken"


def test_a_line_of_the_log_is_json_or_for_people() -> None:
    out = io.StringIO()
    Log("json", out=out).bound(cluster="lab").info("node closed", node="n0", next=None)
    told = json.loads(out.getvalue())
    assert told.pop("time").endswith("Z")
    assert told == {"level": "info", "message": "node closed", "cluster": "lab", "node": "n0"}
    out = io.StringIO()
    Log("text", out=out).warning("held up", why='a "b" c', pod="x/y")
    assert out.getvalue().endswith('WARNING held up why="a \\"b\\" c" pod=x/y\n')


def test_news_is_told_once_until_it_is_over() -> None:
    said: list[str] = []
    once = Once()
    for text in ("a", "a", "b", None, "b"):
        once.changed("x", text, said.append)
    assert said == ["a", "b", "b"]
