"""Logs that stand in for one that is not there: of a rank that has not said anything yet, and of one that vanished."""

import time
from collections.abc import Iterator

from gpuctl.base import clock
from gpuctl.base.errors import NotFoundError, UnavailableError
from gpuctl.model.ask import LogQuery
from gpuctl.model.job import Attempt
from gpuctl.port.cluster import Cluster
from gpuctl.port.stream import RankLog

Key = tuple[int | None, int, int, int | None]
"""Task, attempt, node and rank of a log."""


def key_of(log: RankLog) -> Key:
    """The log's key."""
    return log.task, log.attempt, log.node, log.rank


class Lookout:
    """Looks for the logs of one attempt on behalf of all of its ranks, the more seldom the longer nothing new is there.

    Args:
        cluster: where the job is.
        ref: the job.
        query: its attempt and, of an array, its task.
    """

    def __init__(self, cluster: Cluster, ref: str, query: LogQuery) -> None:
        self._cluster = cluster
        self._ref = ref
        self._query = query
        self._found: dict[Key, RankLog] = {}
        self._pause = 0.1
        self._next = 0.0
        self._over = False

    def look(self, key: Key) -> RankLog | None:
        """The log, if it is there by now."""
        if key not in self._found and not self._over and time.monotonic() >= self._next:
            self._refresh()
        return self._found.get(key)

    @property
    def over(self) -> bool:
        """Whether the attempt had ended before the last look, so that nothing can come any more."""
        return self._over

    def _refresh(self) -> None:
        before = len(self._found)
        try:
            over = self._ended()
            for log in self._cluster.logs(self._ref, self._query):
                self._found.setdefault(key_of(log), log)
            self._over = over
        except UnavailableError:
            pass  # who follows decides how long to be patient; here it only means nothing new
        self._pause = 0.1 if len(self._found) > before else min(self._pause * 1.5, 2.0)
        self._next = time.monotonic() + self._pause

    def _ended(self) -> bool:
        try:
            job = self._cluster.job(self._ref)
        except NotFoundError:
            return True
        number, task = self._query.attempt, self._query.task
        return job.final or any(
            attempt.ended_at is not None for attempt in job.attempts if attempt.number == number and attempt.task == task
        )


class Awaited:
    """The log of a rank that has not said anything yet: nothing, until it does or its attempt ends."""

    together = None

    def __init__(self, lookout: Lookout, key: Key) -> None:
        self._lookout = lookout
        self._key = key
        self.task, self.attempt, self.node = key[:3]
        self.rank: int | None = key[3]

    @property
    def found(self) -> bool:
        """Whether it has said anything."""
        return self._lookout.look(self._key) is not None

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """The rank's own records once there are some."""
        while True:
            log = self._lookout.look(self._key)
            if log is not None:
                yield from log.blocks(since=since, follow=follow, tail=tail)
                return
            if self._lookout.over or not follow:
                return
            yield b""

    def tail(self, lines: int) -> bytes:
        """The rank's own last records, if there are any."""
        log = self._lookout.look(self._key)
        return log.tail(lines) if log is not None else b""


class Absent:
    """The log of a rank of which nothing was kept: one note of gpuctl's own that says so.

    Args:
        attempt: of which.
        rank: None for the whole attempt, of which nothing at all is left.
        node: the index of its node.
        host: the node's name, ``""`` where nobody knows it any more.
    """

    together = None

    def __init__(self, attempt: Attempt, *, rank: int | None, node: int, host: str) -> None:
        self.rank: int | None = rank
        self.node = node
        self.task = attempt.task
        self.attempt = attempt.number
        at = attempt.ended_at or clock.now()
        how = f"(attempt {attempt.number}: {attempt.state.value})"
        text = f"rank {rank} on {host} left no log and no exit status {how}"
        if not host:
            text = f"rank {rank} left no log and no exit status, for its pod is gone {how}"
        if rank is None:
            text = f"no log is left, for the pods are gone {how}"
        self._record = f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z gF {text}\n".encode()

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """The note, unless it is older than ``since``."""
        del follow  # it is complete
        if tail == 0:
            return
        if since is None or self._record[:30].decode() >= since:
            yield self._record

    def tail(self, lines: int) -> bytes:
        """The note."""
        return self._record if lines > 0 else b""
