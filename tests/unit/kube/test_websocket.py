"""WebSockets, exec sessions and port-forwards against a server that speaks frames by hand."""

import base64
import hashlib
import os
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from gpuctl.kube import portforward, remotecommand, websocket
from gpuctl.kube.errors import ApiFailure, Forbidden, Unavailable, Undecodable
from gpuctl.kube.websocket import ABNORMAL, masked
from tests.integration.certificates import Authority
from tests.unit.kube.server import Request, api_of, serving, status
from tests.unit.kube.test_transport import context_of

SUCCESS = msgspec.json.encode({"status": "Success"})


class Peer:
    """The server's end of a WebSocket."""

    def __init__(self, request: Request, *, protocol: str | None = None, accept: str | None = None) -> None:
        self.request = request
        key = request.headers["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        answer = accept or base64.b64encode(hashlib.sha1(key).digest()).decode()
        chosen = protocol if protocol is not None else request.headers.get("sec-websocket-protocol", "").split(",")[0]
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {answer}"]
        lines += [f"Sec-WebSocket-Protocol: {chosen}"] if chosen else []
        self._head = "\r\n".join(lines).encode() + b"\r\n\r\n"

    def send(self, *payloads: bytes, code: int = 2, final: bool = True) -> None:
        data = b"".join(self._frame(each, code, final) for each in payloads)
        self.raw(data)

    def raw(self, data: bytes) -> None:
        head, self._head = self._head, b""
        self.request.connection.sendall(head + data)  # what comes first comes together with the head

    def receive(self) -> tuple[int, bytes]:
        if self._head:
            self.raw(b"")
        first, second = self._exactly(2)
        assert second & 0x80, "a client masks"
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", self._exactly(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._exactly(8))[0]
        mask = self._exactly(4)
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(self._exactly(length)))

    def close(self, code: int = 1000) -> None:
        self.send(struct.pack("!H", code), code=8)

    def _frame(self, payload: bytes, code: int, final: bool) -> bytes:
        head = bytes([(0x80 if final else 0) | code])
        size = len(payload)
        if size < 126:
            return head + bytes([size]) + payload
        if size < 1 << 16:
            return head + b"\x7e" + struct.pack("!H", size) + payload
        return head + b"\x7f" + struct.pack("!Q", size) + payload

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            got = self.request.connection.recv(count - len(data))
            if not got:
                raise OSError("the client has gone")
            data += got
        return data


def peers(script: Callable[[Peer], None], **options: Any) -> Callable[[Request], None]:
    def answer(request: Request) -> None:
        script(Peer(request, **options))
        request.connection.recv(1)
        raise OSError("the session is over")

    return answer


@pytest.fixture(params=["plain", "tls"])
def secure(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    if request.param == "plain":
        yield {"server": {}, "api": {}}
        return
    authority = Authority()
    yield {"server": {"context": context_of(authority, "127.0.0.1")}, "api": {"authority": authority.pem}}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 3_000_000])
def test_messages_of_every_size_go_both_ways(size: int, secure: dict[str, ssl.SSLContext | bytes | None]) -> None:
    payload = os.urandom(size)

    def echo(peer: Peer) -> None:
        code, got = peer.receive()
        peer.send(got, code=code)

    with (
        serving(peers(echo), **secure["server"]) as server,  # type: ignore[arg-type]
        api_of(server, **secure["api"]) as api,  # type: ignore[arg-type]
        api.websocket("/x", params={"a": "b"}) as it,
    ):
        it.send(payload)
        assert it.receive(20) == payload
        assert server.requests[0].headers["authorization"] == "Bearer s3cret"
        assert server.requests[0].query == {"a": "b"}


