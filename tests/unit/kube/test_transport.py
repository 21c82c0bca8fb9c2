"""Requests against servers that misbehave in every way of a bad day."""

import itertools
import socket
import ssl
import tempfile
import threading
import time
from typing import Any

import msgspec
import pytest

from gpuctl.base.exitcodes import ExitCode
from gpuctl.kube.api import Timeouts
from gpuctl.kube.errors import ApiFailure, Gone, NotFound, TooMany, Unauthorized, Unavailable, Undecodable
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import PODS
from tests.integration.certificates import Authority
from tests.unit.kube.server import Request, Sleeper, api_of, serving, status

WHERE = PODS.path("team-a")
IT = PODS.path("team-a", "x")
OBJECT = {"metadata": {"name": "x"}}
QUICK = Timeouts(connect=0.5, read=0.5, call=1.0)


def test_a_request_carries_who_we_are_and_answers_are_decoded() -> None:
    with serving(lambda request: request.answer(200, OBJECT)) as server, api_of(server) as api:
        assert api.get(IT, Object, params={"pretty": False, "a": ["1", "2"]}).metadata.name == "x"
        asked = server.requests[0]
        assert asked.headers["authorization"] == "Bearer s3cret"
        assert asked.headers["user-agent"].startswith("gpuctl/")
        assert asked.target == f"{IT}?pretty=false&a=1&a=2"


def test_a_server_below_a_path_is_asked_below_it() -> None:
    with serving(lambda request: request.answer(200, OBJECT)) as server, api_of(f"{server.url}/k8s/clusters/c-1") as api:
        api.get(IT, Object)
        assert server.requests[0].path == f"/k8s/clusters/c-1{IT}"


def test_what_reads_is_tried_again_over_a_minute_of_errors_and_told() -> None:
    counter = itertools.count()

    def script(request: Request) -> None:
        if next(counter) < 3:
            request.answer(500, status(500, "InternalError", "etcdserver: leader changed"))
        else:
            request.answer(200, OBJECT)

    lines: list[str] = []
    sleep = Sleeper()
    with serving(script) as server, api_of(server, trace=lines.append, sleep=sleep) as api:
        assert api.get(IT, Object).metadata.name == "x"
    assert len(sleep.slept) == 3
    assert sleep.slept[0] < 0.26
    assert sleep.slept[2] > sleep.slept[0] / 2
    assert any("leader changed; again in" in line for line in lines)
    assert not any("s3cret" in line for line in lines)


def test_after_the_last_try_the_error_says_how_often() -> None:
    with (
        serving(lambda request: request.answer(503, b"no healthy upstream")) as server,
        api_of(server) as api,
        pytest.raises(Unavailable) as failed,
    ):
        api.get(IT, Object)
    assert len(server.requests) == 5
    assert failed.value.exit_code == ExitCode.UNAVAILABLE
    assert failed.value.cause == "no healthy upstream (tried 5 times)"
    assert failed.value.message == "cannot read pods x in team-a on res-a: the server answered 503"


def test_what_creates_is_sent_once() -> None:
    with serving(lambda request: request.answer(500, status(500, "InternalError", "boom"))) as server, api_of(server) as api:
        with pytest.raises(Unavailable):
            api.create(WHERE, OBJECT, Object)
        assert len(server.requests) == 1
        with pytest.raises(Unavailable):
            api.create(WHERE, OBJECT, Object, dry_run=True)
        assert len(server.requests) == 6


def test_a_create_whose_connection_breaks_says_that_it_may_have_been_done() -> None:
    with serving(lambda request: request.cut()) as server, api_of(server) as api, pytest.raises(Unavailable) as failed:
        api.create(WHERE, OBJECT, Object)
    assert failed.value.message.endswith("whether it was done is unknown")
    assert len(server.requests) == 1


