"""The part of a kubelet that an API server asks for logs: HTTPS on this machine, answering from the pods' annotations.

``fake/log`` is what every container of the pod printed. ``fake/ticks`` is how many lines a second each of ``fake/ranks`` ranks prints, in
the first container, for as long as the pod runs (``fake/run-seconds``): ``[3] tick 12345``, the number of the tick since the epoch.
"""

import datetime as dt
import math
import ssl
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from gpuctl.kube.objects.pods import Pod
from tests.integration.certificates import Authority

FOLLOW_POLL_S = 0.05
Lines = Sequence[tuple[dt.datetime, str]]


class _Printed(Protocol):
    """What a pod prints."""

    def first(self, since: dt.datetime) -> int:
        """The number of the first line at or after an instant."""
        ...

    def after(self, number: int) -> Lines:
        """The lines from a number on that are there now."""
        ...


class _Text:
    """What was annotated, all at once."""

    def __init__(self, text: str) -> None:
        now = dt.datetime.now(dt.timezone.utc)
        self._lines = [(now + dt.timedelta(microseconds=index), line) for index, line in enumerate(text.splitlines())]

    def first(self, since: dt.datetime) -> int:
        return sum(at < since for at, _ in self._lines)

    def after(self, number: int) -> Lines:
        return self._lines[number:]


class Ticks:
    """Lines that follow from the clock, so that an hour of them takes no memory: each rank says the number of the tick.

    Args:
        rate: ticks a second.
        ranks: who speaks, ascending.
        began, ended: seconds since the epoch.
    """

    def __init__(self, rate: int, ranks: range, *, began: float, ended: float) -> None:
        self.ticks = range(math.ceil(began * rate), math.ceil(ended * rate))
        """The numbers that every rank says, in the end."""
        self._rate = rate
        self.ranks = ranks

    def first(self, since: dt.datetime) -> int:
        return max(0, math.ceil(since.timestamp() * self._rate) - self.ticks.start) * len(self.ranks)

    def after(self, number: int) -> Lines:
        now = min(self.ticks.stop, math.floor(time.time() * self._rate))  # the present tick is still being said
        lines = []
        for index in range(number, (now - self.ticks.start) * len(self.ranks)):
            tick, place = self.ticks.start + index // len(self.ranks), index % len(self.ranks)
            at = dt.datetime.fromtimestamp(tick / self._rate, dt.timezone.utc) + dt.timedelta(microseconds=place)
            lines.append((at, f"[{self.ranks[place]}] tick {tick}"))
        return lines


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
        self._printed: dict[tuple[str, str], dict[str, _Printed]] = {}
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
                if key not in self._printed and pod.status.phase != "Pending":
                    printed = printed_by(pod)
                    if printed:
                        self._printed[key] = printed
                (self._running.discard if pod.ended else self._running.add)(key)

    def first(self, key: tuple[str, str], container: str, since: dt.datetime) -> int:
        """The number of the first line that a container printed at or after an instant."""
        with self._lock:
            printed = self._printed.get(key, {}).get(container)
            return printed.first(since) if printed is not None else 0

    def after(self, key: tuple[str, str], container: str, number: int) -> tuple[Lines, bool]:
        """What a container printed until now, from a line's number on, and whether more may come."""
        with self._lock:
            printed = self._printed.get(key, {}).get(container)
            return printed.after(number) if printed is not None else (), key in self._running


def printed_by(pod: Pod) -> dict[str, _Printed]:
    """What the containers of a pod that has started print, by their names; those that say nothing are missing."""
    meta, main = pod.metadata, list(pod.spec.containers or ())
    if meta.annotation("fake/log"):
        text = _Text(meta.annotation("fake/log"))
        return {each.name: text for each in [*(pod.spec.init_containers or ()), *main]}
    states = [each.state.running for each in pod.status.container_statuses or () if each.state is not None]
    if not meta.annotation("fake/ticks") or not states or states[0] is None or states[0].started_at is None:
        return {}
    began, count = states[0].started_at.timestamp(), int(meta.annotation("fake/ranks") or 1)
    first = int(meta.annotation("batch.kubernetes.io/job-completion-index") or 0) * count
    lasts = float(meta.annotation("fake/run-seconds") or 1)
    return {main[0].name: Ticks(int(meta.annotation("fake/ticks")), range(first, first + count), began=began, ended=began + lasts)}


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
                self._send((parts[2], parts[3]), parts[4], asked)
            except OSError:
                self.close_connection = True

        def _send(self, key: tuple[str, str], container: str, asked: dict[str, str]) -> None:
            since = dt.datetime.fromisoformat(asked["sinceTime"].replace("Z", "+00:00")) if "sinceTime" in asked else None
            sent, first = kubelet.first(key, container, since) if since is not None else 0, True
            while True:
                lines, running = kubelet.after(key, container, sent)
                sent += len(lines)
                fresh = [(at, line) for at, line in lines if since is None or at >= since]
                if first and "tailLines" in asked:
                    fresh = fresh[max(0, len(fresh) - int(asked["tailLines"])) :]
                first = False
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