def test_pieces_pings_and_the_end(secure: dict[str, Any]) -> None:
    pongs: list[tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        peer.send(b"with the head")
        peer.send(b"one ", final=False)
        peer.send(b"are you there", code=9)
        peer.send(b"two", code=0)
        pongs.append(peer.receive())
        peer.close(1001)
        pongs.append(peer.receive())

    with serving(peers(script), **secure["server"]) as server, api_of(server, **secure["api"]) as api, api.websocket("/x") as it:
        assert it.receive(5) == b"with the head"
        assert it.receive(5) == b"one two"
        assert it.close_code is None
        assert it.receive(5) is None
        assert it.close_code == 1001
        with pytest.raises(Unavailable):
            it.send(b"late")
    assert pongs == [(10, b"are you there"), (8, struct.pack("!H", 1001))]


def test_silence_ends_with_the_time_given(secure: dict[str, Any]) -> None:
    with serving(peers(Peer.receive), **secure["server"]) as server, api_of(server, **secure["api"]) as api, api.websocket("/x") as it:
        began = time.monotonic()
        # The head has not come with anything yet.
        assert it.receive(0.2) is None
        assert 0.15 < time.monotonic() - began < 1
        assert it.close_code is None


def test_one_thread_reads_while_others_write(secure: dict[str, Any]) -> None:
    count = 300

    def script(peer: Peer) -> None:
        for _ in range(count * 2):
            peer.send(peer.receive()[1] * 50)

    with serving(peers(script), **secure["server"]) as server, api_of(server, **secure["api"]) as api, api.websocket("/x") as it:
        writers = [threading.Thread(target=lambda: [it.send(b"0123456789" * 20) for _ in range(count)]) for _ in range(2)]
        for writer in writers:
            writer.start()
        got = [it.receive(20) for _ in range(count * 2)]
        for writer in writers:
            writer.join()
    assert set(got) == {b"0123456789" * 1000}


def test_a_connection_that_ends_without_a_word_is_told() -> None:
    def script(peer: Peer) -> None:
        peer.send(b"x")
        peer.request.cut()

    with serving(peers(script)) as server, api_of(server) as api, api.websocket("/x") as it:
        assert it.receive(5) == b"x"
        with pytest.raises(Unavailable) as failed:
            it.receive(5)
        assert it.close_code == ABNORMAL
    assert failed.value.code == "stream-broken"


@pytest.mark.parametrize(
    "data",
    [b"\xc2\x00", b"\x82\x81abcdX", b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), b"\x83\x00"],
    ids=["extended", "masked", "huge", "unknown"],
)
def test_frames_that_break_the_protocol_are_an_error(data: bytes) -> None:
    with (
        serving(peers(lambda peer: peer.raw(data))) as server,
        api_of(server) as api,
        api.websocket("/x") as it,
        pytest.raises(Unavailable),
    ):
        it.receive(5)


def test_handshakes_that_are_wrong_or_refused() -> None:
    with serving(peers(lambda peer: peer.send(b""), accept="wrong")) as server, api_of(server) as api, pytest.raises(Undecodable):
        api.websocket("/x")
    with serving(peers(lambda peer: peer.send(b""), protocol="other")) as server, api_of(server) as api, pytest.raises(Undecodable):
        api.websocket("/x", subprotocols=["mine"])
    message = 'User "me" cannot create resource "pods/exec" in API group "" in the namespace "a"'
    with (
        serving(lambda request: request.answer(403, status(403, "Forbidden", message))) as server,
        api_of(server) as api,
        pytest.raises(Forbidden),
    ):
        api.websocket("/api/v1/namespaces/a/pods/x/exec")


def test_masking_is_what_the_rfc_says() -> None:
    mask = b"\x01\x02\x03\x04"
    assert masked(b"\x01\x02\x03\x04\x01", mask) == b"\x00" * 5
    assert masked(masked(b"hello world", mask), mask) == b"hello world"
    assert masked(b"", mask) == b""


def ended(code: int) -> bytes:
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return msgspec.json.encode(
        {
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": f"command terminated with exit code {code}",
            "details": {"causes": causes},
        }
    )


def test_a_command_runs_with_its_streams_and_its_exit_code() -> None:
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        heard.extend(peer.receive()[1] for _ in range(3))
        peer.send(b"\x01out", b"\x02err", b"\x01", b"\x03" + ended(7))
        peer.close()

    with (
        serving(peers(script)) as server,
        api_of(server) as api,
        remotecommand.exec_(api, "x", ["sh", "-c", "a b"], container="main", stdin=True) as it,
    ):
        it.resize(80, 24)
        it.write(b"in")
        assert it.close_stdin()
        assert it.read(5) == remotecommand.Output(stream="stdout", data=b"out")
        assert it.read(5) == remotecommand.Output(stream="stderr", data=b"err")
        assert it.read(5) is None
        assert it.exit_code == 7
    assert heard == [b'\x04{"Width":80,"Height":24}', b"\x00in", b"\xff\x00"]
    asked = server.requests[0]
    assert asked.target == (
        "/api/v1/namespaces/team-a/pods/x/exec?command=sh&command=-c&command=a+b&stdin=true&stdout=true&stderr=true&tty=false&container=main"
    )
    assert asked.headers["sec-websocket-protocol"] == "v5.channel.k8s.io, v4.channel.k8s.io"


