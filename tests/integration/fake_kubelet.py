"""The part of a kubelet that an API server asks for logs: HTTPS on this machine, answering from the pods' annotations.

``fake/log`` is what every container of the pod printed.
"""

import datetime as dt
import ssl
import tempfile
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from gpuctl.kube.objects.pods import Pod
from tests.integration.certificates import Authority

FOLLOW_POLL_S = 0.05


class FakeKubelet:
    """Serves ``/containerLogs/NAMESPACE/POD/CONTAINER`` with ``tailLines``, ``sinceTime``, ``timestamps`` and ``follow``."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        pair = Authority("fake kubelet").server("127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(pair.certificate + pair.key)
            file.flush()
            context.load_cert_chain(file.name)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._lines: dict[tuple[str, str], list[tuple[dt.datetime, str]]] = {}
        self._running: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more; streams that are open end."""
        with self._lock:
            self._running.clear()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def know(self, pods: Iterable[Pod]) -> None:
        """Learn of pods: their annotated logs, and which of them run."""
        with self._lock:
            for pod in pods:
                key = (pod.metadata.namespace, pod.metadata.name)
                text = pod.metadata.annotation("fake/log")
                if key not in self._lines and text and pod.status.phase != "Pending":
                    now = dt.datetime.now(dt.timezone.utc)
                    self._lines[key] = [(now + dt.timedelta(microseconds=index), line) for index, line in enumerate(text.splitlines())]
                (self._running.discard if pod.ended else self._running.add)(key)

    def lines(self, key: tuple[str, str]) -> tuple[list[tuple[dt.datetime, str]], bool]:
        """What a pod printed until now, and whether more may come."""
        with self._lock:
            return list(self._lines.get(key, ())), key in self._running


def _handler(kubelet: FakeKubelet) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            parts = [unquote(part) for part in url.path.split("/")]
            if parts[1] != "containerLogs" or len(parts) != 5:
                self.send_error(404)
                return
            asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                self._send((parts[2], parts[3]), asked)
            except OSError:
                self.close_connection = True

        def _send(self, key: tuple[str, str], asked: dict[str, str]) -> None:
            since = dt.datetime.fromisoformat(asked["sinceTime"].replace("Z", "+00:00")) if "sinceTime" in asked else None
            sent, first = 0, True
            while True:
                lines, running = kubelet.lines(key)
                fresh = [(at, line) for at, line in lines[sent:] if since is None or at >= since]
                if first and "tailLines" in asked:
                    fresh = fresh[max(0, len(fresh) - int(asked["tailLines"])) :]
                sent, first = len(lines), False
                stamped = asked.get("timestamps") == "true"
                text = "".join(f"{at.strftime('%Y-%m-%dT%H:%M:%S.%fZ')} {line}\n" if stamped else f"{line}\n" for at, line in fresh)
                if text:
                    self._chunk(text.encode())
                if asked.get("follow") != "true" or not running:
                    break
                time.sleep(FOLLOW_POLL_S)
            self._chunk(b"")

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    return Handler
