"""Requests to one API server: deadlines, retries of what may be repeated, refusals as errors, a line per request for ``-v``.

A call may be repeated when it changes nothing (GET), when it says what the end must look like (PUT, DELETE, server-side apply, dry
runs), or when it never reached the server. Everything else is sent once; after a broken connection the error says that it may have
been done.
"""

import dataclasses
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from gpuctl.kube import retries
from gpuctl.kube.broken import connection_failure
from gpuctl.kube.chunks import Chunks
from gpuctl.kube.connection import Connection, load_httpx
from gpuctl.kube.credentials import Credential
from gpuctl.kube.errors import ApiFailure, TooMany, Unauthorized, Unavailable, Undecodable
from gpuctl.kube.refusals import failure, placed, sentence
from gpuctl.kube.resources import Target, target
from gpuctl.model import decoding

if TYPE_CHECKING:
    import httpx

    from gpuctl.kube.api import Timeouts

T = TypeVar("T")
Trace = Callable[[str], None]
Params = Mapping[str, str | int | bool | Sequence[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer of the 2xx kind. The body has no repr: it may be a Secret."""

    asked: Target
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Request:
    method: str
    path: str
    asked: Target
    repeatable: bool
    headers: Mapping[str, str]
    query: str = dataclasses.field(repr=False, default="")
    body: bytes | None = dataclasses.field(repr=False, default=None)
    ends: float
    streaming: bool = False
    silence: float | None = None
    expected: int | None = None


class Transport:
    """Sends requests over a :class:`Connection`.

    Args:
        cache: where discovery of this context may be kept, or None.
        ends: an instant of ``clock`` by which every call has to be over, besides its own limit.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        timeouts: "Timeouts",
        trace: Trace | None = None,
        cache: Path | None = None,
        ends: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.connection = connection
        self.timeouts = timeouts
        self.cache = cache
        self.clock = clock
        self.sleep = sleep
        self._trace = trace
        self._ends = ends
        self._skew: list[float] = []

    @property
    def context(self) -> str:
        """The context's name."""
        return self.connection.endpoint.context

    def within(self, seconds: float) -> "Transport":
        """The same with an end ``seconds`` from now; an earlier end stays."""
        ends = self.clock() + seconds
        made = Transport(
            self.connection,
            timeouts=self.timeouts,
            trace=self._trace,
            cache=self.cache,
            ends=ends if self._ends is None else min(ends, self._ends),
            clock=self.clock,
            sleep=self.sleep,
        )
        made._skew = self._skew
        return made

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: bytes | None = None,
        content: str = "application/json",
        accept: str = "application/json",
        repeatable: bool | None = None,
    ) -> Answer:
        """Send one request and read its whole answer, again where that may be done.

        Raises:
            ApiFailure: the last try's failure.
            AuthError: no credentials could be had.
        """
        request = self._request(method, path, params, body=body, content=content, accept=accept, repeatable=repeatable)
        return self._tries(request, lambda: self._whole(request))

    @contextmanager
    def stream(
        self, method: str, path: str, *, params: Params | None = None, accept: str = "application/json", read_s: float | None = None
    ) -> Iterator[Chunks]:
        """The chunks of an answer as they come; see :meth:`gpuctl.kube.api.Api.stream`."""
        with self.response(method, path, params=params, accept=accept, read_s=read_s) as answer:
            asked = target(method, path)
            yield self.chunks(answer, asked)

    @contextmanager
    def response(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        accept: str = "*/*",
        read_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        expected: int | None = None,
        watching: bool = False,
    ) -> "Iterator[httpx.Response]":
        """An open answer. Opening it is retried and has the time of a call; reading it has no end but ``read_s`` of silence.

        ``headers`` are further ones (a WebSocket's); ``expected`` is the status of a success that is not of the 2xx kind.
        """
        request = self._request(method, path, params, accept=accept, watching=watching)
        request = dataclasses.replace(
            request, streaming=True, silence=read_s, expected=expected, headers={**request.headers, **(headers or {})}
        )
        answer = self._tries(request, lambda: self._opened(request))
        try:
            yield answer
        finally:
            answer.close()

    def chunks(self, answer: "httpx.Response", asked: Target) -> Chunks:
        """The chunks of an open answer."""
        return Chunks(self, answer, asked)

    def cut(self, answer: "httpx.Response") -> None:
        """End an open answer from another thread than the one that reads it, which then sees the stream's end or an error."""
        stream = answer.extensions.get("network_stream")
        held = stream.get_extra_info("socket") if stream is not None else None
        if held is not None:
            try:
                # Not SSLSocket's own shutdown: it would pull the TLS state from under the reader.
                socket.socket.shutdown(held, socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already

    def decode(self, answer: Answer, type_: type[T]) -> T:
        """The answer's body as ``type_``.

        Raises:
            Undecodable: it is not JSON, or not of that shape.
        """
        try:
            found: T = decoding.decode(answer.body, cast("Any", type_))
            return found
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.unreadable(answer.asked, str(error)) from None

    def unreadable(self, asked: Target, cause: str) -> ApiFailure:
        """The error for an answer that is not what the API promises."""
        return placed(
            Undecodable(f"{sentence(self.context, asked)}: the answer cannot be read", cause=cause), self.context, asked, status=200
        )

    def clock_skew(self) -> float:
        """Seconds the server's clock is ahead of ours, from the last answer's Date."""
        if not self._skew:
            self.send("GET", "/version")
        return self._skew[-1] if self._skew else 0.0

    def trace(self, line: str) -> None:
        """Tell ``-v`` something. Never a secret."""
        if self._trace is not None:
            self._trace(f"{self.context}: {line}")

    def close(self) -> None:
        """Close the connections."""
        self.connection.close()

    def broken(self, error: Exception, asked: Target, *, sent: bool = True, repeatable: bool = True) -> ApiFailure:
        """The error for a connection that could not be made, or broke."""
        return connection_failure(self.connection.endpoint, error, asked, sent=sent, repeatable=repeatable)

    def _request(
        self,
        method: str,
        path: str,
        params: Params | None,
        *,
        body: bytes | None = None,
        content: str = "application/json",
        accept: str,
        repeatable: bool | None = None,
        watching: bool = False,
    ) -> _Request:
        ends = self.clock() + self.timeouts.call
        headers = {"Accept": accept} | ({"Content-Type": content} if body is not None else {})
        return _Request(
            method=method,
            path=path,
            asked=target(method, path, watching=watching),
            repeatable=method == "GET" if repeatable is None else repeatable,
            headers=headers,
            query=query(params),
            body=body,
            ends=ends if self._ends is None else min(ends, self._ends),
        )

    def _tries(self, request: _Request, once: Callable[[], T]) -> T:
        tried = 0
        while True:
            tried += 1
            try:
                return once()
            except Unavailable as error:
                allowed = retries.again(error, repeatable=request.repeatable, tried=tried, retries=self.timeouts.retries)
                failed: ApiFailure = error
            except TooMany as error:
                # The server did nothing yet and says when to come. An eviction that a disruption budget forbids is for the caller.
                allowed = tried <= self.timeouts.retries and not request.path.endswith("/eviction")
                failed = error
            wait = retries.wait(failed, tried)
            if not allowed or self.clock() + wait > request.ends:
                if tried > 1:
                    failed.cause = f"{failed.cause} (tried {tried} times)" if failed.cause else f"tried {tried} times"
                raise failed
            self.trace(f"{request.method} {request.path}: {failed.cause or failed.message}; again in {wait:.1f} s")
            self.sleep(wait)

    def _whole(self, request: _Request) -> Answer:
        library = load_httpx()
        began = self.clock()
        answer = self._opened(request)
        try:
            parts = []
            for chunk in answer.iter_bytes():
                parts.append(chunk)
                if self.clock() > request.ends:
                    raise self._late(request, "the answer was not complete in time")
            body = b"".join(parts)
        except (library.HTTPError, library.StreamError) as error:
            raise self.broken(error, request.asked, repeatable=request.repeatable) from None
        finally:
            answer.close()
        self.trace(f"{request.method} {request.path}: {len(body)} bytes in {self.clock() - began:.3f} s")
        return Answer(asked=request.asked, headers=answer.headers, body=body)

    def _opened(self, request: _Request) -> "httpx.Response":
        """An answer whose status is a success, its body unread. A 401 renews the credentials and asks once more."""
        credential = self.connection.credentials.current(max(0.0, request.ends - self.clock()))
        try:
            return self._asked(request, credential)
        except Unauthorized:
            if not self.connection.credentials.renewed(credential):
                raise
            self.trace(f"{request.method} {request.path}: 401, with new credentials again")
        renewed = self.connection.credentials.current(max(0.0, request.ends - self.clock()))
        return self._asked(request, renewed)

    def _asked(self, request: _Request, credential: Credential) -> "httpx.Response":
        library = load_httpx()
        left = request.ends - self.clock()
        if left <= 0:
            raise self._late(request, "no time was left to ask")
        client = self.connection.client(credential)
        limits = library.Timeout(
            connect=min(self.timeouts.connect, left), read=min(self.timeouts.read, left), write=min(self.timeouts.read, left), pool=left
        )
        url = f"{request.path}?{request.query}" if request.query else request.path
        headers = dict(request.headers) | ({"Authorization": credential.authorization} if credential.authorization else {})
        built = client.build_request(request.method, url, headers=headers, content=request.body, timeout=limits)
        began = self.clock()
        try:
            answer = client.send(built, stream=True)
        except (library.ConnectError, library.ConnectTimeout, library.ProxyError, library.UnsupportedProtocol) as error:
            raise self.broken(error, request.asked, sent=False, repeatable=request.repeatable) from None
        except library.HTTPError as error:
            raise self.broken(error, request.asked, repeatable=request.repeatable) from None
        self._notice(answer)
        self.trace(f"{request.method} {request.path}: {answer.status_code} after {self.clock() - began:.3f} s")
        if answer.status_code == request.expected or (request.expected is None and 200 <= answer.status_code < 300):
            # Headers have the time of a call; how silent a body may be is another matter. httpcore looks here before it reads one.
            built.extensions["timeout"]["read"] = request.silence if request.streaming else min(self.timeouts.read, left)
            return answer
        try:
            body = answer.read()
        except (library.HTTPError, library.StreamError):
            body = b""
        finally:
            answer.close()
        raise failure(self.context, request.asked, answer.status_code, answer.headers, body)

    def _late(self, request: _Request, what: str) -> ApiFailure:
        made = Unavailable(f"{sentence(self.context, request.asked)}: {what}", code="cluster-too-slow")
        return placed(made, self.context, request.asked)

    def _notice(self, answer: "httpx.Response") -> None:
        date = answer.headers.get("date", "")
        try:
            self._skew[:] = [parsedate_to_datetime(date).timestamp() - time.time()]
        except (TypeError, ValueError):
            pass


def query(params: Params | None) -> str:
    """Query parameters as an API server reads them: sequences repeat their name, True is ``true``."""
    pairs: list[tuple[str, str]] = []
    for name, value in (params or {}).items():
        values = [value] if isinstance(value, str | int) else value
        pairs += [(name, ("true" if each else "false") if isinstance(each, bool) else str(each)) for each in values]
    return urlencode(pairs)
