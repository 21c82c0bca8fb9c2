"""What one thread reads of a pod's log, handed over to the one who wants it."""

import threading
import time
from collections.abc import Iterator

import msgspec

from gpuctl.base.errors import GpuctlError
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
        memory: bytes kept in memory per pod; what is more goes to a file.
        most: bytes that wait for a reader who does not come, before reading stops until it does.
    """

    silence_s: float = 60.0
    first_wait_s: float = 0.25
    longest_wait_s: float = 5.0
    poll_s: float = 1.0
    patience_s: float = 300.0
    farewell_s: float = 30.0
    opening_s: float = 1.0
    quiet_s: float = 0.05
    memory: int = 16 << 20
    most: int = 256 << 20


class Readahead:
    """A queue of records with one writer and one reader.

    Args:
        follow: whether there is a moment at which nothing new is there, although there will be.
    """

    def __init__(self, *, follow: bool, pace: Pace) -> None:
        self._follow = follow
        self._pace = pace
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

    def leave(self) -> None:
        """The reader goes away, which ends the reading."""
        with self._changed:
            self.closing.set()
            self._changed.notify_all()
            if self._ended:
                self._spool.close()

    def batches(self) -> Iterator[list[bytes]]:
        """What came; an empty list while nothing new is there.

        Raises:
            GpuctlError: what ended the reading, behind everything that came before.
        """
        try:
            while True:
                batch = self._take()
                if batch is None:
                    return
                yield batch
        finally:
            self.leave()

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

    def put(self, records: list[bytes]) -> None:
        """Hand over records. Waits while too much lies here and nobody comes for it."""
        with self._changed:
            if records and not self.closing.is_set():
                self._spool.put(records)
                self._changed.notify_all()
            while self._spool.size > self._pace.most and not self._asked and not self.closing.is_set():
                self._changed.wait(1.0)
            self._asked = False

    def end(self, failure: GpuctlError | None) -> None:
        """Nothing follows; who has had everything gets ``failure``, if there was one."""
        with self._changed:
            self._failure, self._ended = failure, True
            if self.closing.is_set():
                self._spool.close()
            self._changed.notify_all()

    def _take(self) -> list[bytes] | None:
        asked = time.monotonic()
        with self._changed:
            while True:
                batch = self._spool.take()
                if batch:
                    self._changed.notify_all()
                    return batch
                if self._ended:
                    if self._failure is not None:
                        raise self._failure
                    return None
                self._asked = True
                self._changed.notify_all()
                wait = self._still(asked, time.monotonic())
                if wait <= 0:
                    return []
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
