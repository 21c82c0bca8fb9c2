import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from gpuctl.base.errors import NotFoundError, UnavailableError
from gpuctl.model.ask import LogQuery
from gpuctl.model.job import Exit, Pod, State
from gpuctl.model.spec import ArraySpec
from gpuctl.pool import following
from gpuctl.pool.direct import DirectPool
from tests.fakes.cluster import FakeCluster, FakeLog, record
from tests.fakes.pool import fake_pool, submission


def text(pool: DirectPool, **query: Any) -> list[str]:
    return b"".join(pool.logs("train", LogQuery(**query), stop=threading.Event())).decode().splitlines()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def pool(cluster: FakeCluster) -> DirectPool:
    pool = fake_pool(cluster)
    pool.submit(submission(gpus=4, per="gpu"))
    return pool


class Reader:
    """Reads a followed log in a thread."""

    def __init__(self, pool: DirectPool, **query: Any) -> None:
        self.stop = threading.Event()
        self.blocks: list[bytes] = []
        self.error: BaseException | None = None
        self._stream = pool.logs("train", LogQuery(follow=True, **query), stop=self.stop)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.blocks.extend(self._stream)
        except Exception as error:
            self.error = error

    def until(self, condition: Callable[[list[str]], bool]) -> None:
        for _ in range(500):
            if condition(self.lines):
                return
            threading.Event().wait(0.01)
        raise AssertionError(f"never came: {self.lines}")

    @property
    def lines(self) -> list[str]:
        return b"".join(self.blocks).decode().splitlines()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> list[str]:
        self._thread.join(20)
        assert not self.alive
        if self.error:
            raise self.error
        return self.lines


@pytest.fixture
def follow(pool: DirectPool) -> Iterator[Callable[..., Reader]]:
    readers: list[Reader] = []

    def begin(**query: Any) -> Reader:
        readers.append(Reader(pool, **query))
        return readers[-1]

    yield begin
    for reader in readers:
        reader.stop.set()


def test_a_job_that_has_not_started_has_said_nothing(pool: DirectPool) -> None:
    assert text(pool) == []


def test_an_unknown_job_is_told_at_the_call(pool: DirectPool) -> None:
    with pytest.raises(NotFoundError):
        pool.logs("nobody", LogQuery(), stop=threading.Event())


def test_only_the_ranks_that_failed(pool: DirectPool, cluster: FakeCluster) -> None:
    cluster.start("train")
    for rank in range(4):
        cluster.prints("train", rank, f"says {rank}", at=rank)
    cluster.finish("train", {0: 0, 1: 1, 2: 0, 3: 1})
    assert text(pool, failed=True) == ["[1] says 1", "[3] says 3"]
    assert text(pool, first_error=True) == ["says 1"]


def test_ranks_that_were_told_to_end_are_victims(pool: DirectPool, cluster: FakeCluster) -> None:
    job = cluster.start("train")
    for rank in range(4):
        cluster.prints("train", rank, f"says {rank}", at=rank)
    ended = cluster.finish("train", {0: 0, 1: 1, 2: 1, 3: 0})

    def told(*victims: int) -> None:
        last = ended.attempts[-1]
        ranks = tuple(replace(end, exit=Exit(signal=15)) if end.rank in victims else end for end in last.ranks)
        cluster.jobs_by_id[job.id] = replace(ended, attempts=(replace(last, ranks=ranks),))

    told(1)
    assert text(pool, failed=True) == ["says 2"]
    told(1, 2)
    assert text(pool, failed=True) == ["[1] says 1", "[2] says 2"]


def test_nobody_failed(pool: DirectPool, cluster: FakeCluster) -> None:
    cluster.start("train")
    cluster.prints("train", 0, "fine")
    cluster.finish("train")
    assert text(pool, failed=True) == []


def test_a_failed_attempt_without_record_of_its_ranks_is_shown_whole(pool: DirectPool, cluster: FakeCluster) -> None:
    cluster.start("train")
    cluster.prints("train", 2, "the agent died")
    cluster.finish("train", {}, state=State.FAILED)
    assert "[2] the agent died" in text(pool, failed=True)


def test_lost_ranks_are_named(pool: DirectPool, cluster: FakeCluster) -> None:
    job = cluster.start("train")
    cluster.prints("train", 0, "hello")
    cluster.finish("train", {0: 1}, state=State.LOST)
    cluster.log_of[job.id] = [log for log in cluster.log_of[job.id] if log.rank in {0, 1}]
    lines = text(pool)
    assert "[0] hello" in lines
    assert [line for line in lines if "left no log" in line] == [
        f"[{rank}] rank {rank} on local-0 left no log and no exit status (attempt 1: lost)" for rank in (2, 3)
    ]
    assert text(pool, ranks=frozenset({3})) == ["rank 3 on local-0 left no log and no exit status (attempt 1: lost)"]


def _moved(cluster: FakeCluster, *nodes: str) -> None:
    """The last attempt's pods are on these nodes; on ``""`` one that is gone."""
    job = cluster.job("train")
    pods = tuple(Pod(node=node, ranks=(number,)) for number, node in enumerate(nodes))
    cluster.jobs_by_id[job.id] = replace(job, attempts=(replace(job.attempts[-1], pods=pods, ended_at=None),))


