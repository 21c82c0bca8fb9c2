"""The HTTP client of one API server: TLS, proxy, credentials on every request. httpx stays behind this module and ``transport``."""

import dataclasses
import importlib
import socket
import sys
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from gpuctl import __version__
from gpuctl.base.errors import AuthError, InvalidInput
from gpuctl.kube import tls
from gpuctl.kube.credentials import Credential, Credentials

if TYPE_CHECKING:
    import httpx

_importing = threading.Lock()


def _alive() -> list[tuple[int, int, int]]:
    """Options that let the kernel notice a peer that is gone without a word: within a minute and a half, also in a silent stream."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


_ALIVE = _alive()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An API server and the way to it.

    Attributes:
        context: its name for people.
        namespace: the context's, or ``""``.
        server: URL, possibly with a path (Rancher serves many clusters under one name).
        authority: PEM of whom to trust, None for the system's.
        server_name: the name its certificate must bear, when not the URL's.
        proxy: URL or None.
        headers: sent with every request (impersonation).
    """

    context: str
    namespace: str
    server: str
    authority: bytes | None = None
    insecure: bool = False
    server_name: str | None = None
    proxy: str | None = None
    compressed: bool = True
    headers: Sequence[tuple[str, str]] = ()


def load_httpx() -> ModuleType:
    """httpx without its command line program, whose import would cost us click, rich and pygments wherever they are installed."""
    with _importing:
        if "httpx" not in sys.modules:
            sys.modules["httpx._main"] = None  # type: ignore[assignment]
            try:
                importlib.import_module("httpx")
            finally:
                del sys.modules["httpx._main"]
        return sys.modules["httpx"]


class Connection:
    """Clients for one endpoint: one as long as the certificate we show stays the same. Made when first needed."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials) -> None:
        self.endpoint = endpoint
        self.credentials = credentials
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._former: list[httpx.Client] = []
        self._shown: tuple[bytes | None, bytes | None] = (None, None)

    def client(self, credential: Credential) -> "httpx.Client":
        """The client that shows ``credential``'s certificate. The header is the request's own."""
        shown = (credential.certificate, credential.key)
        with self._lock:
            if self._client is not None and self._shown == shown:
                return self._client
            if self._client is not None:
                self._former.append(self._client)  # another thread may be in the middle of an answer
            self._client, self._shown = self._made(credential), shown
            return self._client

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            closing = [*self._former, *([self._client] if self._client is not None else [])]
            self._client, self._former = None, []
        for client in closing:
            client.close()

    def _made(self, credential: Credential) -> "httpx.Client":
        library = load_httpx()
        endpoint = self.endpoint
        context = tls.context(
            authority=endpoint.authority,
            insecure=endpoint.insecure,
            server_name=endpoint.server_name,
            certificate=credential.certificate,
            key=credential.key,
        )
        limits = library.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=30.0)
        try:
            way = library.HTTPTransport(verify=context, proxy=endpoint.proxy, trust_env=False, limits=limits, socket_options=_ALIVE)
            made: httpx.Client = library.Client(
                base_url=endpoint.server,
                transport=way,
                trust_env=False,
                follow_redirects=False,
                headers=[
                    ("User-Agent", f"gpuctl/{__version__}"),
                    ("Accept-Encoding", "gzip" if endpoint.compressed else "identity"),
                    *endpoint.headers,
                ],
            )
        except ImportError:
            raise AuthError(
                f"the proxy {without_password(endpoint.proxy or '')} of {endpoint.context} needs SOCKS support",
                code="proxy-unsupported",
                hint="pip install 'httpx[socks]'",
            ) from None
        except (library.InvalidURL, ValueError) as error:
            raise InvalidInput(
                f"context {endpoint.context} has a server or proxy that is no URL", (), code="bad-kubeconfig", cause=str(error)
            ) from None
        return made


def without_password(url: str) -> str:
    """A URL with the user information left out."""
    scheme, separator, rest = url.partition("://")
    head, at, tail = rest.rpartition("@")
    return f"{scheme}{separator}{tail}" if at and head else url
