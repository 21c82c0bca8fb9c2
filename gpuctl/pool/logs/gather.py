"""Records of several logs in the order of time, batch by batch.

A batch ends at the *horizon*: the smallest last instant among the logs that may still bring older records. While following, a log that has
nothing new does not hold the others up; instead everything rests for ``hold`` seconds, so that what was written at the same time but read
a little later finds its place (and its like, see ``fold``).
"""

import calendar
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from gpuctl.pool.logs.source import INSTANT, Source, by_instant
from gpuctl.port.stream import Stop

PAUSE = 0.05
"""Seconds between two looks at logs that had nothing new."""
_LONGEST_PAUSE = 0.2
_BATCH = 1 << 12
"""Records that are worth a batch. Larger ones would be slower: they do not fit a processor's cache."""
_WORTH = 0.5
"""Seconds that a batch waits to become worth it while logs come slowly over a network and nobody follows them."""


class Batch(NamedTuple):
    """Tagged records in order. Those before ``sure`` are due; the rest may only be looked at, and is handed to the next batch.

    ``quiet``: everything that was there when reading began is in this batch or was in an earlier one.
    """

    records: list[bytes]
    sure: int
    quiet: bool


class Gather:
    """Merges sources. ``carry`` is what the user of a batch leaves over for the next one; the rest behind ``sure`` unless it is set.

    Args:
        sources: what to merge.
        follow: wait for more while a source is open.
        hold: seconds that records rest: on the wall clock while following, between instants while there is a backlog.
        ahead: most records that rest.
        arriving: asked between batches for sources that have appeared; None says that no more can.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        follow: bool,
        hold: float,
        ahead: int,
        arriving: Callable[[], Sequence[Source] | None] | None = None,
    ) -> None:
        self._sources = list(sources)
        self._arriving = arriving
        self._follow = follow
        self._hold = hold
        self._ahead = ahead
        self._arrived: list[tuple[float, bytes]] = []
        self._quiet = False
        self.carry: list[bytes] = []

    def batches(self, stop: Stop) -> Iterator[Batch]:
        """Batches until every source has ended or ``stop`` is set."""
        pause = PAUSE
        while True:
            fresh = self._admit() | self._pull(stop)
            ending = stop.is_set() or not (self._arriving or any(source.open for source in self._sources))
            horizon = None if ending else self._horizon()
            records = self._merged(horizon)
            first_quiet = not self._quiet and (ending or horizon is None)
            self._quiet = self._quiet or first_quiet
            sure = len(records) if ending or first_quiet else self._sure(records, horizon)
            self.carry = records[sure:]
            if sure or first_quiet:
                handed = [Batch(records, sure, self._quiet)]
                del records  # what is read next finds its memory, while a processor's cache still has it
                yield handed.pop()
            if ending:
                return
            pause = PAUSE if fresh or self.carry else min(pause * 1.25, _LONGEST_PAUSE)
            if self._follow and not fresh:
                stop.wait(pause)

    def _admit(self) -> bool:
        """Take in sources that have appeared, and forget those that have nothing left; whether there were new ones."""
        if self._arriving is None:
            return False
        self._sources = [source for source in self._sources if source.open or source.waiting]
        arrived = self._arriving()
        if arrived is None:
            self._arriving = None
            return False
        self._sources += arrived
        return bool(arrived)

    def _pull(self, stop: Stop) -> bool:
        """Read until every open source has something or (while following) nothing new, and until there is enough for a batch."""
        fresh = False
        for source in self._sources:
            while source.open and not source.waiting:
                fresh = source.pull() or fresh
                if source.idle and (self._follow or stop.is_set()):
                    break
        enough = max(_BATCH, 4 * len(self.carry)) if self._hold else 0  # what rests is gone over again, so it should be the smaller part
        total = sum(source.waiting for source in self._sources)
        ends = time.monotonic() + _WORTH
        while total < enough and not stop.is_set():
            behind = min((source for source in self._sources if source.open and source.waiting), key=_last, default=None)
            if behind is None:
                break
            before = behind.waiting
            if not behind.pull() and (self._follow or time.monotonic() > ends):
                break
            total += behind.waiting - before
        return fresh

    def _horizon(self) -> bytes | None:
        """The instant up to which nothing can come any more; None when every open source is idle."""
        busy = [source.last for source in self._sources if source.open and source.waiting and not source.idle]
        return min(busy, default=None)

    def _merged(self, horizon: bytes | None) -> list[bytes]:
        runs = [run for run in (source.take(horizon) for source in self._sources) if run]
        if self.carry:
            runs.insert(0, self.carry)
        if len(runs) == 1:
            return runs[0]
        records = list(chain.from_iterable(runs))
        records.sort(key=by_instant)
        return records

    def _sure(self, records: list[bytes], horizon: bytes | None) -> int:
        if not self._hold or not records:
            return len(records)
        if horizon is not None:
            settled: bytes | None = earlier(horizon, self._hold)
        else:
            now = time.monotonic()
            newest = records[-1][:INSTANT]
            if not self._arrived or self._arrived[-1][1] < newest:
                self._arrived.append((now, newest))
            old = [entry for entry in self._arrived if entry[0] <= now - self._hold]
            self._arrived = self._arrived[len(old) :]
            settled = old[-1][1] if old else None
        sure = bisect_right(records, settled + b"!") if settled is not None else 0
        return max(sure, len(records) - self._ahead)


def _last(source: Source) -> bytes:
    return source.last


_minutes: dict[bytes, int] = {}


def nanoseconds(record: bytes) -> int:
    """The instant of a record, in nanoseconds since the epoch."""
    minute = record[:17]
    base = _minutes.get(minute)
    if base is None:
        if len(_minutes) > 10_000:
            _minutes.clear()
        try:
            base = calendar.timegm(time.strptime(minute.decode("ascii", "replace"), "%Y-%m-%dT%H:%M:")) * 1_000_000_000
        except ValueError:
            base = 0
        _minutes[minute] = base
    try:
        return base + int(record[17:19]) * 1_000_000_000 + int(record[20:29])
    except ValueError:
        return base


def instant(at_ns: int) -> bytes:
    """Nanoseconds since the epoch as a record's instant."""
    second, nanos = divmod(at_ns, 1_000_000_000)
    return b"%b.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode(), nanos)


def earlier(at: bytes, seconds: float) -> bytes:
    """The instant so many seconds before another one."""
    return instant(max(0, nanoseconds(at) - int(seconds * 1_000_000_000)))
