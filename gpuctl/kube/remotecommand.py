"""Commands in containers: exec and attach over WebSocket, with stdin, stdout, stderr, terminal sizes and the exit status.

Channels and the ``v5.channel.k8s.io`` protocol are those of kubectl since 1.31; an older server speaks ``v4``, which cannot close
stdin without ending the session. Source: k8s.io/apimachinery/pkg/util/remotecommand.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from gpuctl.kube.errors import ApiFailure, Unavailable
from gpuctl.kube.refusals import of_status, placed, sentence
from gpuctl.kube.resources import PODS, Target, target
from gpuctl.model import decoding

if TYPE_CHECKING:
    from typing_extensions import Self

    from gpuctl.kube.api import Api
    from gpuctl.kube.websocket import WebSocket

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MOST_STDIN = 1 << 15
"""Bytes of stdin per message: the API server's buffers are small, and one long message would hold up resizes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """Bytes of the command: on ``stdout`` (with a terminal: everything) or on ``stderr``."""

    stream: Literal["stdout", "stderr"]
    data: bytes


class _Cause(msgspec.Struct, gc=False):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct, gc=False):
    causes: list[_Cause] | None = None


class _Ending(msgspec.Struct, gc=False):
    status: str = ""
    reason: str = ""
    message: str = ""
    details: _Details | None = None


class RemoteCommand:
    """A running exec or attach. One thread may read while others write. A context manager that ends the session.

    Attributes:
        exit_code: the command's, once the session has ended by itself.
    """

    def __init__(self, socket: "WebSocket", *, context: str, asked: Target) -> None:
        self.exit_code: int | None = None
        self._socket = socket
        self._context = context
        self._asked = asked

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, timeout: float | None = None) -> Output | None:
        """The next output.

        Args:
            timeout: seconds to wait; None waits for ever.

        Returns:
            None when nothing came in time, or when the command is over (``exit_code`` is set then).

        Raises:
            ApiFailure: the command could not be started (no such container, no such program).
            Unavailable: the stream broke before the command's end was known.
        """
        while self.exit_code is None:
            message = self._socket.receive(timeout)
            if message is None:
                if self._socket.close_code is None:
                    return None
                raise self._lost(f"the server closed the stream ({self._socket.close_code}) before it told how the command ended")
            if not message:
                continue
            channel, data = message[0], message[1:]
            if channel == ERROR:
                self.exit_code = self._ended(data)
            elif channel in {STDOUT, STDERR} and data:
                return Output(stream="stdout" if channel == STDOUT else "stderr", data=data)
        return None

    def write(self, data: "bytes | memoryview") -> None:
        """Send ``data`` to the command's stdin."""
        view = memoryview(data)
        for at in range(0, len(view), MOST_STDIN):
            self._socket.send(bytes([STDIN]) + view[at : at + MOST_STDIN])

    @property
    def closes_stdin(self) -> bool:
        """Whether :meth:`close_stdin` can work here."""
        return self._socket.subprotocol == V5

    def close_stdin(self) -> bool:
        """Tell the command that its stdin has ended; False where the server is too old for that."""
        if not self.closes_stdin:
            return False
        self._socket.send(bytes([CLOSE, STDIN]))
        return True

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's size."""
        self._socket.send(bytes([RESIZE]) + msgspec.json.encode({"Width": columns, "Height": rows}))

    def ping(self) -> None:
        """Keep an idle session from being dropped on the way."""
        self._socket.ping()

    def close(self) -> None:
        """End the session. The command loses its stdin and terminal, and may go on."""
        self._socket.close()

    def _ended(self, data: bytes) -> int:
        try:
            told = decoding.decode(data, _Ending)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._lost(data.decode("utf-8", "replace").strip()[:300]) from None
        if told.status == "Success":
            return 0
        if told.reason == "NonZeroExitCode":
            for cause in told.details.causes or () if told.details else ():
                if cause.reason == "ExitCode" and cause.message.isdigit():
                    return int(cause.message)
        raise of_status(self._context, self._asked, data)

    def _lost(self, cause: str) -> ApiFailure:
        made = Unavailable(f"{sentence(self._context, self._asked)}: the session was lost", code="stream-broken", cause=cause)
        return placed(made, self._context, self._asked)


def exec_(
    api: "Api",
    pod: str,
    command: Sequence[str],
    *,
    namespace: str | None = None,
    container: str | None = None,
    stdin: bool = False,
    tty: bool = False,
) -> RemoteCommand:
    """Start ``command`` in a container of ``pod``. With ``tty`` it gets a terminal, and its stderr arrives on stdout.

    Raises:
        ApiFailure: refused, or no such pod.
    """
    return _session(api, pod, "exec", namespace, {"command": list(command)}, container=container, stdin=stdin, tty=tty)


def attach(
    api: "Api", pod: str, *, namespace: str | None = None, container: str | None = None, stdin: bool = False, tty: bool = False
) -> RemoteCommand:
    """Attach to a container's main process; ``tty`` only if it has one."""
    return _session(api, pod, "attach", namespace, {}, container=container, stdin=stdin, tty=tty)


def _session(
    api: "Api", pod: str, sub: str, namespace: str | None, extra: "dict[str, list[str]]", *, container: str | None, stdin: bool, tty: bool
) -> RemoteCommand:
    path = PODS.path(namespace or api.namespace, pod, sub)
    params: dict[str, str | int | bool | Sequence[str]] = {**extra, "stdin": stdin, "stdout": True, "stderr": not tty, "tty": tty}
    if container:
        params["container"] = container
    socket = api.websocket(path, params=params, subprotocols=(V5, V4))
    return RemoteCommand(socket, context=api.context, asked=target("GET", path))
