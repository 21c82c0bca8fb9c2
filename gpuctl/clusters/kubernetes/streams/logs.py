"""The logs of a job's pods as :class:`gpuctl.port.stream.RankLog`: one for each rank, and one for each node's agent.

The ranks of one pod share one HTTP stream: the first to be read opens it, the others join, and whoever comes too late, or reads again,
has a stream of its own.
"""

import threading
from collections.abc import Iterator, Sequence

from gpuctl.clusters.kubernetes.streams.podstate import PodStates
from gpuctl.clusters.kubernetes.streams.reading import Reading
from gpuctl.clusters.kubernetes.streams.sharing import Pace, Shared
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api
from gpuctl.model.ask import LogQuery

AT_A_TIME = 32
"""Pods whose present logs are read at once."""
_Key = tuple[str | None, bool, int | None]


class _PodReader:
    """The streams of one pod."""

    def __init__(
        self, api: Api, target: PodTarget, states: PodStates, *, expected: Sequence[int | None], pace: Pace, gate: threading.Semaphore
    ) -> None:
        self._api = api
        self._target = target
        self._states = states
        self._expected = expected
        self._pace = pace
        self._gate = gate
        self._lock = threading.Lock()
        self._current: dict[_Key, Shared] = {}

    def reading(self, whose: int | None, *, since: str | None, follow: bool, tail: int | None) -> Shared:
        """A stream that ``whose`` has joined."""
        key = (since, follow, tail)
        with self._lock:
            current = self._current.get(key)
            if current is not None and current.join(whose):
                return current
            made = self._current[key] = Reading(
                self._api,
                self._target,
                self._states,
                first=whose,
                expected=self._expected,
                since=since,
                follow=follow,
                tail=tail,
                pace=self._pace,
                gate=self._gate,
            ).shared
            return made


class PodLog:
    """The log of one rank of a pod, or of its agent (``port.stream.RankLog``).

    ``tail`` counts the lines of those ranks of the pod that are read together, and brings at least so many of them; of a rank that is
    read alone it is exact.
    """

    def __init__(self, pod: _PodReader, target: PodTarget, rank: int | None) -> None:
        self._pod = pod
        self.rank = rank
        self.node = target.node
        self.task = target.task
        self.attempt = target.attempt

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """See the port. The stream is opened by the call, so that all pods answer at the same time."""
        blocks = _primed(self._pod.reading(self.rank, since=since, follow=follow, tail=tail), self.rank)
        next(blocks)
        return blocks

    def tail(self, lines: int) -> bytes:
        """See the port."""
        return b"".join(self.blocks(since=None, follow=False, tail=lines))


def logs_of(
    api: Api, pods: Sequence[PodTarget], query: LogQuery, *, selector: str | None = None, pace: Pace | None = None
) -> Sequence[PodLog]:
    """The logs that ``query`` selects by rank, node, task and attempt, in the order of task, node and rank; agents before ranks.

    Args:
        api: where the pods are.
        pods: every pod of the job that is there, of all attempts that are kept.
        query: ``ranks``, ``node``, ``task`` and ``attempt`` count here; the last attempt of each task unless one is named.
        selector: a label selector that matches all of ``pods``, to look at many at once.
        pace: how patient reading is.
    """
    last: dict[int | None, int] = {}
    for pod in pods:
        last[pod.task] = max(last.get(pod.task, 0), pod.attempt)
    chosen = [
        pod
        for pod in pods
        if (query.task is None or pod.task == query.task)
        and (query.node is None or pod.node == query.node)
        and pod.attempt == (query.attempt if query.attempt is not None else last[pod.task])
    ]
    states = PodStates(api, chosen, selector=selector)
    gate = threading.Semaphore(AT_A_TIME)
    found: list[PodLog] = []
    for pod in sorted(chosen, key=lambda each: (-1 if each.task is None else each.task, each.node)):
        whose: list[int | None] = [rank for rank in pod.ranks if query.ranks is None or rank in query.ranks]
        if query.ranks is None and (pod.prefixed or pod.before):
            whose.insert(0, None)
        reader = _PodReader(api, pod, states, expected=whose, pace=pace or Pace(), gate=gate)
        found += [PodLog(reader, pod, rank) for rank in whose]
    return found


def _primed(reading: Shared, whose: int | None) -> Iterator[bytes]:
    """The blocks, behind an empty one: a generator that has begun is closed properly also by who never reads it."""
    try:
        yield b""
        yield from reading.blocks(whose)
    finally:
        reading.leave(whose)
