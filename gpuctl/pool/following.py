"""One job's logs: which of its streams, for how long, and what is missing from them.

The end of a stream says nothing about the job: after every one the job is read again, and only a final job ends ``--follow``.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from signal import SIGTERM
from typing import TypeVar

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import UnavailableError
from gpuctl.model.ask import LogQuery
from gpuctl.model.job import Attempt, Job, RankEnd, State
from gpuctl.pool.logs import jsonlines, merge
from gpuctl.pool.logs.label import Among
from gpuctl.pool.standins import Absent, Awaited, Key, Lookout, key_of
from gpuctl.port.cluster import Cluster
from gpuctl.port.stream import RankLog, Stop

T = TypeVar("T")

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two looks at a job that waits, or whose end is not recorded yet; the longer it takes, the longer."""

PATIENCE = 60.0
"""Seconds for which a followed job's cluster may be away before following gives up."""


def stream(cluster: Cluster, ref: str, query: LogQuery, *, stop: Stop) -> Iterator[bytes]:
    """Rendered lines of the job's selected streams.

    Raises:
        NotFoundError: no such job (at the call, before the first line).
    """
    job = cluster.job(ref)
    return _follow(cluster, ref, job, query, stop=stop) if query.follow else _now(cluster, ref, job, query, stop=stop)


def _now(cluster: Cluster, ref: str, job: Job, query: LogQuery, *, stop: Stop) -> Iterator[bytes]:
    logs = selected(cluster.logs(ref, query), job, query)
    yield from _written([*logs, *absent(logs, job, query)], query, stop)


def _follow(cluster: Cluster, ref: str, job: Job, query: LogQuery, *, stop: Stop) -> Iterator[bytes]:
    among = _expected(job, query)
    if query.failed or query.first_error or among is None:
        yield from _one_after_another(cluster, ref, job, query, stop=stop)
        return
    watch = _Watch(cluster, ref, job, query, stop=stop)
    yield from _written(watch.look() or (), query, stop, arrivals=merge.Arrivals(watch.look, among))
    if not stop.is_set():
        yield from _written(absent(watch.seen, watch.job, query), query, stop)


def _expected(job: Job, query: LogQuery) -> Among | None:
    """How many ranks will speak, over all tasks; None when only one log is worth waiting for at a time."""
    spec = job.spec
    ranks = 1 if spec.kind == "ray" else spec.nodes * spec.procs_per_node
    if query.node is not None:
        ranks = 1 if spec.kind == "ray" else spec.procs_per_node
    if query.ranks is not None:
        ranks = len(query.ranks)
    tasks = spec.array.count if spec.array is not None and query.task is None else 1
    if ranks * tasks == 1 and spec.kind != "ray":
        return None
    return Among(total=ranks * tasks, tasks=tasks > 1, ranks=ranks > 1)


class _Watch:
    """Looks for logs that appear, the more seldom the longer nothing is new."""

    def __init__(self, cluster: Cluster, ref: str, job: Job, query: LogQuery, *, stop: Stop) -> None:
        self.job = job
        self._cluster = cluster
        self._ref = ref
        self._query = query
        self._stop = stop
        self._seen: dict[Key, RankLog] = {}
        self._pause = SHORTEST_PAUSE
        self._next = 0.0

    @property
    def seen(self) -> list[RankLog]:
        """Every log so far."""
        return list(self._seen.values())

    def look(self) -> Sequence[RankLog] | None:
        """Logs that are new since the last look; None once the job has ended and all of its logs were there at a look after that."""
        if time.monotonic() < self._next:
            return ()
        over = _nothing_follows(self.job, self._query)
        if not over:
            self.job = _patiently(lambda: self._cluster.job(self._ref), self._stop)
            over = _nothing_follows(self.job, self._query)
        logs = _patiently(lambda: self._cluster.logs(self._ref, self._query), self._stop)
        fresh = [log for log in logs if key_of(log) not in self._seen]
        if over and not fresh:
            return None
        self._seen.update((key_of(log), log) for log in fresh)
        self._pause = SHORTEST_PAUSE if fresh else min(self._pause * 1.5, LONGEST_PAUSE)
        self._next = time.monotonic() + self._pause
        return fresh


def _one_after_another(cluster: Cluster, ref: str, job: Job, query: LogQuery, *, stop: Stop) -> Iterator[bytes]:
    """What is there to its end, then what has appeared meanwhile: a rank alone comes byte for byte, an unfinished line as far as it is."""
    seen: dict[Key, RankLog] = {}
    pause = SHORTEST_PAUSE
    while True:
        over = _nothing_follows(job, query)
        logs = _patiently(lambda: cluster.logs(ref, query), stop)
        fresh = [log for log in selected(logs, job, query) if key_of(log) not in seen]
        if not over:
            fresh += _awaited(cluster, ref, job, query, {*seen, *map(key_of, logs)})
        if fresh:
            asked = query if not seen else msgspec.structs.replace(query, tail=None)
            seen.update((key_of(log), log) for log in fresh)
            yield from _written(fresh, _prefixed(asked, seen), stop)
            pause = SHORTEST_PAUSE
        elif over or stop.wait(pause):
            break
        pause = min(pause * 1.5, LONGEST_PAUSE)
        if not over:
            job = _patiently(lambda: cluster.job(ref), stop)
    if not stop.is_set():
        there = [log for log in seen.values() if not isinstance(log, Awaited) or log.found]
        yield from _written(absent(there, job, query), query, stop)


