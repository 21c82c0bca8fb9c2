"""An HTTP server on this machine whose answers a test writes as bytes: every kind of bad luck below HTTP can be played.

A script is called with each request and the raw connection; it answers by hand, or not at all.
"""

import contextlib
import dataclasses
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gpuctl.kube.api import Api, Timeouts
from gpuctl.kube.connection import Connection, Endpoint
from gpuctl.kube.credentials import Credential, Credentials, Fixed
from gpuctl.kube.transport import Transport


@dataclasses.dataclass
class Request:
    """What was asked, and the means to answer it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: socket.socket

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        """A whole answer. What is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    def begin(self, status: int = 200) -> None:
        """The head of an answer in chunks."""
        self.connection.sendall(f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode())

    def chunk(self, data: Any) -> None:
        """One chunk; what is not bytes is a line of JSON; ``b""`` ends the answer."""
        raw = data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n"
        self.connection.sendall(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")

    def hang(self) -> None:
        """Say nothing until the client gives up."""
        self.connection.recv(1)
        raise OSError("the client has gone")

    def cut(self) -> None:
        """Close the connection now."""
        self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


Script = Callable[[Request], None]


class Server:
    """Runs a script for every request; keeps what was asked in ``requests``."""

    def __init__(self, script: Script, *, context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.requests: list[Request] = []
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Close everything that is open."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join(5)
        for each in self._open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(20)
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        if self._context is not None:
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                return
            self._open.append(connection)
        reader = connection.makefile("rb")
        try:
            while True:
                request = _read(reader, connection)
                if request is None:
                    return
                self.requests.append(request)
                self.script(request)
        except OSError:
            return
        finally:
            reader.close()


def _read(reader: Any, connection: socket.socket) -> Request | None:
    first = reader.readline().decode()
    if not first.strip():
        return None
    method, target, _ = first.split()
    headers = {}
    while line := reader.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))
    return Request(method=method, target=target, headers=headers, body=body, connection=connection)


@contextlib.contextmanager
def serving(script: Script, *, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(script, context=context)
    try:
        yield server
    finally:
        server.close()


class Sleeper:
    """A sleep that takes no time and remembers how long it was asked for."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@contextlib.contextmanager
def api_of(
    server: Server | str,
    *,
    credentials: Credentials | None = None,
    timeouts: Timeouts | None = None,
    trace: Callable[[str], None] | None = None,
    sleep: Callable[[float], None] | None = None,
    cache: Path | None = None,
    **endpoint: Any,
) -> Iterator[Api]:
    """An Api of a server, with the token ``s3cret`` unless other credentials are given; its waits between tries take no time."""
    url = server if isinstance(server, str) else server.url
    place = Endpoint(context="res-a", namespace="team-a", server=url, **endpoint)
    who = credentials or Fixed(Credential(authorization="Bearer s3cret"))
    transport = Transport(Connection(place, who), timeouts=timeouts or Timeouts(), trace=trace, cache=cache, sleep=sleep or Sleeper())
    api = Api(context=place.context, namespace=place.namespace, server=place.server, transport=transport)
    try:
        yield api
    finally:
        api.close()


def status(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    """A Kubernetes ``Status`` of a failure."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


QUICKLY = Timeouts(connect=2.0, read=2.0, call=4.0, retries=0)
"""Limits for tests in which nothing should take long, nor be tried twice."""