def test_a_server_that_asks_for_patience_gets_it() -> None:
    counter = itertools.count()

    def script(request: Request) -> None:
        if next(counter) == 0:
            request.answer(429, status(429, "TooManyRequests", "busy"), Retry_After="3")
        else:
            request.answer(201, OBJECT)

    sleep = Sleeper()
    with serving(script) as server, api_of(server, sleep=sleep) as api:
        assert api.create(WHERE, OBJECT, Object).metadata.name == "x"
    assert sleep.slept == [3.0]


def test_patience_longer_than_the_call_is_an_error_at_once() -> None:
    sleep = Sleeper()
    with (
        serving(lambda request: request.answer(429, b"", Retry_After="600")) as server,
        api_of(server, sleep=sleep) as api,
        pytest.raises(TooMany) as failed,
    ):
        api.get(IT, Object)
    assert failed.value.retry_after == 600
    assert sleep.slept == []


def test_an_eviction_that_a_budget_forbids_is_for_the_caller() -> None:
    with (
        serving(lambda request: request.answer(429, status(429, "TooManyRequests", "budget"), Retry_After="1")) as server,
        api_of(server) as api,
        pytest.raises(TooMany),
    ):
        api.create(f"{IT}/eviction", OBJECT, Object)
    assert len(server.requests) == 1


def test_a_server_that_accepts_and_never_answers_costs_its_time_and_no_more() -> None:
    with serving(Request.hang) as server, api_of(server, timeouts=QUICK) as api:
        began = time.monotonic()
        with pytest.raises(Unavailable) as failed:
            api.get(IT, Object)
        assert time.monotonic() - began < 1.7
        assert "no answer in time" in failed.value.message
        began = time.monotonic()
        with pytest.raises(Unavailable):
            api.within(0.3).get(IT, Object)
        assert time.monotonic() - began < 0.9


def test_an_answer_that_drips_ends_with_its_call() -> None:
    def script(request: Request) -> None:
        request.begin()
        while True:
            request.chunk(b" ")
            time.sleep(0.05)

    with serving(script) as server, api_of(server) as api:
        began = time.monotonic()
        with pytest.raises(Unavailable) as failed:
            api.within(0.5).get(IT, Object)
        assert time.monotonic() - began < 1.5
    assert failed.value.code == "cluster-too-slow"


def test_nobody_listening_is_told_after_a_few_quick_tries() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    sleep = Sleeper()
    with api_of(f"https://127.0.0.1:{port}", sleep=sleep) as api, pytest.raises(Unavailable) as failed:
        api.create(WHERE, OBJECT, Object)
    assert len(sleep.slept) == 2
    assert failed.value.code == "cluster-unreachable"
    assert "nothing was changed" in failed.value.message
    assert "refused" in (failed.value.cause or "")


def test_an_answer_cut_in_the_middle_is_asked_for_again() -> None:
    counter = itertools.count()

    def script(request: Request) -> None:
        if next(counter) == 0:
            request.begin()
            request.chunk(b'{"metadata": {"na')
            request.cut()
        else:
            request.answer(200, OBJECT)

    with serving(script) as server, api_of(server) as api:
        assert api.get(IT, Object).metadata.name == "x"


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b'{"metadata": {"name": 3}}', b"", b"\xff\xfe"])
def test_an_answer_that_is_not_kubernetes_is_an_error_of_its_own(body: bytes) -> None:
    with serving(lambda request: request.answer(200, body)) as server, api_of(server) as api, pytest.raises(Undecodable) as failed:
        api.get(IT, Object)
    assert failed.value.code == "unreadable-answer"


def test_a_redirect_is_not_followed_with_our_token() -> None:
    with (
        serving(lambda request: request.answer(302, b"", Location="http://127.0.0.1:1/login")) as server,
        api_of(server) as api,
        pytest.raises(Undecodable),
    ):
        api.get(IT, Object)


def test_a_401_without_another_credential_is_final() -> None:
    with (
        serving(lambda request: request.answer(401, status(401, "Unauthorized", "Unauthorized"))) as server,
        api_of(server) as api,
        pytest.raises(Unauthorized) as failed,
    ):
        api.get(IT, Object)
    assert failed.value.exit_code == ExitCode.AUTH
    assert len(server.requests) == 1


