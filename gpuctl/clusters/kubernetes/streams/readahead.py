"""What is read of a pod's log ahead of the one who wants it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import msgspec

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes.streams.podlog import Flow
from gpuctl.clusters.kubernetes.streams.spool import Spool

_ASK = 0.2
"""Seconds an empty-handed reader waits at most."""
_AWAY = 0.5
"""Seconds without a word from the reader after which the thread reads on."""
_LONG = 1.0
"""Seconds between two looks at what should have been told."""


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
    """A queue of records, filled by a thread of its own, whose work its one reader may take over.

    To hand each piece from one thread to another makes all of reading, merging and folding a quarter slower. So where ``ready`` says that
    bytes have come, the reader reads them himself. What has to be waited for is left to the thread: opening, slow answers, and everything
    while the reader is away, since what a node rotates away meanwhile cannot be read again.

    Args:
        follow: whether there is a moment at which nothing new is there, although there will be.
    """

    def __init__(self, *, follow: bool, pace: Pace) -> None:
        self._follow = follow
        self._pace = pace
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._turn = threading.Condition(lock)  # the thread waits here; to wake it for nothing would cost what is to be saved
        self._spool = Spool(memory=pace.memory)
        self._flow: Flow[None] | None = None
        self._ready: Callable[[], bool] | None = None
        self._started = self._seen = time.monotonic()
        self._idle_since: float | None = None
        self._answered = False
        self._asked = False
        self._busy = False
        self._ended = False
        self._failure: GpuctlError | None = None
        self.closing = threading.Event()
        """Set when nobody reads any more."""

    def begin(self, flow: Flow[None], *, name: str, gate: threading.Semaphore | None, ready: Callable[[], bool] | None) -> None:
        """Start to read.

        Args:
            flow: what reads, by turns in the thread and in the reader's; it raises nothing but GpuctlError.
            name: of the thread.
            gate: held by the thread.
            ready: whether what ``flow`` brings next need not be waited for; None to leave everything to the thread.
        """
        self._flow, self._ready = flow, ready
        threading.Thread(target=self._run, args=(gate or nullcontext(),), name=name, daemon=True).start()

    def leave(self) -> None:
        """The reader goes away, which ends the reading."""
        with self._changed:
            self.closing.set()
            self._turn.notify()
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
        """Reading begins, or ends, to wait for more."""
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

    def _run(self, gate: AbstractContextManager[object]) -> None:
        assert self._flow is not None
        with gate:
            while self._turned():
                self._step(self._spooled)
            self._flow.close()
        with self._changed:
            self._ended = True
            if self.closing.is_set():
                self._spool.close()

    def _spooled(self, batch: list[bytes]) -> None:
        if batch and not self.closing.is_set():
            self._spool.put(batch)
        self._changed.notify_all()

    def _turned(self) -> bool:
        """Wait for the thread's turn; False when there is nothing to read any more."""
        with self._turn:
            while self._busy or not (self._ended or self.closing.is_set()):
                wait = _LONG if self._busy else self._rest()
                if wait <= 0:
                    self._busy, self._asked = True, False
                    return True
                self._turn.wait(wait)
            return False

    def _rest(self) -> float:
        """How many seconds the thread need not read unless it is asked to."""
        if self._asked:
            return 0.0
        if self._spool.size > self._pace.most:
            return _LONG
        return self._seen + _AWAY - time.monotonic() if self._ready is not None and self._answered else 0.0

    def _step(self, put: Callable[[list[bytes]], object]) -> None:
        """Read on: for the one whose turn it is, and it stays his until ``put`` has what came, with the lock held."""
        assert self._flow is not None
        failure: GpuctlError | None = None
        batch: list[bytes] | None = None
        try:
            batch = next(self._flow, None)
        except GpuctlError as error:
            failure = error
        finally:
            with self._changed:
                if batch is None:
                    self._failure, self._ended = failure, True
                    self._turn.notify()
                put(batch or [])
                self._busy = False

    def _take(self) -> list[bytes] | None:
        asked = self._seen = time.monotonic()
        while True:
            with self._changed:
                full = self._spool.size > self._pace.most
                batch = self._spool.take()
                if batch:
                    if full:
                        self._turn.notify()
                    return batch
                if self._ended:
                    if self._failure is not None:
                        raise self._failure
                    return None
                wait = self._still(asked, time.monotonic())
                if self._busy or self._ready is None or not self._ready():
                    self._asked = True
                    self._turn.notify()
                    if wait <= 0:
                        return []
                    self._changed.wait(wait)
                    continue
                self._busy = True
            found: list[bytes] = []
            self._step(found.extend)
            if found or (wait <= 0 and not self._ended):
                return found

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
