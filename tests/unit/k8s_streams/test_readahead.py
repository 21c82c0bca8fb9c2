"""Who reads a pod's log: the one who wants it while bytes are there, the pod's own thread whenever there is something to wait for."""

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.clusters.kubernetes.streams import logs as logs_room
from gpuctl.clusters.kubernetes.streams import readahead as readahead_room
from gpuctl.clusters.kubernetes.streams.podlog import Flow
from gpuctl.clusters.kubernetes.streams.readahead import Readahead
from gpuctl.model.ask import LogQuery
from tests.unit.k8s_streams.kubelet import QUICK, FakePod, cluster, logs, target, texts


class Pieces:
    """A flow that notes in which thread each of its pieces was read.

    Args:
        count: how many pieces.
        ahead: the first so many are there at once; each of the others when ``more`` is released.
    """

    def __init__(self, count: int, *, ahead: int | None = None, failure: Exception | None = None) -> None:
        self.count = count
        self.failure = failure
        self.more = threading.Semaphore(count if ahead is None else ahead)
        self.read: list[str] = []
        self.closed = threading.Event()
        self.readahead = Readahead(follow=False, pace=msgspec.structs.replace(QUICK, memory=50, most=100))

    def begin(self, *, direct: bool = True) -> Iterator[list[bytes]]:
        ready = self.ready if direct else None
        self.readahead.begin(self._flow(), name="pod", gate=None, ready=ready)
        return self.readahead.batches()

    def ready(self) -> bool:
        """Whether the next piece, or the end, is there."""
        return bool(self.more._value) or len(self.read) == self.count

    def _flow(self) -> Flow[None]:
        try:
            for number in range(self.count):
                self.more.acquire()
                self.readahead.idle(False)
                self.read.append(threading.current_thread().name)
                yield [b"%010d" % number]
            if self.failure is not None:
                raise self.failure
        finally:
            self.closed.set()


def numbers(batches: Iterator[list[bytes]]) -> list[int]:
    return [int(record) for batch in batches for record in batch]


def soon(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_what_is_there_is_read_by_the_one_who_wants_it() -> None:
    pieces = Pieces(1000)
    assert numbers(pieces.begin()) == list(range(1000))
    ours = pieces.read.count(threading.current_thread().name)
    assert pieces.read[0] == "pod"
    assert ours > 900, f"{ours} of 1000"


def test_without_that_its_own_thread_reads_everything() -> None:
    pieces = Pieces(200)
    assert numbers(pieces.begin(direct=False)) == list(range(200))
    assert set(pieces.read) == {"pod"}


def test_what_has_to_be_waited_for_is_left_to_the_thread() -> None:
    pieces = Pieces(6, ahead=2)
    batches = pieces.begin()
    got: list[int] = []
    while len(got) < 2:
        got += numbers(iter([next(batches)]))
    assert next(batches) == []  # and does not hold up who asks
    for _ in range(4):
        pieces.more.release()
    got += numbers(batches)
    assert got == [0, 1, 2, 3, 4, 5]
    assert pieces.read[2] == "pod"


def test_a_reader_who_stands_still_is_read_ahead_for_until_it_is_too_much() -> None:
    pieces = Pieces(40)
    batches = pieces.begin()
    first = numbers(iter([next(batches)]))
    soon(lambda: len(pieces.read) >= 10)  # of 11 bytes each, and 100 may wait
    time.sleep(0.3)
    assert len(pieces.read) <= 12
    assert first + numbers(batches) == list(range(40))


def test_a_failure_comes_behind_everything_that_was_read() -> None:
    pieces = Pieces(5, failure=UnavailableError("the cable was cut"))
    batches = pieces.begin()
    assert [numbers(iter([next(batches)])) for _ in range(5)] == [[0], [1], [2], [3], [4]]
    with pytest.raises(UnavailableError, match="cable"):
        next(batches)


def test_nothing_is_lost_or_out_of_order_however_often_the_turn_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead_room, "_AWAY", 0.002)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for seed in range(60):
            chance = random.Random(seed)
            pieces = Pieces(200)
            monkeypatch.setattr(pieces, "ready", lambda chance=chance: chance.random() < 0.7)
            got = []
            for batch in pieces.begin():
                got += [int(record) for record in batch]
                if chance.random() < 0.03:
                    time.sleep(0.004)
            assert got == list(range(200)), seed
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("direct", [True, False])
def test_who_leaves_ends_the_reading(direct: bool) -> None:
    pieces = Pieces(1000)
    batches = pieces.begin(direct=direct)
    next(batches)
    pieces.readahead.leave()
    assert pieces.closed.wait(10)
    assert len(pieces.read) < 1000


def test_a_node_that_falls_silent_does_not_hold_up_who_asks() -> None:
    pod, sent, go = FakePod(state="ended"), threading.Event(), threading.Event()
    pod.say("a", "b", *[f"{number} {'z' * 1000}" for number in range(200)])
    whole = pod._send

    def halting(request, asked, fault):  # type: ignore[no-untyped-def]
        chunk = request.chunk

        def slowly(data: bytes) -> None:
            if not data:
                sent.set()
                go.wait(10)
            chunk(data)

        request.chunk = slowly
        whole(request, asked, fault)

    pod._send = halting  # type: ignore[method-assign]
    with cluster(pod) as api:
        blocks = logs(api, pod)[0].blocks(since=None, follow=False)
        got = b""
        assert sent.wait(10)
        longest = 0.0
        for _ in range(8):
            began = time.monotonic()
            got += next(blocks)
            longest = max(longest, time.monotonic() - began)
        assert longest < 2.0  # the silence that ends a connection
        go.set()
        assert len(texts(got + b"".join(blocks))) == 202


def test_more_pods_than_are_read_at_once_are_read_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_room, "AT_A_TIME", 2)
    pods = [FakePod(f"train-{number}", state="ended") for number in range(5)]
    for pod in pods:
        pod.say(*[f"{pod.name} {number}" for number in range(50)])
    with cluster(*pods) as api:
        targets = [target(pod, node=number, ranks=(number,)) for number, pod in enumerate(pods)]
        found = logs_room.logs_of(api, targets, LogQuery(), pace=QUICK)
        opened = [log.blocks(since=None, follow=False) for log in found]
        said = [texts(b"".join(blocks)) for blocks in opened]
    assert said == [[f"oF {pod.name} {number}" for number in range(50)] for pod in pods]
