"""A pod as an API server tells of it and of its log, with every kind of bad luck a test asks for.

The rules of ``sinceTime`` (whole seconds), ``tailLines``, unfinished lines and missing logs are those that a kubelet 1.36 with containerd
showed.
"""

import contextlib
import dataclasses
import datetime as dt
import select
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from gpuctl.clusters.kubernetes.streams.logs import PodLog, logs_of
from gpuctl.clusters.kubernetes.streams.readahead import Pace
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api, Timeouts
from gpuctl.model.ask import LogQuery
from gpuctl.port.stream import HEADER
from tests.unit.kube.server import Request, api_of, serving, status

QUICK = Pace(
    silence_s=2.0,
    first_wait_s=0.01,
    longest_wait_s=0.05,
    poll_s=0.02,
    patience_s=0.6,
    farewell_s=0.4,
    opening_s=0.5,
    quiet_s=0.02,
)
Said = tuple[int | None, str]
SOON = Timeouts(connect=1.0, read=2.0, call=2.0, retries=0)
START = dt.datetime(2026, 3, 1, 12, 0, 0, tzinfo=dt.timezone.utc)


def at(nanoseconds: int) -> str:
    """An instant so long after the start."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{START + dt.timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


@dataclasses.dataclass
class Fault:
    """What goes wrong with one request for a log: a status, or the answer cut after so many bytes, or silence, or other words."""

    code: int = 0
    message: str = "it broke"
    cut_after: int | None = None
    hang: bool = False
    body: bytes | None = None


class FakePod:
    """One pod: its lines, its state, and what will go wrong."""

    def __init__(self, name: str = "train-0", *, state: str = "running") -> None:
        self.name = name
        self.uid = f"uid-{name}"
        self.state = state
        self.lines: list[bytes] = []
        self.unfinished = b""
        self.before: list[bytes] | None = None
        self.restarts = 0
        self.faults: deque[Fault] = deque()
        self.pod_faults: deque[int] = deque()
        self.asked: list[dict[str, str]] = []
        self.restart_policy = "Never"
        self.init: dict[str, list[bytes]] = {}
        self.changed = threading.Condition()
        self._clock = 0

    def say(self, *texts: str, gap_ns: int = 1_000_000) -> None:
        """Print lines."""
        with self.changed:
            for text in texts:
                self._clock += gap_ns
                self.lines.append(f"{at(self._clock)} {text}".encode())
            self.changed.notify_all()

    def become(self, state: str) -> None:
        """running, ended, waiting or gone."""
        with self.changed:
            self.state = state
            self.changed.notify_all()

    def restart(self) -> None:
        """The container ends and is started again in its pod."""
        with self.changed:
            self.before, self.lines = self.lines, []
            self.restarts += 1
            self.changed.notify_all()

    def document(self) -> dict[str, Any]:
        """The pod as an object."""
        states = {
            "running": {"running": {}},
            "ended": {"terminated": {"exitCode": 0}},
            "waiting": {"waiting": {"reason": "ContainerCreating"}},
        }
        one: dict[str, Any] = {"name": "main", "restartCount": self.restarts, "state": states[self.state]}
        if self.restarts:
            one["lastState"] = {"terminated": {"exitCode": 1}}
        done = [{"name": name, "restartCount": 0, "state": {"terminated": {"exitCode": 0}}} for name in self.init]
        return {
            "metadata": {"name": self.name, "namespace": "team-a", "uid": self.uid},
            "spec": {"restartPolicy": self.restart_policy},
            "status": {
                "phase": {"running": "Running", "ended": "Succeeded", "waiting": "Pending"}[self.state],
                "containerStatuses": [one],
                "initContainerStatuses": done,
            },
        }

    def log(self, request: Request) -> None:
        """Answer for the log."""
        asked = request.query
        self.asked.append(asked)
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault.code:
            request.answer(fault.code, status(fault.code, "Broken", fault.message))
            return
        if fault is not None and fault.hang:
            request.hang()
        if self.state == "gone":
            request.answer(404, status(404, "NotFound", f'pods "{self.name}" not found'))
            return
        if self.state == "waiting" and asked["container"] == "main":
            words = f'container "main" in pod "{self.name}" is waiting to start: ContainerCreating'
            request.answer(400, status(400, "BadRequest", words))
            return
        if asked.get("previous") == "true" and self.before is None:
            request.answer(400, status(400, "BadRequest", f'previous terminated container "main" in pod "{self.name}" not found'))
            return
        request.begin()
        if fault is not None and fault.body is not None:
            request.chunk(fault.body)
            request.chunk(b"")
            return
        self._send(request, asked, fault)

    def _send(self, request: Request, asked: dict[str, str], fault: Fault | None) -> None:
        sent, left = 0, fault.cut_after if fault is not None else None
        source = self.init.get(asked["container"])
        restarts = self.restarts
        while True:
            with self.changed:
                lines = source if source is not None else self.before if asked.get("previous") == "true" else self.lines
                assert lines is not None
                mine = self.restarts == restarts
                if source is None and asked.get("previous") != "true" and not mine:
                    lines = self.before or []
                chosen = lines[sent:]
                if not sent and "tailLines" in asked:
                    count = int(asked["tailLines"])
                    chosen = chosen[-count:] if count else []
                data = b"".join(line + b"\n" for line in chosen if line[:19].decode() + "Z" >= asked.get("sinceTime", ""))
                sent = len(lines)
                ended = self.state != "running" or asked.get("follow") != "true" or source is not None or not mine
                if ended and self.unfinished and source is None:
                    data += self.unfinished
            if left is not None and len(data) >= left:
                if left:
                    request.chunk(data[:left])
                request.cut()
                raise OSError("cut")
            for start in range(0, len(data), 20_000):
                request.chunk(data[start : start + 20_000])
            if left is not None:
                left -= len(data)
            if ended:
                request.chunk(b"")
                return
            with self.changed:
                if len(self.lines) == sent and self.state == "running" and self.restarts == restarts:
                    self.changed.wait(0.1)
            if select.select([request.connection], [], [], 0)[0]:
                raise OSError("the client has gone")


class Cluster:
    """Pods behind one API server."""

    def __init__(self, *pods: FakePod) -> None:
        self.pods = {pod.name: pod for pod in pods}
        self.lists = 0

    def __call__(self, request: Request) -> None:
        parts = request.path.strip("/").split("/")
        if parts[-1] == "pods":
            self.lists += 1
            items = [pod.document() for pod in self.pods.values() if pod.state != "gone"]
            request.answer(200, {"metadata": {"resourceVersion": "1"}, "items": items})
            return
        pod = self.pods.get(parts[5])
        if parts[-1] == "log" and pod is not None:
            pod.log(request)
            return
        if pod is not None and pod.pod_faults:
            code = pod.pod_faults.popleft()
            request.answer(code, status(code, "Broken", "it broke"))
        elif pod is None or pod.state == "gone":
            request.answer(404, status(404, "NotFound", f'pods "{parts[5]}" not found'))
        else:
            request.answer(200, pod.document())


@contextlib.contextmanager
def cluster(*pods: FakePod) -> Iterator[Api]:
    """An Api of a server that knows ``pods``."""
    with serving(Cluster(*pods)) as server, api_of(server, timeouts=SOON) as api:
        yield api


def target(pod: FakePod, *, ranks: tuple[int, ...] = (0,), prefixed: bool = False, **more: Any) -> PodTarget:
    """Where the pod is."""
    return PodTarget(
        namespace="team-a", name=pod.name, uid=pod.uid, container="main", ranks=ranks, prefixed=prefixed, host="node-7", **more
    )


def logs(api: Api, pod: FakePod, *, pace: Pace = QUICK, query: LogQuery | None = None, **more: Any) -> list[PodLog]:
    """The logs of one pod."""
    return list(logs_of(api, [target(pod, **more)], query or LogQuery(), pace=pace))


def read(log: PodLog, *, since: str | None = None, follow: bool = False, tail: int | None = None, within: float = 8.0) -> bytes:
    """Everything a log gives until it ends."""
    ends = time.monotonic() + within
    out = []
    for block in log.blocks(since=since, follow=follow, tail=tail):
        out.append(block)
        if not block and follow:
            time.sleep(0.01)
        assert time.monotonic() < ends, b"".join(out)
    return b"".join(out)


def texts(records: bytes) -> list[str]:
    """What records say, without their instants: stream, tag and text."""
    assert not records or records.endswith(b"\n")
    return [record[31:].decode() for record in records.splitlines()]


def together(found: Sequence[PodLog], *, since: str | None = None, follow: bool = False, tail: int | None = None) -> Iterator[list[Said]]:
    """The logs of one pod, read as one stream: lists of who said what (stream, tag and text as in ``texts``)."""
    pods = {id(log.together): log.together for log in found}
    ((_, pod),) = pods.items()
    marks = {log.rank: bytes((number,)) for number, log in enumerate(found)}
    by_mark = {mark: rank for rank, mark in marks.items()}
    batches = pod.records(marks, since=since, follow=follow, tail=tail)
    return ([(by_mark[record[-2:-1]], _said(record)) for record in batch] for batch in batches)


def by_rank(batches: Iterator[list[Said]], found: Sequence[PodLog]) -> dict[int | None, list[str]]:
    """What each of them said, until the stream ends."""
    said: dict[int | None, list[str]] = {log.rank: [] for log in found}
    for batch in batches:
        for rank, text in batch:
            said[rank].append(text)
    return said


def _said(record: bytes) -> str:
    start = record[-1] - 0x80
    return (record[31:-2] if start == HEADER else b"oF " + record[start:-2]).decode()
