"""``port-forward`` on the machine where the job runs: its ports are here already, so it is an address, or a relay to another port."""

import os
import selectors
import socket
import threading
from collections.abc import Iterator
from typing import NamedTuple

from gpuctl.base.errors import UnavailableError, UsageError
from gpuctl.clusters.local import processes
from gpuctl.model.ask import Forward
from gpuctl.port.stream import Stop

_LISTEN = "0A"
_BLOCK = 1 << 16
_SERVICES = {"dashboard": (b"ray/dashboard/dashboard.py", b"dashboard"), "tensorboard": (b"tensorboard",), "jupyter": (b"jupyter",)}
_TABLES = (("/proc/net/tcp", "127.0.0.1"), ("/proc/net/tcp6", "::1"))
_LOOK_SECONDS = 0.2


class Listening(NamedTuple):
    """One port that a process of the job listens on, and how to reach it."""

    host: str
    port: int
    pid: int


def listening(job_id: str, launch: int, *, group: str | None) -> list[Listening]:
    """Ports that processes of a launch listen on, in order (Linux)."""
    inodes: dict[str, int] = {}
    for process in processes.alive_processes(job_id, launch, group=group):
        for inode in _socket_inodes(process.pid):
            inodes[inode] = process.pid
    found = []
    for path, host in _TABLES:
        try:
            with open(path, encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                found.append(Listening(host, int(fields[1].rsplit(":", 1)[1], 16), inodes[fields[9]]))
    return sorted(found, key=lambda each: (each.port, each.host))


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1]


def find(name: str, remote: str, there: list[Listening]) -> Listening:
    """The port that was asked for, by number or by the name of a service.

    Raises:
        UsageError: neither a port nor a known service.
        UnavailableError: nothing of the job listens there (yet).
    """
    if remote.isascii() and remote.isdigit():
        port = int(remote)
        if not 0 < port < 1 << 16:
            raise UsageError(f"cannot forward port {remote} of {name}: ports are 1 to 65535", code="bad-port")
        matching = [each for each in there if each.port == port]
    elif remote in _SERVICES:
        matching = _of_service(remote, there)
    else:
        raise UsageError(f"cannot forward {remote} of {name}: not a port", code="bad-port", cause=f"services are {', '.join(_SERVICES)}")
    if not matching:
        ports = ", ".join(str(port) for port in sorted({each.port for each in there}))
        raise UnavailableError(
            f"no {remote} of {name} listens" if remote in _SERVICES else f"nothing of {name} listens on {remote}",
            code="not-listening",
            cause=f"it listens on {ports}" if ports else "it listens on no port yet",
            hint=f"gpuctl port-forward {name} {ports.partition(',')[0]}" if ports else f"gpuctl logs {name}",
        )
    return matching[0]


def _of_service(service: str, there: list[Listening]) -> list[Listening]:
    for word in _SERVICES[service]:
        lines = {each.pid: _command_line(each.pid) for each in there}
        found = [each for each in there if word in lines[each.pid]]
        if found:
            told = [each for each in found if f"--port={each.port}".encode() in lines[each.pid]]
            return told or found
    return []


def _command_line(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def serve(target: Listening, *, job: str, local_port: int | None, service: str | None, stop: Stop) -> Iterator[Forward]:
    """Yield the address once it can be used, then keep it until ``stop``."""
    if local_port is None or local_port == target.port:
        yield Forward(host=target.host, local_port=target.port, remote_port=target.port, name=service, job=job)
        while not stop.wait(_LOOK_SECONDS):
            pass
        return
    try:
        server = socket.create_server(("127.0.0.1", local_port))
    except OSError as error:
        raise UnavailableError(f"cannot listen on port {local_port}", code="port-in-use", cause=error.strerror) from error
    with server:
        here = server.getsockname()[1]
        yield Forward(host="127.0.0.1", local_port=here, remote_port=target.port, name=service, job=job)
        server.settimeout(_LOOK_SECONDS)
        while not stop.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            threading.Thread(target=_relay, args=(client, target), daemon=True).start()


def _relay(client: socket.socket, target: Listening) -> None:
    """Carry bytes both ways until both sides have said all."""
    client.settimeout(None)
    with client:
        try:
            service = socket.create_connection((target.host, target.port))
        except OSError:
            return
        with service, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, service)
            selector.register(service, selectors.EVENT_READ, client)
            while selector.get_map():
                for key, _ in selector.select():
                    source, sink = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    try:
                        block = source.recv(_BLOCK)
                        if block:
                            sink.sendall(block)
                            continue
                        sink.shutdown(socket.SHUT_WR)
                    except OSError:
                        return
                    selector.unregister(source)
