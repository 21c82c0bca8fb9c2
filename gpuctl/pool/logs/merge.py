"""The logs of a job as one stream, for people (``rendered``) and for programs (``lines``)."""

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
from gpuctl.pool.logs.source import INSTANT, PART, START, TAG, WHENCE, Source, sources
from gpuctl.port.stream import HEADER, RankLog, Stop

_SETTLE = 0.1
"""Seconds for which lines of several logs rest while following, when they are not folded, to come in order."""
_AHEAD = 1 << 17
"""Most lines that rest."""
_HEADED = START + HEADER
_TEXT = itemgetter(slice(HEADER, -TAG))
_ALL_BUT_TAG = itemgetter(slice(0, -TAG))
_BEHIND_INSTANT = itemgetter(slice(INSTANT + 1, -TAG))
_KIND = itemgetter(-1)
_WHENCE = itemgetter(WHENCE)
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
    read = _sources(logs, 0, query)
    labels = Labels(_tagged(read), among=arrivals.among if arrivals is not None else None)
    prefix = labels.several if query.prefix is None else query.prefix
    if query.first_error:
        for tag, log in _tagged(read):
            yield from first_error.excerpt(log, labels.one[tag] if prefix else b"")
    if len(logs) == 1 and arrivals is None and not prefix and not query.timestamps:
        yield from _plain(logs[0], query, stop)
        return
    folding = query.fold and prefix and labels.several
    most = max(len(logs), labels.everybody)
    hold = fold.WINDOW if folding else _SETTLE if query.follow and (most > 1 or arrivals is not None) else 0.0
    arriving = _arriving(arrivals, query, len(logs), known=labels.add)
    gather = Gather(read, follow=query.follow, hold=hold, ahead=min(fold.AHEAD * most, _AHEAD), arriving=arriving)
    last: deque[bytes] | None = deque(maxlen=query.tail) if query.tail is not None else None
    for batch in gather.batches(stop):
        quiet = batch.quiet
        if folding:
            folded = fold.fold(batch.records, _texts_of(batch.records), batch.sure)
            gather.carry = folded.rest
            out = _labelled(folded.records, folded.texts, labels, query.timestamps)
            _put_groups(out, folded, labels, query.timestamps)
            del folded
        else:
            out = _labelled(batch.records[: batch.sure], None, labels if prefix else None, query.timestamps)
        del batch  # not to be kept while the next one is read: lines that go through a processor's cache cost half of those that do not
        if last is not None:
            last.extend(out)
            if not quiet:
                continue
            out, last = list(last), None
        if out:
            out.append(b"")
            block = b"\n".join(out)
            del out
            yield block


def lines(logs: Sequence[RankLog], query: LogQuery, stop: Stop, *, arrivals: Arrivals | None = None) -> Iterator[LogLine]:
    """Every line of all ``logs``, merged by time, never folded. Counts the fields since, tail and follow of ``query``."""
    if not logs and arrivals is None:
        return
    read = _sources(logs, 0, query)
    by_tag = dict(_tagged(read))
    hold = _SETTLE if query.follow and (len(logs) > 1 or arrivals is not None) else 0.0
    arriving = _arriving(arrivals, query, len(logs), known=by_tag.update)
    last: deque[LogLine] | None = deque(maxlen=query.tail) if query.tail is not None else None
    for batch in Gather(read, follow=query.follow, hold=hold, ahead=_AHEAD, arriving=arriving).batches(stop):
        values = (_line(record, by_tag[record[WHENCE]]) for record in batch.records[: batch.sure])
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


def _sources(logs: Sequence[RankLog], number: int, query: LogQuery) -> list[Source]:
    since = instant_of(query.since) if query.since is not None else None
    return sources(logs, number, since=since, follow=query.follow, tail=query.tail)


def _tagged(read: Sequence[Source]) -> list[tuple[bytes, RankLog]]:
    return [entry for source in read for entry in source.tagged]


def _arriving(
    arrivals: Arrivals | None, query: LogQuery, count: int, *, known: Callable[[Sequence[tuple[bytes, RankLog]]], None]
) -> Callable[[], Sequence[Source] | None] | None:
    """Arriving logs as sources, numbered after the first ``count``; ``known`` is told before their records come."""
    if arrivals is None:
        return None
    later = msgspec.structs.replace(query, tail=None)  # of what was not there yet, everything is new

    def look() -> Sequence[Source] | None:
        nonlocal count
        logs = arrivals.look()
        if logs is None:
            return None
        fresh = _sources(logs, count, later)
        count += len(logs)
        if fresh:
            known(_tagged(fresh))
        return fresh

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


def _texts_of(records: list[bytes]) -> list[bytes]:
    if set(map(_KIND, records)) == {_HEADED}:
        return list(map(_TEXT, records))
    return [record[record[-1] - START : -TAG] for record in records]


def _labelled(records: list[bytes], texts: list[bytes] | None, labels: Labels | None, timestamps: bool) -> list[bytes]:
    """Records as they are printed. ``texts``: what they say, if that is known."""
    if labels is not None and labels.as_written and min(map(_KIND, records), default=0) > _HEADED:  # the labels are in them
        return list(map(_ALL_BUT_TAG if timestamps else _BEHIND_INSTANT, records))
    out: Iterable[bytes] = _texts_of(records) if texts is None else texts
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
    start = record[-1] - START
    return LogLine(
        at=record[:INSTANT].decode("ascii", "replace"),
        text=record[start:-TAG],
        stream=_STREAMS.get(record[31:32], "stdout") if start == HEADER else "stdout",
        rank=log.rank,
        node=log.node,
        task=log.task,
        attempt=log.attempt,
    )
