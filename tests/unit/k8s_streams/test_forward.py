"""Ports of pods on this machine: addresses, many connections at once, pods that go and come."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from gpuctl.base.errors import ConflictError, UnavailableError, UsageError
from gpuctl.clusters.kubernetes.streams import forward
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.model.ask import Forward
from tests.unit.k8s_streams.container import NOWHERE, pod

if TYPE_CHECKING:
    from typing_extensions import Self


class Remote:
    """Looks like a PortConnection, and leads to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self.ended = False

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def read(self, timeout: float | None = None) -> bytes | None:
        self._socket.settimeout(timeout)
        try:
            data = self._socket.recv(1 << 15)
        except TimeoutError:
            return None
        except OSError:
            data = b""
        self.ended = not data
        return data or None

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)


class Pods:
    """Where connections to pods lead."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.ports: dict[str, int] = {}

    def connect(self, _: object, name: str, port: int, *, namespace: str) -> Remote:
        self.asked.append((name, port))
        if name not in self.ports:
            raise UnavailableError("cannot read it: port does not answer", code="port-refused", cause="connection refused")
        return Remote(self.ports[name])


@pytest.fixture
def pods(monkeypatch: pytest.MonkeyPatch) -> Pods:
    """Connections to pods lead to this machine."""
    made = Pods()
    monkeypatch.setattr(forward.portforward, "connect", made.connect)
    monkeypatch.setattr(forward, "_PROBE_S", 0.01)
    monkeypatch.setattr(forward, "_FIND_S", 0.05)
    monkeypatch.setattr(forward, "_LOOK_S", 0.02)
    return made


@contextlib.contextmanager
def shouting() -> Iterator[int]:
    """A server that sends every line back in capitals; its port."""
    server = socket.create_server(("127.0.0.1", 0))
    open_: list[socket.socket] = []

    def one(client: socket.socket) -> None:
        with client, client.makefile("rwb") as stream, contextlib.suppress(OSError):
            for line in stream:
                stream.write(line.upper())
                stream.flush()
                if line == b"bye\n":
                    return

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                open_.append(client)
                threading.Thread(target=one, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


@contextlib.contextmanager
def served(
    pods: Pods, *, find: "list[PodTarget | None]", remote: str = "6006", kind: str = "pytorch"
) -> Iterator[tuple[Forward, threading.Event, threading.Thread]]:
    """A forward that is carried in a thread; ``find`` is asked for its last element."""
    stop = threading.Event()
    opened: list[Forward] = []
    ready = threading.Event()

    def carry() -> None:
        for each in forward.serve(NOWHERE, lambda: find[-1], job="train", kind=kind, remote=remote, local_port=None, stop=stop):
            opened.append(each)
            ready.set()

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield opened[0], stop, thread
    finally:
        stop.set()
        thread.join(5)
        assert not thread.is_alive()


def ask(port: int, *lines: bytes) -> list[bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client, client.makefile("rwb") as stream:
        found = []
        for line in lines:
            stream.write(line + b"\n")
            stream.flush()
            found.append(stream.readline().rstrip())
        return found


def test_several_connections_at_once(pods: Pods) -> None:
    with shouting() as port, served(pods, find=[pod()]) as (opened, _, _):
        pods.ports["train-0"] = port
        assert (opened.host, opened.remote_port, opened.name) == ("127.0.0.1", 6006, None)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", opened.local_port), timeout=5)) for _ in range(8)]
            for number, client in enumerate(clients):
                client.sendall(b"line %d\n" % number)
            assert [client.recv(100) for client in clients] == [b"LINE %d\n" % number for number in range(8)]
        assert ask(opened.local_port, b"x" * 200_000) == [b"X" * 200_000]


@pytest.fixture(autouse=True)
def reachable(pods: Pods) -> Iterator[None]:
    """Something listens on train-0 unless a test says otherwise."""
    with shouting() as port:
        pods.ports["train-0"] = port
        yield


def test_the_servers_end_is_the_clients_end(pods: Pods) -> None:
    with served(pods, find=[pod()]) as (opened, _, _), socket.create_connection(("127.0.0.1", opened.local_port), timeout=5) as client:
        client.sendall(b"bye\n")
        assert client.recv(100) == b"BYE\n"
        assert client.recv(100) == b""


def test_what_is_said_before_the_client_closes_its_side_arrives(pods: Pods) -> None:
    with served(pods, find=[pod()]) as (opened, _, _), socket.create_connection(("127.0.0.1", opened.local_port), timeout=5) as client:
        client.sendall(b"last words\n")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"LAST WORDS\n"


def test_a_connection_that_cannot_be_made_is_closed_and_the_next_one_works(pods: Pods) -> None:
    with served(pods, find=[pod()]) as (opened, _, _):
        port = pods.ports.pop("train-0")
        with socket.create_connection(("127.0.0.1", opened.local_port), timeout=5) as client:
            assert client.recv(1) == b""
        pods.ports["train-0"] = port
        assert ask(opened.local_port, b"back") == [b"BACK"]


def test_another_pod_takes_its_place_and_the_jobs_end_is_ours(pods: Pods) -> None:
    find: list[PodTarget | None] = [pod()]
    with served(pods, find=find) as (opened, _, thread):
        pods.ports["train-1"] = pods.ports["train-0"]
        find.append(pod("train-1"))
        ends = time.monotonic() + 5
        while pods.asked[-1][0] != "train-1":
            assert time.monotonic() < ends
            ask(opened.local_port, b"who")
        find.append(None)
        thread.join(5)
        assert not thread.is_alive()


def test_stop_closes_open_connections(pods: Pods) -> None:
    with (
        served(pods, find=[pod()]) as (opened, stop, thread),
        socket.create_connection(("127.0.0.1", opened.local_port), timeout=5) as client,
    ):
        client.sendall(b"a\n")
        assert client.recv(100) == b"A\n"
        stop.set()
        thread.join(5)
        assert client.recv(100) == b""


def test_a_taken_port_here_names_the_flag(pods: Pods) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(UnavailableError) as caught:
            next(iter(forward.serve(NOWHERE, pod, job="train", kind="ray", remote="dashboard", local_port=number, stop=threading.Event())))
        assert caught.value.code == "port-in-use"
        assert "gpuctl port-forward train 18265:dashboard" in str(caught.value.hint)
        with served(pods, find=[pod()], remote=str(number)) as (opened, _, _):
            assert opened.local_port != number


def test_nothing_listens_there(pods: Pods) -> None:
    pods.ports.clear()
    with pytest.raises(UnavailableError) as caught:
        next(iter(forward.serve(NOWHERE, pod, job="train", kind="ray", remote="8000", local_port=None, stop=threading.Event())))
    assert (caught.value.code, caught.value.cause) == ("not-listening", "connection refused")


def test_no_pod_runs(pods: Pods) -> None:
    with pytest.raises(ConflictError):
        next(iter(forward.serve(NOWHERE, lambda: None, job="train", kind="ray", remote="8000", local_port=None, stop=threading.Event())))


@pytest.mark.parametrize(("remote", "port"), [("dashboard", 8265), ("tensorboard", 6006), ("jupyter", 8888), ("1", 1), ("65535", 65535)])
def test_names_and_numbers(remote: str, port: int) -> None:
    assert forward.port_of(remote, job="tune", kind="ray") == port


@pytest.mark.parametrize("remote", ["0", "65536", "dashbord", "", "²", "-1"])
def test_what_is_no_port(remote: str) -> None:
    with pytest.raises(UsageError) as caught:
        forward.port_of(remote, job="tune", kind="ray")
    assert caught.value.code == "bad-port"
    assert ("dashboard" in str(caught.value.hint)) == (remote == "dashbord")


def test_only_ray_has_a_dashboard() -> None:
    with pytest.raises(UsageError) as caught:
        forward.port_of("dashboard", job="train", kind="pytorch")
    assert caught.value.code == "no-dashboard"
