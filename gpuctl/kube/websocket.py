"""A WebSocket (RFC 6455) over the connection that httpx opened: the same TLS, proxy, credentials, retries and refusals as every request.

Written here because the packages for it bring a second way to do TLS, proxies and authentication, each to be taught a kubeconfig again;
what is left, frames, is a page of code. One thread may read while others write: TLS state is touched by one thread at a time.
"""

import base64
import hashlib
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from gpuctl.kube.errors import ApiFailure, Unavailable
from gpuctl.kube.refusals import placed, sentence
from gpuctl.kube.resources import Target, target

if TYPE_CHECKING:
    from typing_extensions import Self

    from gpuctl.kube.transport import Transport

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_CONTINUATION = 0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CHUNK = 1 << 16
MOST_BYTES = 1 << 26
"""The longest message taken. Kubernetes' are some tens of KiB."""
NORMAL, WENT_AWAY, ABNORMAL = 1000, 1001, 1006


class WebSocket:
    """An open WebSocket; made by :func:`connect`. A context manager that closes itself.

    Attributes:
        subprotocol: what the server chose.
        close_code: why it ended, once it has; ``ABNORMAL`` when the connection broke.
    """

    def __init__(self, wire: "_Wire", *, subprotocol: str, asked: Target, transport: "Transport", holding: ExitStack) -> None:
        self.subprotocol = subprotocol
        self.close_code: int | None = None
        self._wire = wire
        self._asked = asked
        self._transport = transport
        self._holding = holding
        self._buffer = bytearray()
        self._message = bytearray()
        self._sending = threading.Lock()
        self._close_sent = False

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def receive(self, timeout: float | None = None) -> bytes | None:
        """The next message.

        Args:
            timeout: seconds to wait; None waits for ever.

        Returns:
            The message, or None when none came in time or the socket has ended (``close_code`` is set then).

        Raises:
            Unavailable: the connection broke, or the server broke the protocol.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        while self.close_code is None:
            frame = self._frame()
            if frame is None:
                left = None if ends is None else ends - time.monotonic()
                if left is not None and left < 0:
                    return None
                self._fill(left)
                continue
            final, code, payload = frame
            if code in {TEXT, BINARY, _CONTINUATION}:
                self._message += payload
                if len(self._message) > MOST_BYTES:
                    raise self._broken(f"a message of more than {MOST_BYTES} bytes")
                if final:
                    message, self._message = bytes(self._message), bytearray()
                    return message
            else:
                self._control(code, payload)
        return None

    def send(self, payload: "bytes | bytearray | memoryview", *, code: int = BINARY) -> None:
        """Send one message.

        Raises:
            Unavailable: the connection broke, or was closed.
        """
        with self._sending:
            if self._close_sent:
                raise self._broken("it is closed")
            self._write(code, bytes(payload))

    def ping(self) -> None:
        """Ask for a sign of life; keeps idle connections from being dropped on the way."""
        self.send(b"", code=PING)

    def close(self, code: int = NORMAL) -> None:
        """Say goodbye and close the connection; never raises."""
        try:
            with self._sending:
                if not self._close_sent:
                    self._close_sent = True
                    self._write(CLOSE, struct.pack("!H", code), within=1.0)
        except ApiFailure:
            pass
        if self.close_code is None:
            self.close_code = code
        self._holding.close()

    def _control(self, code: int, payload: bytes) -> None:
        if code == PING:
            with self._sending:
                if not self._close_sent:
                    self._write(PONG, payload)
        elif code == CLOSE:
            self.close_code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else NORMAL
            with self._sending:
                if not self._close_sent:
                    self._close_sent = True
                    try:
                        self._write(CLOSE, payload[:2], within=1.0)
                    except ApiFailure:
                        pass  # it is gone already, and we are done too
        elif code != PONG:
            raise self._broken(f"a frame of the unknown kind {code}")

    def _fill(self, timeout: float | None) -> None:
        try:
            got = self._wire.read(timeout)
        except OSError as error:
            self.close_code = ABNORMAL
            raise self._broken(str(error)) from None
        if got == b"":
            self.close_code = ABNORMAL
            raise self._broken("the server closed the connection without a word")
        if got:
            self._buffer += got

    def _frame(self) -> tuple[bool, int, bytes] | None:
        """The next whole frame of the buffer: whether it ends its message, its kind, its payload."""
        held = self._buffer
        if len(held) < 2:
            return None
        first, second = held[0], held[1]
        length, at = second & 0x7F, 2
        if length == 126:
            length, at = (int.from_bytes(held[2:4], "big"), 4) if len(held) >= 4 else (1 << 62, 4)
        elif length == 127:
            length, at = (int.from_bytes(held[2:10], "big"), 10) if len(held) >= 10 else (1 << 62, 10)
        if second & 0x80 or first & 0x70:
            raise self._broken("a masked or extended frame")
        if MOST_BYTES < length < 1 << 62:
            raise self._broken(f"a frame of {length} bytes")
        if len(held) < at + length:
            return None
        payload = bytes(held[at : at + length])
        del held[: at + length]
        return bool(first & 0x80), first & 0x0F, payload

    def _write(self, code: int, payload: bytes, *, within: float | None = None) -> None:
        length = len(payload)
        head = bytearray([0x80 | code])
        if length < 126:
            head.append(0x80 | length)
        elif length < 1 << 16:
            head += b"\xfe" + length.to_bytes(2, "big")
        else:
            head += b"\xff" + length.to_bytes(8, "big")
        mask = os.urandom(4)
        try:
            self._wire.write(bytes(head) + mask + masked(payload, mask), self._transport.timeouts.read if within is None else within)
        except OSError as error:
            raise self._broken(str(error)) from None

    def _broken(self, cause: str) -> ApiFailure:
        made = Unavailable(f"{sentence(self._transport.context, self._asked)}: the stream broke", code="stream-broken", cause=cause)
        return placed(made, self._transport.context, self._asked)


def connect(transport: "Transport", path: str, *, params: Mapping[str, Any] | None, subprotocols: Sequence[str]) -> WebSocket:
    """Open a WebSocket; see :meth:`gpuctl.kube.api.Api.websocket`.

    Raises:
        ApiFailure: refused, as any request may be.
        Unavailable: the server does not speak WebSocket, or none of ``subprotocols``.
    """
    asked = target("GET", path)
    key = base64.b64encode(os.urandom(16))
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key.decode(),
    } | ({"Sec-WebSocket-Protocol": ", ".join(subprotocols)} if subprotocols else {})
    with ExitStack() as stack:
        answer = stack.enter_context(transport.response("GET", path, params=params, headers=headers, expected=101))
        chosen = answer.headers.get("sec-websocket-protocol", "")
        expected = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
        if answer.headers.get("sec-websocket-accept") != expected:
            raise transport.unreadable(asked, "the WebSocket handshake was answered wrongly")
        if subprotocols and chosen not in subprotocols:
            raise transport.unreadable(
                asked, f"the server chose the WebSocket protocol {chosen or '(none)'}, not {' or '.join(subprotocols)}"
            )
        made = WebSocket(
            _wire(answer.extensions["network_stream"]), subprotocol=chosen, asked=asked, transport=transport, holding=ExitStack()
        )
        made._holding = stack.pop_all()
        return made
    raise AssertionError("unreachable")


def masked(payload: bytes, mask: bytes) -> bytes:
    """``payload`` under a mask of four bytes; as one big integer, since a loop over bytes takes a hundred times as long."""
    size = len(payload)
    if not size:
        return b""
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")


class _Wire:
    """Bytes over a socket or a TLS socket: TLS is entered by one thread at a time, and nobody waits inside."""

    def __init__(self, held: socket.socket, leading: bytes) -> None:
        held.setblocking(False)
        self._socket = held
        self._leading = leading
        self._entering = threading.Lock()

    def read(self, timeout: float | None) -> bytes | None:
        """Some bytes, ``b""`` at the end, None when nothing came in time."""
        if self._leading:
            leading, self._leading = self._leading, b""
            return leading
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                with self._entering:
                    return self._socket.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                awaited = select.POLLIN
            except ssl.SSLWantWriteError:
                awaited = select.POLLOUT
            except ssl.SSLEOFError:
                return b""
            if not self._ready(awaited, ends):
                return None

    def write(self, data: bytes, timeout: float) -> None:
        """All of ``data``.

        Raises:
            OSError: it broke, or took longer than ``timeout`` seconds.
        """
        ends = time.monotonic() + timeout
        view = memoryview(data)
        while view:
            try:
                with self._entering:
                    view = view[self._socket.send(view) :]
                continue
            except (BlockingIOError, ssl.SSLWantWriteError):
                awaited = select.POLLOUT
            except ssl.SSLWantReadError:
                awaited = select.POLLIN
            if not self._ready(awaited, ends):
                raise TimeoutError("the server takes no more data")

    def _ready(self, awaited: int, ends: float | None) -> bool:
        poll = select.poll()
        poll.register(self._socket.fileno(), awaited)
        left = None if ends is None else ends - time.monotonic()
        if left is not None and left <= 0:
            return False
        return bool(poll.poll(None if left is None else left * 1000)) or (ends is not None and time.monotonic() < ends)


class _NestedWire(_Wire):
    """Bytes over TLS inside TLS (a proxy spoken to by https), where the inner session is httpcore's and can only be asked, briefly."""

    _SLICE_S = 0.02

    def __init__(self, stream: Any, leading: bytes) -> None:
        self._stream = stream
        self._leading = leading
        self._entering = threading.Lock()

    def read(self, timeout: float | None) -> bytes | None:
        httpx = load_httpcore()
        if self._leading:
            leading, self._leading = self._leading, b""
            return leading
        ends = None if timeout is None else time.monotonic() + timeout
        while ends is None or time.monotonic() < ends:
            try:
                with self._entering:
                    return bytes(self._stream.read(_CHUNK, timeout=self._SLICE_S))
            except httpx.ReadTimeout:
                time.sleep(self._SLICE_S / 10)  # let a writer in
            except httpx.ReadError as error:
                raise OSError(str(error)) from None
        return None

    def write(self, data: bytes, timeout: float) -> None:
        httpx = load_httpcore()
        try:
            with self._entering:
                self._stream.write(data, timeout=timeout)
        except (httpx.WriteTimeout, httpx.WriteError) as error:
            raise OSError(str(error)) from None


def load_httpcore() -> Any:
    """What httpx stands on; the stream of an upgraded connection raises its errors."""
    import httpcore

    return httpcore


def _wire(stream: Any) -> _Wire:
    httpcore = load_httpcore()
    held = stream.get_extra_info("socket")
    leading = b""
    try:
        # What came together with the answer's head. With nothing there the socket is asked, and says so at once.
        leading = stream.read(_CHUNK, timeout=0.0)
    except (httpcore.ReadTimeout, httpcore.ReadError):
        pass
    if isinstance(stream.get_extra_info("ssl_object"), ssl.SSLObject):
        return _NestedWire(stream, leading)
    return _Wire(held, leading)