def test_a_list_that_the_server_forgot_midway_begins_again() -> None:
    counter = itertools.count()

    def script(request: Request) -> None:
        number = next(counter)
        if number == 1:
            request.answer(410, status(410, "Expired", "The provided continue parameter is too old"))
            return
        last = "continue" in request.query
        token = "" if last else "more"
        request.answer(
            200, {"metadata": {"resourceVersion": str(number), "continue": token}, "items": [{"metadata": {"name": f"n{number}"}}]}
        )

    with serving(script) as server, api_of(server) as api:
        pages = list(api.pages(WHERE, Object))
        assert [(page.first, page.items[0].metadata.name) for page in pages] == [(True, "n0"), (True, "n2"), (False, "n3")]
    counter = itertools.count()
    with serving(script) as server, api_of(server) as api:
        listing = api.list(WHERE, Object)
        assert [each.metadata.name for each in listing] == ["n2", "n3"]
        assert listing.resource_version == "3"


def test_a_list_that_is_always_forgotten_ends() -> None:
    def script(request: Request) -> None:
        if "continue" in request.query:
            request.answer(410, status(410, "Expired", "too old"))
        else:
            request.answer(200, {"metadata": {"continue": "x"}, "items": None})

    with serving(script) as server, api_of(server) as api, pytest.raises(Gone):
        api.list(WHERE, Object)
    assert len(server.requests) == 8


def context_of(authority: Authority, *names: str) -> ssl.SSLContext:
    pair = authority.server(*names)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        made.load_cert_chain(file.name)
    return made


def test_a_wrong_authority_is_named_and_not_tried_again() -> None:
    good, other = Authority(), Authority()
    with serving(lambda request: request.answer(200, OBJECT), context=context_of(good, "127.0.0.1")) as server:
        with api_of(server, authority=good.pem) as api:
            assert api.get(IT, Object).metadata.name == "x"
        sleep = Sleeper()
        with api_of(server, authority=other.pem, sleep=sleep) as api, pytest.raises(Unavailable) as failed:
            api.get(IT, Object)
        assert failed.value.code == "certificate-not-trusted"
        assert sleep.slept == []
        with api_of(server, insecure=True) as api:
            assert api.get(IT, Object).metadata.name == "x"


def test_the_servers_name_may_be_another_than_the_urls() -> None:
    authority = Authority()
    with serving(lambda request: request.answer(200, OBJECT), context=context_of(authority, "inside.example")) as server:
        with api_of(server, authority=authority.pem, server_name="inside.example") as api:
            assert api.get(IT, Object).metadata.name == "x"
        with api_of(server, authority=authority.pem) as api, pytest.raises(Unavailable) as failed:
            api.get(IT, Object)
        assert failed.value.code == "certificate-not-trusted"


def test_a_proxy_leads_to_the_server_with_its_name_checked() -> None:
    authority = Authority()
    asked: list[str] = []

    def tunnel(request: Request) -> None:
        asked.append(f"{request.method} {request.target}")
        host, port = request.target.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as onward:
            request.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            _pump(request.connection, onward)
        raise OSError("the tunnel has ended")

    with (
        serving(lambda request: request.answer(200, OBJECT), context=context_of(authority, "inside.example")) as server,
        serving(tunnel) as proxy,
        api_of(server, authority=authority.pem, server_name="inside.example", proxy=proxy.url) as api,
    ):
        assert api.get(IT, Object).metadata.name == "x"
        assert asked == [f"CONNECT 127.0.0.1:{server.port}"]


def _pump(left: socket.socket, right: socket.socket) -> None:
    import select

    while True:
        ready, _, _ = select.select([left, right], [], [], 5)
        for each in ready:
            data = each.recv(65536)
            if not data:
                return
            (right if each is left else left).sendall(data)


