"""A port of a job's pod on a port of this machine: one WebSocket for each connection, so one that breaks takes no other with it."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from gpuctl.base.errors import ConflictError, GpuctlError, NotFoundError, UnavailableError, UsageError, nearest
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube import portforward
from gpuctl.kube.api import Api
from gpuctl.kube.portforward import PortConnection
from gpuctl.model.ask import Forward
from gpuctl.port.stream import Stop

SERVICES: Mapping[str, int] = MappingProxyType({"dashboard": 8265, "tensorboard": 6006, "jupyter": 8888})
"""Where services listen unless told otherwise."""
_BLOCK = 1 << 15
_LOOK_S = 0.2
_FIND_S = 5.0
"""Seconds between two looks whether the pod still is there."""
_PROBE_S = 0.5
"""Seconds in which a port that nobody listens on refuses."""
_LINGER_S = 10.0
"""Seconds for which an answer is waited for after this side has said all."""
Find = Callable[[], PodTarget | None]
"""The pod to reach now; None once the job has ended. May be another one later: a job may be started again."""


def port_of(remote: str, *, job: str, kind: str) -> int:
    """The port that ``remote`` means: a number, or a service's name.

    Raises:
        UsageError: neither, or a service that a job of this kind has not.
    """
    if remote.isascii() and remote.isdigit() and 0 < int(remote) < 1 << 16:
        return int(remote)
    if remote not in SERVICES:
        close = nearest(remote, SERVICES)
        raise UsageError(
            f"cannot forward {remote} of {job}: not a port",
            code="bad-port",
            cause=f"services are {', '.join(SERVICES)}; ports are 1 to 65535",
            hint=f"gpuctl port-forward {job} {close}" if close else None,
        )
    if remote == "dashboard" and kind != "ray":
        raise UsageError(f"cannot forward the dashboard of {job}: its kind is {kind}, and only Ray has one", code="no-dashboard")
    return SERVICES[remote]


def serve(api: Api, find: Find, *, job: str, kind: str, remote: str, local_port: int | None, stop: Stop) -> Iterator[Forward]:
    """Yield the address, which can be used from then on; carry connections until ``stop``, or until the job has ended.

    Without ``local_port`` it is the job's own port where that is free here, else any.

    Args:
        api: where the pod is.
        find: which pod; asked again every few seconds.
        job: its name, for messages.
        kind: the job's kind.
        remote: a port, or a service's name.
        local_port: the port here.
        stop: when to end.

    Raises:
        UsageError: no such port or service.
        ConflictError: no pod of the job runs.
        UnavailableError: ``not-listening``, nothing answers there yet; ``port-in-use``, the port here is taken.
    """
    port = port_of(remote, job=job, kind=kind)
    pod = find()
    if pod is None:
        raise ConflictError(f"cannot reach port {port} of {job}: no pod of it runs", code="not-running", hint=f"gpuctl job {job}")
    with _listening(local_port, port, job=job, remote=remote) as server:
        _probe(api, pod, port, job=job)
        relays = _Relays(api, port, pod)
        accepting = threading.Thread(target=relays.accept, args=(server,), name="forward-accept", daemon=True)
        accepting.start()
        try:
            here = server.getsockname()[1]
            yield Forward(host="127.0.0.1", local_port=here, remote_port=port, name=remote if remote in SERVICES else None, job=job)
            while not stop.wait(_FIND_S):
                try:
                    pod = find()
                except UnavailableError:
                    continue  # the API server is away; what is open may live on, and it will be back
                if pod is None:
                    return
                relays.pod = pod
        finally:
            relays.close()
            accepting.join(_LOOK_S + 1.0)  # never for ever: we may be closed while the interpreter ends, when threads no longer run


def _listening(local_port: int | None, port: int, *, job: str, remote: str) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port if local_port is None else local_port))
    except OSError as error:
        if local_port is None:
            return socket.create_server(("127.0.0.1", 0))
        free = port + 10000 if port + 10000 < 1 << 16 else port - 10000
        raise UnavailableError(
            f"cannot listen on port {local_port} here",
            code="port-in-use",
            cause=error.strerror,
            hint=f"gpuctl port-forward {job} {free}:{remote}    or, on any free port: gpuctl port-forward {job} {remote}",
        ) from error


def _probe(api: Api, pod: PodTarget, port: int, *, job: str) -> None:
    try:
        with portforward.connect(api, pod.name, port, namespace=pod.namespace) as connection:
            connection.read(_PROBE_S)
    except NotFoundError as error:
        raise ConflictError(f"cannot reach port {port} of {job}: {pod.place} is gone", code="not-running", cause=error.cause) from error
    except UnavailableError as error:
        if error.code != "port-refused":
            raise
        raise UnavailableError(
            f"nothing of {job} listens on port {port}", code="not-listening", cause=error.cause, hint=f"gpuctl logs {job}"
        ) from error


class _Relays:
    """Open connections, each with two threads: one for each direction.

    Attributes:
        pod: where new connections go.
    """

    def __init__(self, api: Api, port: int, pod: PodTarget) -> None:
        self.pod = pod
        self._api = api
        self._port = port
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()

    def accept(self, server: socket.socket) -> None:
        """Carry every connection that comes, until closed."""
        server.settimeout(_LOOK_S)
        while not self._closing.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            client.settimeout(None)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._clients.add(client)
            threading.Thread(target=self._carry, args=(self.pod, client), name="forward", daemon=True).start()

    def close(self) -> None:
        """Accept no more, and end what is open."""
        self._closing.set()
        with self._lock:
            for client in self._clients:
                _shut(client, socket.SHUT_RDWR)

    def _carry(self, pod: PodTarget, client: socket.socket) -> None:
        try:
            with portforward.connect(self._api, pod.name, self._port, namespace=pod.namespace) as remote:
                said_all = threading.Event()
                upward = threading.Thread(target=_up, args=(client, remote, said_all), name="forward-up", daemon=True)
                upward.start()
                try:
                    _down(client, remote, said_all)
                finally:
                    _shut(client, socket.SHUT_RDWR)  # a close alone would not reach the other thread, nor whoever connected
                    upward.join()
        except GpuctlError:
            pass  # whoever connected sees a closed connection, as with any server that is away, and tries again
        finally:
            with self._lock:
                self._clients.discard(client)
                client.close()


def _up(client: socket.socket, remote: PortConnection, said_all: threading.Event) -> None:
    try:
        while data := client.recv(_BLOCK):
            remote.write(data)
    except (OSError, GpuctlError):
        _shut(client, socket.SHUT_RDWR)
    finally:
        said_all.set()


def _down(client: socket.socket, remote: PortConnection, said_all: threading.Event) -> None:
    quiet = 0.0
    while not remote.ended:
        data = remote.read(1.0)
        if data is None:
            quiet += 1.0
            if said_all.is_set() and quiet >= _LINGER_S:
                return
            continue
        quiet = 0.0
        try:
            client.sendall(data)
        except OSError:
            return


def _shut(client: socket.socket, how: int) -> None:
    try:
        client.shutdown(how)
    except OSError:
        pass  # it is closed already