def test_pods_that_are_gone_are_missed_by_rank_and_altogether(pool: DirectPool, cluster: FakeCluster) -> None:
    job = cluster.start("train")
    cluster.prints("train", 1, "boom")
    cluster.finish("train", {1: 1}, state=State.FAILED)
    _moved(cluster, "", "node-b")
    cluster.log_of[job.id] = [log for log in cluster.log_of[job.id] if log.rank == 1]
    assert text(pool) == ["[1] boom", "[0] rank 0 left no log and no exit status, for its pod is gone (attempt 1: failed)"]
    _moved(cluster, "", "")
    cluster.log_of[job.id] = []
    assert text(pool) == ["no log is left, for the pods are gone (attempt 1: failed)"]
    assert text(pool, attempt=1, follow=True) == ["no log is left, for the pods are gone (attempt 1: failed)"]


def test_a_job_that_could_not_start_has_no_rank_to_miss(pool: DirectPool, cluster: FakeCluster) -> None:
    job = cluster.start("train")
    cluster.log_of[job.id] = [FakeLog(rank=None)]
    cluster.log_of[job.id][0].content += record("no such program", stream="g")
    cluster.finish("train", {}, state=State.FAILED)
    assert text(pool) == ["no such program"]


def test_following_begins_before_the_job_does(follow: Callable[..., Reader], cluster: FakeCluster) -> None:
    reader = follow()
    cluster.start("train")
    cluster.prints("train", 0, "one")
    reader.until(lambda lines: lines == ["[0] one"])
    cluster.finish("train")
    assert reader.end() == ["[0] one"]


def test_the_end_of_a_stream_is_not_the_end_of_the_job(follow: Callable[..., Reader], cluster: FakeCluster) -> None:
    reader = follow()
    cluster.start("train")
    cluster.prints("train", 0, "first try", at=1)
    cluster.finish("train", {0: 1}, retry=True)
    reader.until(lambda lines: lines == ["[0] first try"])
    assert reader.alive
    cluster.start("train")
    cluster.prints("train", 0, "second try", at=2)
    cluster.finish("train")
    assert reader.end() == ["[0] first try", "[0] second try"]


def test_a_rank_that_speaks_late_is_heard_while_others_run(follow: Callable[..., Reader], cluster: FakeCluster) -> None:
    job = cluster.start("train")
    silent = cluster.log_of[job.id].pop(3)
    cluster.prints("train", 0, "early", at=1)
    reader = follow()
    reader.until(lambda lines: lines == ["[0] early"])
    cluster.log_of[job.id].append(silent)
    cluster.prints("train", 3, "late", at=2)
    reader.until(lambda lines: lines == ["[0] early", "[3] late"])
    cluster.finish("train")
    assert reader.end() == ["[0] early", "[3] late"]


def test_a_rank_that_never_speaks_does_not_hold_the_end(follow: Callable[..., Reader], cluster: FakeCluster) -> None:
    job = cluster.start("train")
    del cluster.log_of[job.id][1:]
    cluster.prints("train", 0, "alone")
    reader = follow()
    reader.until(lambda lines: lines == ["[0] alone"])
    cluster.finish("train")
    assert reader.end() == ["[0] alone"]


def test_one_attempt_is_followed_to_its_own_end(follow: Callable[..., Reader], cluster: FakeCluster) -> None:
    cluster.start("train")
    cluster.prints("train", 0, "first try")
    cluster.finish("train", {0: 1}, retry=True)
    assert follow(attempt=1).end() == ["[0] first try"]


def test_stopping_ends_the_reader_not_the_job(follow: Callable[..., Reader], cluster: FakeCluster) -> None:
    cluster.start("train")
    reader = follow()
    reader.stop.set()
    reader.end()
    assert cluster.job("train").state is State.RUNNING


def test_a_short_absence_of_the_cluster_is_read_through(
    follow: Callable[..., Reader], cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = follow()
    cluster.trouble = UnavailableError("cannot reach local")
    cluster.start("train")
    cluster.prints("train", 0, "still here")
    cluster.finish("train")
    threading.Event().wait(0.3)
    assert reader.alive
    cluster.trouble = None
    assert reader.end() == ["[0] still here"]
    monkeypatch.setattr(following, "PATIENCE", -1.0)
    pool = fake_pool(cluster)
    stream = pool.logs("train", LogQuery(follow=True), stop=threading.Event())
    cluster.trouble = UnavailableError("cannot reach local")
    with pytest.raises(UnavailableError):
        list(stream)


def test_a_task_that_starts_while_another_runs_is_heard_at_once(cluster: FakeCluster) -> None:
    pool = fake_pool(cluster)
    job = pool.submit(submission(array=ArraySpec(first=0, last=9))).job
    cluster.start(job.name)

    def says(task: int, text: str, *, at: float) -> None:
        if task not in logs:
            logs[task] = FakeLog(rank=0, task=task)
            cluster.log_of[job.id].append(logs[task])
        logs[task].content += record(text, at=at)

    logs: dict[int, FakeLog] = {}
    cluster.log_of[job.id].clear()
    says(4, "first", at=1)
    stop = threading.Event()
    stream = iter(pool.logs(job.name, LogQuery(follow=True), stop=stop))
    assert next(stream) == b"[4] first\n"
    says(5, "second", at=2)
    assert next(stream) == b"[5] second\n"
    says(4, "third", at=3)
    assert next(stream) == b"[4] third\n"
    stop.set()
    assert list(stream) == []
