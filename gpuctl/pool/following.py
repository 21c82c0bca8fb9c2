"""One job's logs: which of its streams, for how long, and what is missing from them.

The end of a stream says nothing about the job: after every one the job is read again, and only a final job ends ``--follow``.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gpuctl.base import clock
from gpuctl.base.errors import UnavailableError
from gpuctl.model.ask import LogQuery
from gpuctl.model.job import Attempt, Job, RankEnd
from gpuctl.pool.logs.merge import rendered
from gpuctl.port.cluster import Cluster
from gpuctl.port.stream import RankLog, Stop

T = TypeVar("T")

PAUSE = 0.25
"""Seconds between two looks at a job that waits, or whose end is not recorded yet."""

PATIENCE = 60.0
"""Seconds for which a followed job's cluster may be away before following gives up."""

_Key = tuple[int | None, int, int, int | None]


def stream(cluster: Cluster, ref: str, query: LogQuery, *, stop: Stop) -> Iterator[bytes]:
    """Rendered lines of the job's selected streams.

    Raises:
        NotFoundError: no such job (at the call, before the first line).
    """
    job = cluster.job(ref)
    return _follow(cluster, ref, job, query, stop=stop) if query.follow else _now(cluster, ref, job, query, stop=stop)


def _now(cluster: Cluster, ref: str, job: Job, query: LogQuery, *, stop: Stop) -> Iterator[bytes]:
    logs = selected(cluster.logs(ref, query), job, query)
    yield from rendered([*logs, *absent(logs, job, query)], query, stop)


def _follow(cluster: Cluster, ref: str, job: Job, query: LogQuery, *, stop: Stop) -> Iterator[bytes]:
    seen: dict[_Key, RankLog] = {}
    while True:
        ended = _nothing_follows(job, query)
        logs = selected(_patiently(lambda: cluster.logs(ref, query), stop), job, query)
        fresh = [log for log in logs if _key(log) not in seen]
        if fresh and (ended or _all_there(fresh, job, query)):
            seen.update((_key(log), log) for log in fresh)
            yield from rendered(fresh, query, stop)
        elif ended or stop.is_set():
            break
        else:
            stop.wait(PAUSE)
        if not ended:
            job = _patiently(lambda: cluster.job(ref), stop)
    if not stop.is_set():
        yield from rendered(absent(list(seen.values()), job, query), query, stop)


def selected(logs: Sequence[RankLog], job: Job, query: LogQuery) -> list[RankLog]:
    """The logs that ``--failed`` or ``--first-error`` leave; all of them without either.

    An attempt that failed without a record of its ranks (its agent died first) is shown whole.
    """
    if not (query.failed or query.first_error):
        return list(logs)
    failed = [attempt for attempt in _attempts(job, query) if attempt.ended_at is not None and _bad(attempt)]
    if query.first_error:
        failed = sorted(failed, key=_first_failure)[:1]
    keep: dict[tuple[int | None, int], set[int] | None] = {}
    for attempt in failed:
        ranks = [end for end in attempt.ranks if end.exit.status != 0]
        if query.first_error and ranks:
            ranks = [min(ranks, key=_failure_order)]
        keep[attempt.task, attempt.number] = {end.rank for end in ranks} or None
    return [log for log in logs if _kept(log, keep)]


def absent(logs: Sequence[RankLog], job: Job, query: LogQuery) -> list["Absent"]:
    """One note for every rank that vanished: its attempt ended badly, it has no log, and nobody recorded its end."""
    if query.failed or query.first_error:
        return []
    there = {(log.task, log.attempt, log.rank) for log in logs}
    notes: list[Absent] = []
    for attempt in _attempts(job, query):
        if attempt.ended_at is None or not _bad(attempt):
            continue
        ended = {end.rank for end in attempt.ranks}
        for node, pod in enumerate(attempt.pods):
            if query.node not in (None, node):
                continue
            notes.extend(
                Absent(attempt, rank=rank, node=node, host=pod.node)
                for rank in pod.ranks
                if rank not in ended and (attempt.task, attempt.number, rank) not in there and (query.ranks is None or rank in query.ranks)
            )
    return notes


