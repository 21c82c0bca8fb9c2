"""One TCP connection to a port of a pod, over one WebSocket.

A server gives two channels per port: data, and errors. Each begins with the port's number, two bytes, little-endian.
Source: k8s.io/kubelet/pkg/cri/streaming/portforward.
"""

from typing import TYPE_CHECKING

from gpuctl.kube.errors import Unavailable
from gpuctl.kube.refusals import placed, sentence
from gpuctl.kube.remotecommand import V4
from gpuctl.kube.resources import PODS, target

if TYPE_CHECKING:
    from typing_extensions import Self

    from gpuctl.kube.api import Api
    from gpuctl.kube.resources import Target
    from gpuctl.kube.websocket import WebSocket

DATA, ERROR = 0, 1
MOST_BYTES = 1 << 15


class PortConnection:
    """A connection to a port. One thread may read while others write. A context manager that closes itself.

    There is no half-close: closing ends both directions, as every WebSocket port-forward does.
    """

    def __init__(self, socket: "WebSocket", *, context: str, asked: "Target", port: int) -> None:
        self._socket = socket
        self._context = context
        self._asked = asked
        self._port = port
        self._greeted: set[int] = set()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ended(self) -> bool:
        """Whether the other side has closed it."""
        return self._socket.close_code is not None

    def read(self, timeout: float | None = None) -> bytes | None:
        """The next bytes; None when nothing came within ``timeout`` seconds, or when the connection has ended.

        Raises:
            Unavailable: nothing listens there, or the stream broke.
        """
        while True:
            message = self._socket.receive(timeout)
            if message is None:
                return None
            if not message:
                continue
            channel, data = message[0], message[1:]
            if channel not in self._greeted:
                self._greeted.add(channel)
                data = data[2:]
            if channel == ERROR and data:
                raise self._refused(data.decode("utf-8", "replace").strip())
            if channel == DATA and data:
                return data

    def write(self, data: "bytes | memoryview") -> None:
        """Send all of ``data``."""
        view = memoryview(data)
        for at in range(0, len(view), MOST_BYTES):
            self._socket.send(bytes([DATA]) + view[at : at + MOST_BYTES])

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _refused(self, cause: str) -> Unavailable:
        made = Unavailable(f"{sentence(self._context, self._asked)}: port {self._port} does not answer", code="port-refused", cause=cause)
        placed(made, self._context, self._asked)
        return made


def connect(api: "Api", pod: str, port: int, *, namespace: str | None = None) -> PortConnection:
    """Open a connection to ``port`` of ``pod``.

    Raises:
        ApiFailure: refused, or no such pod.
    """
    path = PODS.path(namespace or api.namespace, pod, "portforward")
    socket = api.websocket(path, params={"ports": port}, subprotocols=(V4,))
    return PortConnection(socket, context=api.context, asked=target("GET", path), port=port)