def test_an_older_server_cannot_close_stdin_and_says_so() -> None:
    with (
        serving(peers(lambda peer: peer.send(b"\x03" + SUCCESS), protocol="v4.channel.k8s.io")) as server,
        api_of(server) as api,
        remotecommand.attach(api, "x", tty=True) as it,
    ):
        assert not it.close_stdin()
        assert it.read(5) is None
        assert it.exit_code == 0
        assert server.requests[0].query["stderr"] == "false"


def test_much_stdin_goes_in_pieces() -> None:
    data = os.urandom(100_000)
    heard = bytearray()

    def script(peer: Peer) -> None:
        while len(heard) < len(data):
            _, payload = peer.receive()
            assert payload[0] == 0
            assert len(payload) <= remotecommand.MOST_STDIN + 1
            heard.extend(payload[1:])
        peer.send(b"\x03" + SUCCESS)

    with serving(peers(script)) as server, api_of(server) as api, remotecommand.exec_(api, "x", ["cat"], stdin=True) as it:
        it.write(data)
        assert it.read(10) is None
        assert it.exit_code == 0
    assert bytes(heard) == data


@pytest.mark.parametrize(
    ("messages", "kind", "words"),
    [
        ([b"\x03" + msgspec.json.encode(status(500, "InternalError", 'exec: "nope": not found'))], ApiFailure, "not found"),
        ([b"\x03container not found"], Unavailable, "container not found"),
        ([], Unavailable, "before it told how the command ended"),
    ],
)
def test_a_command_that_could_not_run_or_was_lost_has_no_exit_code(messages: list[bytes], kind: type[ApiFailure], words: str) -> None:
    def script(peer: Peer) -> None:
        peer.send(*messages)
        peer.close()

    with (
        serving(peers(script)) as server,
        api_of(server) as api,
        remotecommand.exec_(api, "x", ["nope"]) as it,
        pytest.raises(kind) as failed,
    ):
        it.read(5)
    assert words in f"{failed.value.message} {failed.value.cause}"
    assert it.exit_code is None


def test_a_port_is_reached_and_its_end_seen() -> None:
    greeting = struct.pack("<H", 8265)

    def script(peer: Peer) -> None:
        peer.send(b"\x00" + greeting, b"\x01" + greeting)
        _, asked = peer.receive()
        peer.send(b"\x00" + asked[1:].upper())
        peer.close()

    with serving(peers(script)) as server, api_of(server) as api, portforward.connect(api, "x", 8265) as it:
        it.write(b"get /")
        assert it.read(5) == b"GET /"
        assert it.read(5) is None
        assert it.ended
    assert server.requests[0].query == {"ports": "8265"}


def test_a_port_where_nobody_listens_is_told() -> None:
    greeting = struct.pack("<H", 1)

    def script(peer: Peer) -> None:
        peer.send(b"\x00" + greeting, b"\x01" + greeting, b"\x01dial tcp4 127.0.0.1:1: connect: connection refused")
        peer.close()

    with (
        serving(peers(script)) as server,
        api_of(server) as api,
        portforward.connect(api, "x", 1) as it,
        pytest.raises(Unavailable) as failed,
    ):
        it.read(5)
    assert failed.value.code == "port-refused"
    assert "connection refused" in (failed.value.cause or "")


def test_messages_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MOST_BYTES", 10)
    with (
        serving(peers(lambda peer: (peer.send(b"123456", final=False), peer.send(b"123456", code=0))[1])) as server,
        api_of(server) as api,
        api.websocket("/x") as it,
        pytest.raises(Unavailable),
    ):
        it.receive(5)
