"""What one thread reads of a pod, shared out among those who read the logs of its ranks."""

import threading
import time
from collections.abc import Collection, Iterator

import msgspec

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes.streams.podlog import ANYBODY
from gpuctl.clusters.kubernetes.streams.spool import Spool

_ASK = 0.2
"""Seconds an empty-handed reader waits at most."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How patient reading is, in seconds and bytes.

    Attributes:
        silence_s: a connection without a byte for so long is opened anew; what was a quiet job costs a request, what was a dead
            connection is mended.
        first_wait_s, longest_wait_s: between two tries.
        poll_s: between two looks at a container that has not started.
        patience_s: how long following goes on while the API server cannot be reached.
        farewell_s: how long the last lines of a container that has ended are tried for.
        opening_s: how long a follower waits for the first answer before it says "nothing new".
        quiet_s: silence after which everything that was there has come.
        join_s: how long after its start a rank may join a pass.
        memory: bytes kept in memory per pod; what is more goes to a file.
        most: bytes that wait for readers who do not come, before reading stops until they do.
    """

    silence_s: float = 60.0
    first_wait_s: float = 0.25
    longest_wait_s: float = 5.0
    poll_s: float = 1.0
    patience_s: float = 300.0
    farewell_s: float = 30.0
    opening_s: float = 1.0
    quiet_s: float = 0.05
    join_s: float = 2.0
    memory: int = 16 << 20
    most: int = 256 << 20


class Shared:
    """Queues of records by rank, with one writer and any number of readers.

    Args:
        first: the rank (None: the agent) that reads from the start.
        expected: the ranks that may join, it among them.
        follow: whether there is a moment at which nothing new is there, although there will be.
    """

    def __init__(self, first: int | None, *, expected: Collection[int | None], follow: bool, pace: Pace) -> None:
        self._follow = follow
        self._pace = pace
        self._expected = set(expected)
        self._joined: set[int | None] = {first}
        self._open = True
        self._changed = threading.Condition()
        self._spool = Spool(memory=pace.memory)
        self._started = time.monotonic()
        self._idle_since: float | None = None
        self._answered = False
        self._asked = False
        self._ended = False
        self._failure: GpuctlError | None = None
        self.closing = threading.Event()
        """Set when nobody reads any more."""

    def join(self, whose: int | None) -> bool:
        """Take part; False when it is too late, or when this rank has already had its lines."""
        with self._changed:
            if whose not in self._expected or whose in self._joined or not self._may_join():
                return False
            self._joined.add(whose)
            return True

    def leave(self, whose: int | None) -> None:
        """Take no part any more. The last one ends the pass."""
        with self._changed:
            self._expected.discard(whose)
            self._spool.drop(whose)
            if not self._expected & self._joined:
                self._expected.clear()
                self.closing.set()
                self._changed.notify_all()
                if self._ended:
                    self._spool.close()

    def blocks(self, whose: int | None) -> Iterator[bytes]:
        """What came for a rank that has joined; an empty block while nothing new is there."""
        try:
            while True:
                block = self._take(whose)
                if block is None:
                    return
                yield block
        finally:
            self.leave(whose)

    @property
    def wanted(self) -> set[int | None]:
        """Who reads; those who may, as long as nobody does."""
        with self._changed:
            return self._joined & self._expected or set(self._expected)

    def idle(self, waits: bool) -> None:
        """The writer begins, or ends, to wait for more."""
        self._idle_since = time.monotonic() if waits else None
        if not waits and not self._answered:
            self.known()

    def known(self) -> None:
        """The first answer is there, or it is known that there is none yet."""
        with self._changed:
            self._answered = True
            if self._idle_since is None and self._follow:
                self._idle_since = time.monotonic()
            self._changed.notify_all()

    def put(self, divided: dict[int | None, bytes]) -> None:
        """Hand over records by rank (``ANYBODY``: whoever is first). Waits while too much lies here and nobody comes for it."""
        with self._changed:
            if self._open and (not self._may_join() or self._spool.size > self._pace.memory // 4):
                self._open = False
                for whose in self._expected - self._joined:
                    self._spool.drop(whose)
                self._expected &= self._joined
            for whose, block in divided.items():
                if whose == ANYBODY:
                    whose = self._anybody()
                if block and whose in self._expected:
                    self._spool.put(whose, block)
            self._changed.notify_all()
            while self._spool.size > self._pace.most and not self._asked and not self.closing.is_set():
                self._changed.wait(1.0)
            self._asked = False

    def end(self, failure: GpuctlError | None) -> None:
        """Nothing follows; readers that have had everything get ``failure``, if there was one."""
        with self._changed:
            self._failure, self._ended = failure, True
            if self.closing.is_set():
                self._spool.close()
            self._changed.notify_all()

    def _take(self, whose: int | None) -> bytes | None:
        asked = time.monotonic()
        with self._changed:
            while True:
                block = self._spool.take(whose)
                if block:
                    self._changed.notify_all()
                    return block
                if self._ended:
                    if self._failure is not None:
                        raise self._failure
                    return None
                self._asked = True
                self._changed.notify_all()
                wait = self._still(asked, time.monotonic())
                if wait <= 0:
                    return b""
                self._changed.wait(wait)

    def _still(self, asked: float, now: float) -> float:
        """How many seconds longer an empty-handed reader waits."""
        longest = asked + _ASK - now
        if not self._follow:
            return longest
        if not self._answered:
            return max(self._started + self._pace.opening_s - now, 0.0)
        if self._idle_since is None:
            return longest
        return min(longest, self._idle_since + self._pace.quiet_s - now)

    def _may_join(self) -> bool:
        return self._open and time.monotonic() - self._started <= self._pace.join_s

    def _anybody(self) -> int | None:
        """Who is told what concerns all: the agent, else the first rank."""
        there = self._joined & self._expected or self._expected
        return None if None in there else min((each for each in there if each is not None), default=None)