def test_a_stream_gives_bytes_as_they_come_and_tells_when_it_was_cut() -> None:
    def script(request: Request) -> None:
        request.begin()
        request.chunk(b"one\n")
        if "cut" in request.query:
            request.cut()
        else:
            request.chunk(b"")

    with serving(script) as server, api_of(server) as api:
        with api.stream(f"{IT}/log", params={"follow": True}) as chunks:
            assert list(chunks) == [b"one\n"]
        with api.stream(f"{IT}/log", params={"cut": True}) as chunks:
            assert next(chunks) == b"one\n"
            with pytest.raises(Unavailable) as failed:
                next(chunks)
    assert "the connection broke" in failed.value.message


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_stream_knows_whether_something_has_come(encrypted: bool) -> None:
    authority, go = Authority(), threading.Event()

    def script(request: Request) -> None:
        request.begin()
        request.chunk(b"x" * 40_000)  # more than a record of TLS
        go.wait(10)
        request.chunk(b"late")
        request.chunk(b"")

    context = context_of(authority, "127.0.0.1") if encrypted else None
    with (
        serving(script, context=context) as server,
        api_of(server, authority=authority.pem if encrypted else None) as api,
        api.stream(f"{IT}/log") as chunks,
    ):
        got = b""
        while len(got) < 40_000:
            got += next(chunks)
        assert not chunks.ready()
        go.set()
        ends = time.monotonic() + 5
        while not chunks.ready():
            assert time.monotonic() < ends
        assert next(chunks) == b"late"
        assert next(chunks, None) is None
        assert chunks.ready()  # the end is no longer waited for


def test_a_silent_stream_ends_only_when_it_was_told_to() -> None:
    def script(request: Request) -> None:
        request.begin()
        time.sleep(0.8)
        request.chunk(b"late")
        request.chunk(b"")

    with serving(script) as server, api_of(server, timeouts=QUICK) as api:
        with api.stream(f"{IT}/log", read_s=None) as chunks:
            assert list(chunks) == [b"late"]
        with api.stream(f"{IT}/log", read_s=0.2) as chunks, pytest.raises(Unavailable):
            next(chunks)


def test_a_stream_whose_answer_never_begins_does_not_wait_for_ever() -> None:
    with serving(Request.hang) as server, api_of(server, timeouts=Timeouts(read=0.3, call=0.6)) as api:
        began = time.monotonic()
        with pytest.raises(Unavailable), api.stream(f"{IT}/log", read_s=None):
            pass
        assert time.monotonic() - began < 2


def test_deletes_carry_their_conditions() -> None:
    with serving(lambda request: request.answer(200, status(200, "", ""))) as server, api_of(server) as api:
        api.delete(IT, uid="u", resource_version="7", grace_s=0, propagation="Foreground", dry_run=True)
        sent: Any = msgspec.json.decode(server.requests[0].body)
    assert sent["preconditions"] == {"uid": "u", "resourceVersion": "7"}
    assert (sent["gracePeriodSeconds"], sent["propagationPolicy"], sent["dryRun"]) == (0, "Foreground", ["All"])


def test_clocks_are_compared() -> None:
    ahead = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 120))
    with serving(lambda request: request.answer(200, {}, Date=ahead)) as server, api_of(server) as api:
        assert 117 < api.clock_skew() < 122
        assert [request.path for request in server.requests] == ["/version"]


def test_errors_are_of_one_kind_and_carry_what_was_asked() -> None:
    with (
        serving(lambda request: request.answer(404, status(404, "NotFound", 'pods "x" not found'))) as server,
        api_of(server) as api,
        pytest.raises(ApiFailure) as failed,
    ):
        api.get(IT, Object)
    assert isinstance(failed.value, NotFound)
    assert failed.value.target is not None
    assert (failed.value.context, failed.value.target.verb, failed.value.target.resource, failed.value.status) == (
        "res-a",
        "get",
        "pods",
        404,
    )
