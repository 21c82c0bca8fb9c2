"""Watches over connections that end, break, hang, and versions that are forgotten."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpuctl.kube import watch
from gpuctl.kube.api import Api
from gpuctl.kube.errors import Forbidden
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import PODS
from tests.unit.kube.server import Request, api_of, serving, status

WHERE = PODS.path("team-a")


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": {"kind": "Pod", "metadata": {"name": name, "resourceVersion": str(version)}}}


def told(api: Api, count: int, *, version: str = "1", stop: Callable[[], bool] = lambda: False) -> list[str]:
    """The first ``count`` changes, as ``KIND name``."""
    found: Iterator[Any] = api.watch(WHERE, Object, resource_version=version, stop=stop)
    words = []
    for change in itertools.islice(found, count):
        if change.listing is not None:
            words.append(f"REPLACED {','.join(each.metadata.name for each in change.listing)}@{change.listing.resource_version}")
        else:
            words.append(f"{change.kind} {change.object.metadata.name}")
    found.close()  # type: ignore[attr-defined]
    return words


class Scripted:
    """One script per connection; later ones hang."""

    def __init__(self, *scripts: Callable[[Request], None]) -> None:
        self.scripts = iter(scripts)

    def __call__(self, request: Request) -> None:
        next(self.scripts, Request.hang)(request)


def gives(*events: dict[str, Any], then: str = "end") -> Callable[[Request], None]:
    def script(request: Request) -> None:
        request.begin()
        for each in events:
            request.chunk(each)
        if then == "end":
            request.chunk(b"")
        elif then == "cut":
            request.chunk(b'{"type": "ADDED", "object": {"meta')
            request.cut()
        else:
            request.hang()

    return script


def versions(requests: list[Request]) -> list[str]:
    return [request.query.get("resourceVersion", "list") for request in requests]


def test_changes_go_on_where_the_last_connection_ended() -> None:
    script = Scripted(
        gives(event("ADDED", "a", 2), event("MODIFIED", "a", 3)),
        gives(event("BOOKMARK", "", 9), then="cut"),
        gives(event("DELETED", "a", 10), then="hang"),
    )
    with serving(script) as server, api_of(server) as api:
        assert told(api, 3) == ["ADDED a", "MODIFIED a", "DELETED a"]
        assert versions(server.requests) == ["1", "3", "9"]
        assert server.requests[0].query["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize("how", ["status", "event"])
def test_a_forgotten_version_hands_over_the_whole_collection(how: str) -> None:
    gone = status(410, "Expired", "too old resource version: 1 (8)")
    first = (lambda request: request.answer(410, gone)) if how == "status" else gives({"type": "ERROR", "object": gone})
    listing = {"metadata": {"resourceVersion": "20"}, "items": [{"metadata": {"name": "b"}}, {"metadata": {"name": "c"}}]}
    script = Scripted(first, lambda request: request.answer(200, listing), gives(event("ADDED", "d", 21), then="hang"))
    with serving(script) as server, api_of(server) as api:
        assert told(api, 2) == ["REPLACED b,c@20", "ADDED d"]
        assert versions(server.requests) == ["1", "list", "20"]


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_minute_of_errors_is_waited_out_with_growing_pauses() -> None:
    failing = [lambda request: request.answer(500, status(500, "InternalError", "boom"))] * 22
    it = Time()
    script = Scripted(*failing, gives(event("ADDED", "a", 2), then="hang"))
    with serving(script) as server, api_of(server, sleep=it.sleep) as api:
        api._transport.clock = it.clock
        assert told(api, 1) == ["ADDED a"]
        assert versions(server.requests) == ["1"] * 23
    assert it.now > 10, "each round of tries is followed by a longer pause"


def test_a_server_that_ends_every_watch_at_once_is_not_asked_without_a_pause() -> None:
    it = Time()
    script = Scripted(*[gives()] * 4, gives(event("ADDED", "a", 2), then="hang"))
    with serving(script) as server, api_of(server, sleep=it.sleep) as api:
        api._transport.clock = it.clock
        assert told(api, 1) == ["ADDED a"]
    assert it.now > 3


def test_a_connection_that_is_silent_for_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENCE_S", 0.3)
    script = Scripted(gives(event("ADDED", "a", 2), then="hang"), gives(event("ADDED", "b", 3), then="hang"))
    with serving(script) as server, api_of(server) as api:
        assert told(api, 2) == ["ADDED a", "ADDED b"]
        assert versions(server.requests) == ["1", "2"]


def test_stop_is_noticed_in_silence() -> None:
    stopping = threading.Event()
    with serving(Scripted(gives(then="hang"))) as server, api_of(server) as api:
        timer = threading.Timer(0.3, stopping.set)
        timer.start()
        began = time.monotonic()
        assert told(api, 1, stop=stopping.is_set) == []
        assert 0.2 < time.monotonic() - began < 2
        timer.join()


def test_what_time_does_not_heal_is_raised() -> None:
    message = 'pods is forbidden: User "me" cannot watch resource "pods" in API group "" in the namespace "team-a"'
    with (
        serving(lambda request: request.answer(403, status(403, "Forbidden", message))) as server,
        api_of(server) as api,
        pytest.raises(Forbidden) as failed,
    ):
        told(api, 1)
    assert failed.value.rule == '- {apiGroups: [""], resources: ["pods"], verbs: ["watch"]}'


def test_objects_split_over_chunks_arrive_whole() -> None:
    def script(request: Request) -> None:
        request.begin()
        text = b"\n\n".join(json.dumps(event("ADDED", name, 2)).encode() for name in "ab") + b"\n"
        for at in range(0, len(text), 7):
            request.chunk(text[at : at + 7])
        request.hang()

    with serving(Scripted(script)) as server, api_of(server) as api:
        assert told(api, 2) == ["ADDED a", "ADDED b"]
