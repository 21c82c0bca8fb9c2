"""The logs of a job as one stream, for people (``rendered``) and for programs (``lines``)."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from operator import add, itemgetter
from typing import Literal, NamedTuple

import msgspec

from gpuctl.model.ask import LogQuery
from gpuctl.pool.logs import first_error, fold
from gpuctl.pool.logs.gather import PAUSE, Gather
from gpuctl.pool.logs.label import Among, Labels
from gpuctl.pool.logs.source import INSTANT, PART, TAG, Source
from gpuctl.port.stream import HEADER, RankLog, Stop

_SETTLE = 0.1
"""Seconds for which lines of several logs rest while following, when they are not folded, to come in order."""
_AHEAD = 1 << 17
"""Most lines that rest."""
_TEXT = itemgetter(slice(HEADER, -TAG))
_WHENCE = itemgetter(slice(-TAG, None))
_WHEN = itemgetter(slice(0, INSTANT + 1))
_STREAMS: dict[bytes, Literal["stdout", "stderr", "gpuctl"]] = {b"o": "stdout", b"e": "stderr", b"g": "gpuctl"}


class LogLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of one rank, without its newline. ``at``: RFC 3339 in UTC with nine digits. ``rank`` None: the node's agent."""

    at: str
    text: bytes
    stream: Literal["stdout", "stderr", "gpuctl"] = "stdout"
    rank: int | None = None
    node: int = 0
    task: int | None = None
    attempt: int = 1

    @property
    def time(self) -> datetime:
        """The instant, to the microsecond."""
        return datetime.strptime(self.at[:26], "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=timezone.utc)


class Arrivals(NamedTuple):
    """Logs that appear while a stream is followed.

    ``look``: those that have appeared since it was last called; None once no more can. It is called often and sees itself how often it
    really looks. ``among``: how many there will be.
    """

    look: Callable[[], Sequence[RankLog] | None]
    among: Among


def rendered(logs: Sequence[RankLog], query: LogQuery, stop: Stop, *, arrivals: Arrivals | None = None) -> Iterator[bytes]:
    """Whole lines of all ``logs``, merged by time, in blocks.

    One log alone is what its rank wrote, byte for byte (a line that has no end yet comes as far as it is). Several ranks have a label
    before each line (``[3] ``), and identical lines that came together are folded (``[x32] ``), unless ``query`` says otherwise. Of
    ``query`` the fields since, tail, follow, fold, prefix, timestamps and first_error count here; which logs there are was decided before.
    """
    if not logs and arrivals is None:
        return
    sources = _sources(logs, query)
    labels = Labels([(source.tag, source.log) for source in sources], among=arrivals.among if arrivals is not None else None)
    prefix = labels.several if query.prefix is None else query.prefix
    if query.first_error:
        for source in sources:
            yield from first_error.excerpt(source.log, labels.one[source.tag] if prefix else b"")
    if len(logs) == 1 and arrivals is None and not prefix and not query.timestamps:
        yield from _plain(logs[0], query, stop)
        return
    folding = query.fold and prefix and labels.several
    most = max(len(logs), labels.everybody)
    hold = fold.WINDOW if folding else _SETTLE if query.follow and (most > 1 or arrivals is not None) else 0.0
    arriving = _arriving(arrivals, query, len(logs), known=labels.add)
    gather = Gather(sources, follow=query.follow, hold=hold, ahead=min(fold.AHEAD * most, _AHEAD), arriving=arriving)
    last: deque[bytes] | None = deque(maxlen=query.tail) if query.tail is not None else None
    for batch in gather.batches(stop):
        if folding:
            folded = fold.fold(batch.records, batch.sure)
            gather.carry = folded.rest
            out = _labelled(folded.records, folded.texts, labels if prefix else None, query.timestamps)
            _put_groups(out, folded, labels, query.timestamps)
        else:
            due = batch.records[: batch.sure]
            out = _labelled(due, map(_TEXT, due), labels if prefix else None, query.timestamps)
        if last is not None:
            last.extend(out)
            if not batch.quiet:
                continue
            out, last = list(last), None
        if out:
            out.append(b"")
            yield b"\n".join(out)


def lines(logs: Sequence[RankLog], query: LogQuery, stop: Stop, *, arrivals: Arrivals | None = None) -> Iterator[LogLine]:
    """Every line of all ``logs``, merged by time, never folded. Counts the fields since, tail and follow of ``query``."""
    if not logs and arrivals is None:
        return
    sources = _sources(logs, query)
    by_tag = {source.tag: source.log for source in sources}
    hold = _SETTLE if query.follow and (len(logs) > 1 or arrivals is not None) else 0.0
    arriving = _arriving(arrivals, query, len(logs), known=by_tag.update)
    last: deque[LogLine] | None = deque(maxlen=query.tail) if query.tail is not None else None
    for batch in Gather(sources, follow=query.follow, hold=hold, ahead=_AHEAD, arriving=arriving).batches(stop):
        values = (_line(record, by_tag[record[-TAG:]]) for record in batch.records[: batch.sure])
        if last is not None:
            last.extend(values)
            if not batch.quiet:
                continue
            yield from last
            last = None
        else:
            yield from values


def instant_of(at: datetime) -> str:
    """A datetime as a record's instant."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}000Z"


def _sources(logs: Sequence[RankLog], query: LogQuery) -> list[Source]:
    return [_source(log, number, query) for number, log in enumerate(logs)]


def _source(log: RankLog, number: int, query: LogQuery) -> Source:
    since = instant_of(query.since) if query.since is not None else None
    return Source(log, number, since=since, follow=query.follow, tail=query.tail)


def _arriving(
    arrivals: Arrivals | None, query: LogQuery, count: int, *, known: Callable[[Sequence[tuple[bytes, RankLog]]], None]
) -> Callable[[], Sequence[Source] | None] | None:
    """Arriving logs as sources, numbered after the first ``count``; ``known`` is told before their records come."""
    if arrivals is None:
        return None
    numbers = itertools.count(count)
    later = msgspec.structs.replace(query, tail=None)  # of what was not there yet, everything is new

    def look() -> Sequence[Source] | None:
        logs = arrivals.look()
        if logs is None:
            return None
        sources = [_source(log, next(numbers), later) for log in logs]
        if sources:
            known([(source.tag, source.log) for source in sources])
        return sources

    return look


def _plain(log: RankLog, query: LogQuery, stop: Stop) -> Iterator[bytes]:
    since = instant_of(query.since) if query.since is not None else None
    for block in log.blocks(since=since, follow=query.follow, tail=query.tail):
        if block:
            yield _texts(block)
        elif query.follow:
            stop.wait(PAUSE)
        if stop.is_set():
            return


def _texts(block: bytes) -> bytes:
    """What the records of one log say, exactly: a part brings no newline."""
    records = block.split(b"\n")
    if PART.search(block):
        records.pop()
        return b"".join([record[HEADER:] if record[32:33] == b"P" else record[HEADER:] + b"\n" for record in records])
    return b"\n".join([record[HEADER:] for record in records])


def _labelled(records: list[bytes], texts: Iterable[bytes], labels: Labels | None, timestamps: bool) -> list[bytes]:
    out = texts
    if labels is not None:
        out = map(add, map(labels.one.__getitem__, map(_WHENCE, records)), out)
    if timestamps:
        out = map(add, map(_WHEN, records), out)
    return list(out)


def _put_groups(out: list[bytes], folded: fold.Folded, labels: Labels, timestamps: bool) -> None:
    for position, tags in folded.groups.items():
        record = folded.records[position]
        head = record[: INSTANT + 1] if timestamps else b""
        out[position] = head + labels.group(tags) + folded.texts[position]


def _line(record: bytes, log: RankLog) -> LogLine:
    return LogLine(
        at=record[:INSTANT].decode("ascii", "replace"),
        text=record[HEADER:-TAG],
        stream=_STREAMS.get(record[31:32], "stdout"),
        rank=log.rank,
        node=log.node,
        task=log.task,
        attempt=log.attempt,
    )
