"""Health and metrics of a controller over HTTP: ``/healthz``, ``/readyz`` and ``/metrics``."""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gpuctl.base.errors import Problem, UsageError


class Address(NamedTuple):
    """Where to listen; an empty host is every interface."""

    host: str
    port: int


def address(text: str) -> Address:
    """``:8080``, ``127.0.0.1:8080`` or ``[::1]:8080``.

    Raises:
        UsageError: ``bad-address``.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdigit() or int(port) > 65535:
        problem = Problem(field="--listen", message="is no address", got=repr(text), allowed=":8080, 127.0.0.1:8080, or none")
        raise UsageError(str(problem), code="bad-address")
    return Address(host, int(port))


class _Http(ThreadingHTTPServer):
    """Listens in both families where the host is every interface."""

    daemon_threads = True

    def __init__(self, where: Address, handler: type[BaseHTTPRequestHandler]) -> None:
        both = not where.host and socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if both or ":" in where.host else socket.AF_INET
        self._both = both
        super().__init__(where, handler)

    def server_bind(self) -> None:
        """Bind, to both families if that is wanted."""
        if self._both:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class Server:
    """Serves while it is open. ``alive`` and ``ready`` answer with what is wrong, None when nothing is.

    Raises:
        UsageError: ``address-taken``: nobody can listen there.
    """

    def __init__(
        self, where: Address, *, registry: CollectorRegistry, alive: Callable[[], str | None], ready: Callable[[], str | None]
    ) -> None:
        checks = {"/healthz": alive, "/livez": alive, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            """Answers GET."""

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif self.path in checks:
                    wrong = checks[self.path]()
                    self._answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode(), "text/plain; charset=utf-8")
                else:
                    self._answer(404, b"not here; see /healthz, /readyz, /metrics\n", "text/plain; charset=utf-8")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing: a probe every few seconds is no news."""

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        try:
            self._server = _Http(where, Handler)
        except OSError as error:
            raise UsageError(f"cannot listen on {where.host or '*'}:{where.port}", code="address-taken", cause=error.strerror) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="serving", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