def _awaited(cluster: Cluster, ref: str, job: Job, query: LogQuery, there: set[Key]) -> list[RankLog]:
    """One log for every rank of the running attempts that has not said anything yet."""
    if query.failed or query.first_error:
        return []
    awaited: list[RankLog] = []
    for attempt in _attempts(job, query):
        if attempt.ended_at is not None:
            continue
        lookout = Lookout(cluster, ref, msgspec.structs.replace(query, task=attempt.task, attempt=attempt.number))
        for node, pod in enumerate(attempt.pods):
            if query.node not in (None, node):
                continue
            ranks = [rank for rank in pod.ranks if query.ranks is None or rank in query.ranks]
            keys = [(attempt.task, attempt.number, node, rank) for rank in ranks]
            awaited.extend(Awaited(lookout, key) for key in keys if key not in there)
    return awaited


def _prefixed(query: LogQuery, seen: Iterable[Key]) -> LogQuery:
    """Labels, as soon as there have been several ranks: a straggler that is rendered alone is one of them."""
    several = len({(task, rank) for task, _, _, rank in seen if rank is not None}) > 1
    return msgspec.structs.replace(query, prefix=True) if several and query.prefix is None else query


def _written(logs: Sequence[RankLog], query: LogQuery, stop: Stop, *, arrivals: merge.Arrivals | None = None) -> Iterator[bytes]:
    """What ``logs`` say, as the query wants it written."""
    if query.as_json:
        return (jsonlines.encoded(line) for line in merge.lines(logs, query, stop, arrivals=arrivals))
    return merge.rendered(logs, query, stop, arrivals=arrivals)


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
        # Those that were told to end because another one had failed are its victims, unless there is no other.
        ranks = [end for end in ranks if end.exit.signal != SIGTERM] or ranks
        if query.first_error and ranks:
            ranks = [min(ranks, key=_failure_order)]
        keep[attempt.task, attempt.number] = {end.rank for end in ranks} or None
    return [log for log in logs if _kept(log, keep)]


def absent(logs: Sequence[RankLog], job: Job, query: LogQuery) -> list[Absent]:
    """One note for every rank that vanished: its attempt ended badly, it has no log, and nobody recorded its end."""
    if query.failed or query.first_error:
        return []
    there = {(log.task, log.attempt, log.rank) for log in logs}
    notes: list[Absent] = []
    for attempt in _attempts(job, query):
        if not _over(attempt) or not _bad(attempt):
            continue
        ended = {end.rank for end in attempt.ranks}
        own = [log for log in logs if (log.task, log.attempt) == (attempt.task, attempt.number)]
        if not own and attempt.pods and not any(pod.node for pod in attempt.pods):
            notes.append(Absent(attempt, rank=None, node=0, host=""))
            continue
        spoke = any(log.rank is not None for log in own)
        if attempt.state is State.FAILED and not ended and not spoke:
            continue  # it failed before there was any rank, which its agent tells
        for node, pod in enumerate(attempt.pods):
            if query.node not in (None, node):
                continue
            notes.extend(
                Absent(attempt, rank=rank, node=node, host=pod.node)
                for rank in pod.ranks
                if rank not in ended and (attempt.task, attempt.number, rank) not in there and (query.ranks is None or rank in query.ranks)
            )
    return notes


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
    return bool(asked) and job.tasks is None and all(_over(attempt) for attempt in asked)


def _patiently(read: Callable[[], T], stop: Stop) -> T:
    """Read through a short absence of the cluster: a followed job goes on without us, so should its reader."""
    start = clock.now()
    while True:
        try:
            return read()
        except UnavailableError:
            if clock.elapsed(start, clock.now()) > PATIENCE or stop.wait(1.0):
                raise


def _over(attempt: Attempt) -> bool:
    """Whether it has ended, even if nobody knows when."""
    return attempt.ended_at is not None or attempt.state.final


def _bad(attempt: Attempt) -> bool:
    return attempt.state.value != "succeeded"


def _kept(log: RankLog, keep: dict[tuple[int | None, int], set[int] | None]) -> bool:
    if (log.task, log.attempt) not in keep:
        return False
    ranks = keep[log.task, log.attempt]
    return ranks is None or log.rank in ranks


def _failure_order(end: RankEnd) -> tuple[bool, float, int]:
    """The first to fail; a rank that was terminated is a victim, whatever its clock says."""
    return end.exit.signal == SIGTERM, end.at.timestamp(), end.rank


def _first_failure(attempt: Attempt) -> tuple[bool, float, int]:
    failures = [_failure_order(end) for end in attempt.ranks if end.exit.status != 0]
    ended = attempt.ended_at or clock.now()
    return min(failures, default=(True, ended.timestamp(), attempt.task or 0))
