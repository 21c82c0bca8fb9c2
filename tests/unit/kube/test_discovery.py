"""Discovery from new servers, old ones, half-broken ones, and from the cache."""

from pathlib import Path

import msgspec
import pytest

from gpuctl.kube import discovery
from gpuctl.kube.errors import Unavailable
from gpuctl.kube.resources import JOB_SETS, JOBS, LOCAL_QUEUES, PODS, VOLUME_CLAIMS
from tests.unit.kube.server import QUICKLY, Request, api_of, serving

AGGREGATED = {
    "/api": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
        {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced",
         "verbs": ["list"], "subresources": [{"subresource": "log"}]},
    ]}]}],
    "/apis": [
        {"metadata": {"name": "batch"}, "versions": [{"version": "v1", "resources": [
            {"resource": "jobs", "responseKind": {"kind": "Job"}, "scope": "Namespaced", "verbs": ["list"]}]}]},
        {"metadata": {"name": "kueue.x-k8s.io"}, "versions": [
            {"version": version, "resources": [{"resource": "localqueues", "responseKind": {"kind": "LocalQueue"}, "scope": "Namespaced"}]}
            for version in ("v1beta2", "v1beta1")]},
        {"metadata": {"name": "broken.example"}, "versions": [{"version": "v1", "freshness": "Stale"}]},
    ],
}  # fmt: skip
LEGACY = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["list"]}, {"name": "pods/log", "kind": "Pod"}]},
    "/apis": {"groups": [{"name": "batch", "versions": [{"version": "v1"}]}, {"name": "broken.example", "versions": [{"version": "v1"}]}]},
    "/apis/batch/v1": {"resources": [{"name": "jobs", "kind": "Job", "namespaced": True}]},
}


def aggregated(request: Request) -> None:
    assert "as=APIGroupDiscoveryList" in request.headers["accept"]
    request.answer(200, {"kind": "APIGroupDiscoveryList", "items": AGGREGATED[request.path]})


def legacy(request: Request) -> None:
    request.answer(200, LEGACY[request.path]) if request.path in LEGACY else request.answer(503, b"")


@pytest.mark.parametrize("script", [aggregated, legacy])
def test_new_and_old_servers_tell_the_same(script: object, tmp_path: Path) -> None:
    with serving(script) as server, api_of(server, timeouts=QUICKLY) as api:  # type: ignore[arg-type]
        found = api.discovery()
    assert found.has(PODS)
    assert found.has(JOBS)
    assert not found.has(JOB_SETS)
    assert not found.has(VOLUME_CLAIMS)
    assert next(each.subresources for each in found.offered if each.plural == "pods") == ("log",)
    assert found.unknown("broken.example")
    assert not found.unknown("jobset.x-k8s.io")


def test_the_preferred_version_is_found_first() -> None:
    with serving(aggregated) as server, api_of(server) as api:
        found = api.discovery()
    assert found.find("kueue.x-k8s.io", "localqueues") == LOCAL_QUEUES
    assert found.find("kueue.x-k8s.io", "localqueues", versions=["v1beta1", "v1beta2"]) == LOCAL_QUEUES.at("v1beta1")
    assert found.find("ray.io", "rayjobs") is None
    assert found.of_kind("batch/v1", "Job") == JOBS


def test_the_cache_is_used_until_it_is_old_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {"/api": AGGREGATED["/api"], "/apis": AGGREGATED["/apis"][:2]}
    path = tmp_path / "deep" / "d.json"
    with (
        serving(lambda request: request.answer(200, {"kind": "APIGroupDiscoveryList", "items": whole[request.path]})) as server,
        api_of(server, cache=path) as api,
    ):
        first = api.discovery()
        assert api.discovery() == first
        assert len(server.requests) == 2
        api.discovery(fresh=True)
        assert len(server.requests) == 4
        path.write_bytes(b"{half")
        api.discovery()
        assert len(server.requests) == 6
        monkeypatch.setattr(discovery, "FRESH_S", 0.0)
        api.discovery()
        assert len(server.requests) == 8
        kept = msgspec.json.decode(path.read_bytes())
        assert kept["format"] == discovery.FORMAT
        assert [each.name for each in path.parent.iterdir()] == ["d.json"]


def test_what_could_not_be_read_whole_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    with serving(aggregated) as server, api_of(server, cache=path) as api:
        api.discovery()
    assert not path.exists()


def test_a_server_that_answers_nothing_is_an_error() -> None:
    with serving(lambda request: request.answer(503, b"")) as server, api_of(server, timeouts=QUICKLY) as api, pytest.raises(Unavailable):
        api.discovery()
