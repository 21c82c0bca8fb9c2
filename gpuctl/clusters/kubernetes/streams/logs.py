"""The logs of a job's pods as :class:`gpuctl.port.stream.RankLog`: one for each rank, and one for each node's agent.

The ranks of one pod come in one HTTP stream, which is read once for all that are wanted (``RankLog.together``); a rank that is read alone
has a stream of its own.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence

from gpuctl.clusters.kubernetes.streams import records
from gpuctl.clusters.kubernetes.streams.podstate import PodStates
from gpuctl.clusters.kubernetes.streams.readahead import Pace, Readahead
from gpuctl.clusters.kubernetes.streams.reading import Reading
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api
from gpuctl.model.ask import LogQuery

AT_A_TIME = 32
"""Pods whose present logs are read at once."""


class _Pod:
    """The one stream of a pod (``port.stream.Together``).

    Args:
        gate: for pods that are too many to be read at once: the merge waits for all of them, so each is read to its end before its turn.
    """

    def __init__(self, api: Api, target: PodTarget, states: PodStates, *, pace: Pace, gate: threading.Semaphore | None) -> None:
        self._api = api
        self._target = target
        self._states = states
        self._pace = pace
        self._gate = gate

    def records(
        self, marks: Mapping[int | None, bytes], *, since: str | None, follow: bool, tail: int | None = None
    ) -> Iterator[list[bytes]]:
        """See the port. The stream is opened by the call, so that all pods answer at the same time."""
        reading = Reading(
            self._api,
            self._target,
            self._states,
            marks=marks,
            since=since,
            follow=follow,
            tail=tail,
            pace=self._pace,
            gate=None if follow else self._gate,
            direct=self._gate is None and not follow,
        )
        batches = _primed(reading.ahead)
        next(batches)
        return batches


class PodLog:
    """The log of one rank of a pod, or of its agent (``port.stream.RankLog``)."""

    def __init__(self, pod: _Pod, target: PodTarget, rank: int | None) -> None:
        self.together = pod
        self.rank = rank
        self.node = target.node
        self.task = target.task
        self.attempt = target.attempt

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """See the port. A stream of its own, opened by the call."""
        batches = self.together.records({self.rank: b""}, since=since, follow=follow, tail=tail)
        return (records.plain(batch) if batch else b"" for batch in batches)

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
    gate = threading.Semaphore(AT_A_TIME) if len(chosen) > AT_A_TIME else None
    found: list[PodLog] = []
    for pod in sorted(chosen, key=lambda each: (-1 if each.task is None else each.task, each.node)):
        whose: list[int | None] = [rank for rank in pod.ranks if query.ranks is None or rank in query.ranks]
        if query.ranks is None and (pod.prefixed or pod.before):
            whose.insert(0, None)
        together = _Pod(api, pod, states, pace=pace or Pace(), gate=gate)
        found += [PodLog(together, pod, rank) for rank in whose]
    return found


def _primed(ahead: Readahead) -> Iterator[list[bytes]]:
    """The batches, behind an empty one: a generator that has begun is closed properly also by who never reads it."""
    try:
        yield []
        yield from ahead.batches()
    finally:
        ahead.leave()