class Absent:
    """The log of a rank of which nothing was kept: one note of gpuctl's own that says so."""

    def __init__(self, attempt: Attempt, *, rank: int, node: int, host: str) -> None:
        self.rank: int | None = rank
        self.node = node
        self.task = attempt.task
        self.attempt = attempt.number
        at = attempt.ended_at or clock.now()
        text = f"rank {rank} on {host} left no log and no exit status (attempt {attempt.number}: {attempt.state.value})"
        self._record = f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z gF {text}\n".encode()

    def blocks(self, *, since: str | None, follow: bool) -> Iterator[bytes]:
        """The note, unless it is older than ``since``."""
        del follow  # it is complete
        if since is None or self._record[:30].decode() >= since:
            yield self._record

    def tail(self, lines: int) -> bytes:
        """The note."""
        return self._record if lines > 0 else b""


def _attempts(job: Job, query: LogQuery) -> list[Attempt]:
    """The attempts a query is about: the numbered one, else the last of each task."""
    wanted = [attempt for attempt in job.attempts if query.task is None or attempt.task == query.task]
    if query.attempt is not None:
        return [attempt for attempt in wanted if attempt.number == query.attempt]
    last: dict[int | None, Attempt] = {}
    for attempt in wanted:
        if attempt.task not in last or attempt.number > last[attempt.task].number:
            last[attempt.task] = attempt
    return list(last.values())


def _nothing_follows(job: Job, query: LogQuery) -> bool:
    """Whether no further line can appear: the job is final, or the one attempt that was asked for is over."""
    if job.final:
        return True
    if query.attempt is None:
        return False
    asked = _attempts(job, query)
    return bool(asked) and job.tasks is None and all(attempt.ended_at is not None for attempt in asked)


def _all_there(logs: Sequence[RankLog], job: Job, query: LogQuery) -> bool:
    """Whether to begin now: every rank that is known has its log, or enough time has passed that a silent one is not waited for."""
    there = {(log.task, log.attempt, log.rank) for log in logs}
    now = clock.now()
    for attempt in _attempts(job, query):
        young = attempt.ended_at is None and attempt.started_at is not None and clock.elapsed(attempt.started_at, now) < 1.0
        ranks = {rank for pod in attempt.pods for rank in pod.ranks if query.ranks is None or rank in query.ranks}
        if young and any((attempt.task, attempt.number, rank) not in there for rank in ranks):
            return False
    return True


def _patiently(read: Callable[[], T], stop: Stop) -> T:
    """Read through a short absence of the cluster: a followed job goes on without us, so should its reader."""
    start = clock.now()
    while True:
        try:
            return read()
        except UnavailableError:
            if clock.elapsed(start, clock.now()) > PATIENCE or stop.wait(1.0):
                raise


def _key(log: RankLog) -> _Key:
    return log.task, log.attempt, log.node, log.rank


def _bad(attempt: Attempt) -> bool:
    return attempt.state.value != "succeeded"


def _kept(log: RankLog, keep: dict[tuple[int | None, int], set[int] | None]) -> bool:
    if (log.task, log.attempt) not in keep:
        return False
    ranks = keep[log.task, log.attempt]
    return ranks is None or log.rank in ranks


def _failure_order(end: RankEnd) -> tuple[bool, float, int]:
    """The first to fail; a rank that was terminated is a victim, whatever its clock says."""
    return end.exit.signal == 15, end.at.timestamp(), end.rank


def _first_failure(attempt: Attempt) -> tuple[bool, float, int]:
    failures = [_failure_order(end) for end in attempt.ranks if end.exit.status != 0]
    ended = attempt.ended_at or clock.now()
    return min(failures, default=(True, ended.timestamp(), attempt.task or 0))
