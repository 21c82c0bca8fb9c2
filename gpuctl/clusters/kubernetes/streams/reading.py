"""One pass over one pod's log, for all of its ranks that somebody wants."""

import random
import threading
import time
from collections.abc import Mapping
from typing import TypeVar, cast

from gpuctl.base.errors import GpuctlError, InternalError
from gpuctl.clusters.kubernetes.streams import podlog, records
from gpuctl.clusters.kubernetes.streams.podlog import Chapter, Fetch, Flow
from gpuctl.clusters.kubernetes.streams.podstate import PodStates
from gpuctl.clusters.kubernetes.streams.readahead import Pace, Readahead
from gpuctl.clusters.kubernetes.streams.records import Marking
from gpuctl.clusters.kubernetes.streams.resume import Resume
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api
from gpuctl.kube.errors import ApiFailure, Gone, NotFound, TooMany, Unavailable, Undecodable

T = TypeVar("T")
_PASSING = (Unavailable, TooMany, Gone, Undecodable)
"""Failures that may be over a moment later."""
_TAIL_TRIES = 3


class Reading:
    """Reads a pod's log from ``since`` on and marks whose each record is.

    Args:
        api: where the pod is.
        target: the pod.
        states: to see whether it still is there.
        marks: of the ranks (None: the agent) that are wanted.
        since: an instant in the header's form.
        follow: until the container has ended for good.
        tail: begin with the last so many lines.
        pace: how patient to be.
        gate: held while reading what is there; bounds how many pods are read at a time.
        direct: whether who wants the log may read it in his own thread.
    """

    def __init__(
        self,
        api: Api,
        target: PodTarget,
        states: PodStates,
        *,
        marks: Mapping[int | None, bytes],
        since: str | None,
        follow: bool,
        tail: int | None,
        pace: Pace,
        gate: threading.Semaphore | None,
        direct: bool,
    ) -> None:
        self._target = target
        self._states = states
        self._follow = follow
        self._tail = tail
        self._pace = pace
        self._marks = marks
        self.ahead = Readahead(follow=follow, pace=pace)
        self._closing = self.ahead.closing
        self._fetch = Fetch(api, target, since=since, silence_s=pace.silence_s, idle=self.ahead.idle, closing=self._closing.is_set)
        self.ahead.begin(self._safely(), name=f"log-{target.name}", gate=gate, ready=self._fetch.ready if direct else None)

    def _safely(self) -> Flow[None]:
        """Everything, and no other errors than gpuctl's."""
        try:
            yield from self._read()
        except GpuctlError:
            raise
        except Exception as error:
            if not self._closing.is_set():
                raise InternalError(f"cannot read the log of {self._target.place}: {type(error).__name__}: {error}") from error

    def _read(self) -> Flow[None]:
        chapters = self._chapters()
        if self._tail is not None:
            yield from self._last_lines(chapters, self._tail)
        last = b""
        for chapter in chapters:
            chapter.marking.last = max(chapter.marking.last, last)
            if self._follow and not self._target.previous:
                yield from self._followed(chapter)
            elif self._tail is None:
                yield from self._once(chapter)
            last = chapter.marking.last
            if self._closing.is_set():
                return

    def _chapters(self) -> list[Chapter]:
        target = self._target
        # A pod without ranks (a worker of Ray) has an agent only, whose everything is.
        alone = target.ranks[0] if target.ranks and not target.prefixed else None
        marking = Marking(self._marks, ranks=target.ranks, prefixed=target.prefixed, alone=alone)
        chapters = [Chapter(container=target.container, marking=marking)]
        if None in self._marks and not target.previous:
            before = [Chapter(container=name, marking=Marking(self._marks, ranks=(), prefixed=False)) for name in target.before]
            chapters = before + chapters
        return chapters

    def _once(self, chapter: Chapter) -> Flow[None]:
        """What is there now."""
        began = time.monotonic()
        wait = self._pace.first_wait_s
        while True:
            failure = yield from self._fetch.read(chapter, previous=self._target.previous)
            if failure is None:
                if chapter.rest and self._over(chapter):
                    yield self._fetch.finish(chapter)
                return
            if isinstance(failure, NotFound):
                yield from self._lost(chapter)
                return
            if podlog.not_started(failure) or podlog.no_previous(failure):
                return
            if not isinstance(failure, _PASSING):
                raise failure
            if time.monotonic() - began > self._pace.farewell_s or self._closing.is_set():
                if not failure.status:  # not even the API server answers
                    raise failure
                yield from self._given_up(chapter, failure)
                return
            wait = self._pause(wait)

    def _followed(self, chapter: Chapter) -> Flow[None]:
        """Everything until the container has ended for good."""
        seen_after = float("-inf")
        trouble: float | None = None
        wait = self._pace.first_wait_s
        while not self._closing.is_set():
            try:
                standing = self._states.look(self._target, chapter.container, after=seen_after)
            except _PASSING:
                now = time.monotonic()
                trouble = trouble if trouble is not None else now
                if now - trouble > self._pace.patience_s:
                    raise
                wait = self._pause(wait)
                continue
            if standing is None:
                yield from self._lost(chapter)
                return
            if not standing.started:
                if standing.over:
                    return
                self.ahead.known()
                seen_after = time.monotonic()
                self._closing.wait(self._pace.poll_s)
                continue
            yield from self._noticed(chapter, standing.restarts)
            before = chapter.resume.anchor
            failed = yield from self._fetch.read(chapter, follow=not standing.over)
            seen_after = time.monotonic()
            if failed is None and standing.over:
                yield self._fetch.finish(chapter)
                return
            if failed is None or chapter.resume.anchor is not before:
                trouble = None
                wait = self._pace.first_wait_s if chapter.resume.anchor is not before else wait
            elif not isinstance(failed, (*_PASSING, NotFound)) and not podlog.not_started(failed):
                raise failed
            else:
                trouble = trouble if trouble is not None else seen_after
                if standing.over and seen_after - trouble > self._pace.farewell_s:
                    yield from self._given_up(chapter, failed)
                    return
            wait = self._pause(wait)

    def _noticed(self, chapter: Chapter, restarts: int) -> Flow[None]:
        """A container that was started again writes a new log; first the rest of the one before it."""
        if chapter.restarts is not None and restarts > chapter.restarts:
            failed: ApiFailure | None = None
            if restarts == chapter.restarts + 1:
                failed = yield from self._fetch.read(chapter, previous=True)
                yield self._fetch.finish(chapter)
            if failed is not None or restarts > chapter.restarts + 1:
                yield self._fetch.note(
                    chapter, f"{chapter.container} in {self._target.place} was started again; lines before that were lost"
                )
            chapter.resume = Resume()
        chapter.restarts = restarts

    def _last_lines(self, chapters: list[Chapter], count: int) -> Flow[None]:
        """Hand over the last lines of what is there now: so many of the ranks that are read, taken together.

        A pod's last lines are not a rank's: more is read until there are enough of the wanted ones, or all was read.
        """
        collected: list[bytes] = []
        for chapter in chapters:
            asked = max(1, count * (len(self._target.ranks) + 1 if self._target.prefixed else 1))
            kept: list[bytes] = []
            for _ in range(_TAIL_TRIES):
                kept = yield from self._snapshot(chapter, asked)
                there = sum(not records.is_note(record) for record in kept)
                if chapter.lines < asked or there >= count or not self._target.prefixed:
                    break
                asked *= 8
            else:
                kept = yield from self._snapshot(chapter, None)
            collected += kept
        yield records.last_lines(collected, count)

    def _snapshot(self, chapter: Chapter, tail: int | None) -> Flow[list[bytes]]:
        wait, began = self._pace.first_wait_s, time.monotonic()
        while True:
            fresh = Resume()
            chapter.resume, chapter.marking.last = fresh, b""
            kept: list[bytes] = []
            failure = yield from _into(kept, self._fetch.read(chapter, tail=tail, previous=self._target.previous))
            if failure is None and not self._follow and chapter.rest and self._over(chapter):
                kept += self._fetch.finish(chapter)
            if failure is None:
                return kept
            if isinstance(failure, NotFound) or podlog.not_started(failure) or podlog.no_previous(failure):
                chapter.resume = Resume()
                if isinstance(failure, NotFound) and not self._follow:
                    yield from self._lost(chapter)
                return []
            if not isinstance(failure, _PASSING):
                raise failure
            if time.monotonic() - began > self._pace.farewell_s or self._closing.is_set():
                raise failure
            wait = self._pause(wait)

    def _over(self, chapter: Chapter) -> bool:
        try:
            standing = self._states.look(self._target, chapter.container, after=float("-inf"))
        except ApiFailure:
            return False
        return standing is None or standing.over or self._target.previous

    def _lost(self, chapter: Chapter) -> Flow[None]:
        """The pod is not there any more."""
        self.ahead.known()
        yield self._fetch.finish(chapter)
        if not chapter.complete:
            since = f"what it said after {chapter.marking.last.decode()}" if chapter.marking.last else "what it said"
            yield self._fetch.note(chapter, f"{self._target.place} is gone; {since} was lost")

    def _given_up(self, chapter: Chapter, failure: ApiFailure) -> Flow[None]:
        """The node does not hand its log over, which concerns this pod alone."""
        self.ahead.known()
        since = f"after {chapter.marking.last.decode()} " if chapter.marking.last else ""
        yield self._fetch.note(chapter, f"the log of {self._target.place} cannot be read {since}({failure.cause or failure.message})")

    def _pause(self, wait: float) -> float:
        """Sleep, with jitter, so that the readers of many pods do not come back at once; the next wait."""
        self._closing.wait(wait * random.uniform(0.5, 1.0))
        return min(wait * 2, self._pace.longest_wait_s)


def _into(kept: list[bytes], flow: Flow[T]) -> Flow[T]:
    """Put into ``kept`` what is read, instead of handing it over."""
    while True:
        try:
            kept += next(flow)
        except StopIteration as ended:
            return cast("T", ended.value)
        yield []
