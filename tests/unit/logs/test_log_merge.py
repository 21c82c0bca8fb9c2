"""All ranks as one stream: order, exactness, labels, folding, tail, following."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.clusters.local.logs.layout import LogName
from gpuctl.clusters.local.logs.reader import LocalRankLog
from gpuctl.clusters.local.logs.writer import RankWriter
from gpuctl.model.ask import LogQuery
from gpuctl.pool.logs import gather
from gpuctl.pool.logs.gather import instant, nanoseconds
from gpuctl.pool.logs.label import Among, Labels, ranges
from gpuctl.pool.logs.merge import Arrivals, LogLine, lines, rendered
from gpuctl.pool.logs.source import Source
from gpuctl.port.stream import HEADER, RankLog
from tests.unit.logs.records import T0, MemberLog, MemoryLog, MemoryPod

NEVER = threading.Event()


def record(at_ns: int, text: bytes, kind: bytes = b"oF") -> bytes:
    return b"%b %b %b\n" % (instant(at_ns), kind, text)


def said(logs: Sequence[MemoryLog], **query: object) -> list[bytes]:
    """The rendered lines."""
    out = b"".join(rendered(logs, LogQuery(**query), NEVER))  # type: ignore[arg-type]
    assert out.endswith(b"\n") or not out
    return out.split(b"\n")[:-1]


def chopped(records: list[bytes], cuts: Sequence[int]) -> list[bytes]:
    """The records in blocks whose sizes are ``cuts``, over and over."""
    blocks, position, turn = [], 0, 0
    while position < len(records):
        size = cuts[turn % len(cuts)]
        blocks.append(b"".join(records[position : position + size]))
        position, turn = position + size, turn + 1
    return blocks


_LOGS = st.lists(
    st.lists(st.tuples(st.integers(0, 400_000_000), st.sampled_from([b"a", b"b", b"", b"epoch", b"\r1%\r2%", b"\xff"])), max_size=25),
    min_size=1,
    max_size=5,
)
_CUTS = st.lists(st.integers(1, 7), min_size=1, max_size=4)


def made(steps: list[list[tuple[int, bytes]]], cuts: Sequence[int]) -> tuple[list[MemoryLog], list[list[tuple[int, bytes]]]]:
    """Logs with instants that go up by the given steps, and (instant, text) of each."""
    logs, known = [], []
    for rank, pairs in enumerate(steps):
        at, own = T0, []
        for step, text in pairs:
            at += step
            own.append((at, text))
        known.append(own)
        logs.append(MemoryLog(chopped([record(at, text) for at, text in own], cuts), rank=rank))
    return logs, known


@settings(max_examples=200, deadline=None)
@given(steps=_LOGS, cuts=_CUTS)
def test_the_merge_is_the_stable_sort_by_instant(steps: list[list[tuple[int, bytes]]], cuts: list[int]) -> None:
    logs, known = made(steps, cuts)
    merged = list(lines(logs, LogQuery(), NEVER))
    assert [line.at for line in merged] == sorted(instant(at).decode() for own in known for at, _ in own)
    for rank, own in enumerate(known):
        assert [(line.at.encode(), line.text) for line in merged if line.rank == rank] == [(instant(at), text) for at, text in own]


def unfolded(out: list[bytes], ranks: int) -> Counter[tuple[int, bytes]]:
    """What every rank said, read back from folded lines."""
    found: Counter[tuple[int, bytes]] = Counter()
    for line in out:
        match = re.fullmatch(rb"\[(?:x(\d+)|([\d,-]+))\] (.*)", line, re.DOTALL)
        assert match, line
        if match[1]:
            assert int(match[1]) == ranks
            members = list(range(ranks))
        else:
            members = []
            for piece in match[2].split(b","):
                first, _, last = piece.partition(b"-")
                members += range(int(first), int(last or first) + 1)
        found.update((rank, match[3]) for rank in members)
    return found


@settings(max_examples=300, deadline=None)
@given(steps=_LOGS, cuts=_CUTS, batch=st.sampled_from([1, 16, 1 << 14]), ahead=st.sampled_from([1, 3, 256]))
def test_folding_never_loses_or_invents_a_line(steps: list[list[tuple[int, bytes]]], cuts: list[int], batch: int, ahead: int) -> None:
    logs, known = made(steps, cuts)
    if sum(map(bool, known)) < 1 or len(known) < 2:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "_BATCH", batch)
        patch.setattr("gpuctl.pool.logs.fold.AHEAD", ahead)
        out = said(logs)
    assert unfolded(out, len(known)) == Counter((rank, text) for rank, own in enumerate(known) for _, text in own)
    assert len(said(logs, fold=False)) == sum(map(len, known))


_SAID = st.lists(
    st.tuples(
        st.sampled_from([None, 7, 8, 9, 10, 11]),
        st.sampled_from([0, 1, 50_000_000, 400_000_000]),
        st.sampled_from([b"a", b"b", b"", b"gF x", b"aPple", b"[8] x"]),
        st.sampled_from([b"o", b"o", b"o", b"g", b"P"]),
    ),
    max_size=40,
)
_QUERIES = [{}, {"fold": False}, {"timestamps": True}, {"prefix": False}, {"prefix": False, "timestamps": True, "fold": False}]


@pytest.mark.parametrize("among", [(None, 7, 8, 9, 10, 11), (8, 10), (None, 9)])
@pytest.mark.parametrize("query", [*_QUERIES, {"as_json": True}])
@settings(max_examples=40, deadline=None)
@given(said=st.lists(_SAID, min_size=1, max_size=3), size=st.integers(1, 9))
def test_logs_that_come_together_are_what_they_would_be_apart(
    among: tuple[int | None, ...], query: dict[str, bool], said: list[list[tuple[int | None, int, bytes, bytes]]], size: int
) -> None:
    together: list[RankLog] = []
    apart: list[RankLog] = []
    for node, steps in enumerate(said):
        blocks: dict[int | None, list[bytes]] = {rank: [] for rank in among}
        batches: list[list[tuple[int | None, bytes, bytes, int]]] = [[]]
        at = T0
        ends = [(rank, 0, b"end", b"o") for rank in (None, 7, 8, 9, 10, 11)]  # of parts
        for rank, step, text, how in [*steps, *ends]:
            at += step
            shift = None if rank is None else rank + 100 * node
            kind = {b"P": b"oP", b"g": b"gF"}.get(how, b"oF")
            if rank in among:
                blocks[rank].append(record(at, text, kind))
            written = b"" if rank is None else b"[%d] " % (rank + 100 * node)
            headed = how != b"o"
            start = 34 if headed else 31 + len(written)
            batches[-1].append((shift, instant(at), (kind + b" " if headed else written) + text, start))
            if how == b"P" or len(batches[-1]) >= size:  # a part is the last of its list
                batches.append([])
        pod = MemoryPod(batches)
        for rank in among:
            number = None if rank is None else rank + 100 * node
            together.append(MemberLog(pod, rank=number, node=node))
            apart.append(MemoryLog(blocks[rank], rank=number, node=node))
    if query.get("as_json"):
        assert sorted_lines(together) == sorted_lines(apart)
        return
    one, other = (b"".join(rendered(logs, LogQuery(**query), NEVER)) for logs in (together, apart))  # type: ignore[arg-type]
    assert Counter(one.split(b"\n")) == Counter(other.split(b"\n"))  # of one instant, ranks come in any order


def test_a_line_that_never_ends_comes_last_of_those_that_come_together() -> None:
    early, late = instant(T0), instant(T0 + 5)
    pod = MemoryPod([[(None, early, b"oP half", HEADER)], [(3, late, b"[3] full", 35)]])
    logs = [MemberLog(pod, rank=None), MemberLog(pod, rank=3)]
    got = [(line.rank, line.at.encode(), line.text) for line in lines(logs, LogQuery(), NEVER)]
    assert got == [(3, late, b"full"), (None, late, b"half")]


def sorted_lines(logs: Sequence[RankLog]) -> list[tuple[object, ...]]:
    """Every line as plain values; of one instant, in one order."""
    return sorted((line.at, line.node, str(line.rank), line.stream, line.text) for line in lines(logs, LogQuery(), NEVER))


def test_what_all_say_together_is_one_line_and_what_some_say_names_them() -> None:
    logs = []
    for rank in range(8):
        records = [record(T0 + rank, b"NCCL version 2.21")]
        if rank in (0, 1, 2, 3, 7):
            records.append(record(T0 + 1000 + rank, b"warning"))
        records.append(record(T0 + 2000 + rank, b"rank %d ready" % rank))
        logs.append(MemoryLog([b"".join(records)], rank=rank))
    out = said(logs)
    assert out[:2] == [b"[x8] NCCL version 2.21", b"[0-3,7] warning"]
    assert out[2:] == [b"[%d] rank %d ready" % (rank, rank) for rank in range(8)]


def test_lines_that_are_too_far_apart_do_not_fold() -> None:
    near = [MemoryLog([record(T0 + rank * 290_000_000, b"same")], rank=rank) for rank in range(2)]
    far = [MemoryLog([record(T0 + rank * 310_000_000, b"same")], rank=rank) for rank in range(2)]
    assert said(near) == [b"[x2] same"]
    assert said(far) == [b"[0] same", b"[1] same"]


def test_a_rank_that_repeats_itself_meets_the_others_one_by_one() -> None:
    burst = [MemoryLog([b"".join(record(T0 + rank * 1000 + i, b".") for i in range(3))], rank=rank) for rank in range(2)]
    assert said(burst) == [b"[x2] ."] * 3
    uneven = [MemoryLog([record(T0 + i, b".") for i in range(count)], rank=rank) for rank, count in enumerate((3, 1))]
    assert said(uneven) == [b"[x2] .", b"[0] .", b"[0] ."]


def test_one_log_is_what_was_written() -> None:
    blocks = [record(T0, b"one\r") + record(T0 + 1, b"half", b"eP"), record(T0 + 2, b" whole", b"eF") + record(T0 + 3, b"? ", b"oP")]
    assert b"".join(rendered([MemoryLog(blocks)], LogQuery(), NEVER)) == b"one\r\nhalf whole\n? "
    assert said([MemoryLog(blocks)], prefix=True) == [b"[0] one\r", b"[0] half whole", b"[0] ? "]
    assert said([MemoryLog(blocks)], timestamps=True)[1] == b"2026-03-01T12:00:00.000000002Z half whole"


def test_a_text_that_looks_like_a_header_is_a_text() -> None:
    text = b"2026-03-01T12:00:00.000000000Z oP not a part"
    logs = [MemoryLog([record(T0, text) + record(T0, b"x")], rank=rank) for rank in range(2)]
    assert said(logs[:1]) == [text, b"x"]
    assert said(logs) == [b"[x2] " + text, b"[x2] x"]


def test_parts_of_both_streams_are_joined_apart() -> None:
    records = [
        record(T0, b"out ", b"oP"),
        record(T0 + 1, b"err ", b"eP"),
        record(T0 + 2, b"err", b"eF"),
        record(T0 + 3, b"out", b"oF"),
        record(T0 + 4, b"left", b"oP"),
    ]
    for cuts in ([1], [2], [5]):
        merged = list(lines([MemoryLog(chopped(records, cuts))], LogQuery(), NEVER))
        assert [(line.stream, line.text) for line in merged] == [("stderr", b"err err"), ("stdout", b"out out"), ("stdout", b"left")]


def test_a_line_of_a_megabyte_and_binary_survive_the_merge(tmp_path: Path) -> None:
    line = bytes(range(256)).replace(b"\n", b"") * 4200
    logs = []
    for rank in range(2):
        writer = RankWriter(str(tmp_path), LogName(rank=rank))
        writer.feed(b"o", line + b"%d\n" % rank, T0)
        writer.close(T0)
        logs.append(LocalRankLog(str(tmp_path), LogName(rank=rank), lambda: True))
    assert b"".join(rendered(logs, LogQuery(), NEVER)) == b"".join(b"[%d] %b%d\n" % (rank, line, rank) for rank in range(2))


def test_tail_is_of_the_merged_and_folded_stream() -> None:
    logs = [
        MemoryLog(
            [record(T0 + 10**9 * i + rank, b"step %d" % i) for i in range(10)] + [record(T0 + 10**10 + rank, b"own %d" % rank)], rank=rank
        )
        for rank in range(4)
    ]
    assert said(logs, tail=5) == [b"[x4] step 9", *(b"[%d] own %d" % (rank, rank) for rank in range(4))]
    assert said(logs, tail=2, fold=False) == [b"[2] own 2", b"[3] own 3"]
    assert said(logs[:1], tail=2) == [b"step 9", b"own 0"]
    assert said(logs, tail=0) == []
    assert [line.text for line in lines(logs, LogQuery(tail=1), NEVER)] == [b"own 3"]


def test_labels_of_tasks_and_agents() -> None:
    def labels(*logs: MemoryLog) -> list[bytes]:
        return list(Labels([(bytes([number]), log) for number, log in enumerate(logs)]).one.values())

    assert labels(MemoryLog([], rank=None, node=2), MemoryLog([], rank=5)) == [b"[n2] ", b"[5] "]
    assert labels(MemoryLog([], task=3), MemoryLog([], task=17)) == [b"[3] ", b"[17] "]
    assert labels(MemoryLog([], task=3, rank=1), MemoryLog([], task=17)) == [b"[3.1] ", b"[17.0] "]
    assert ranges([0, 1, 2, 3, 7, 9, 10]) == ["0-3", "7", "9-10"]
    assert ranges([]) == []


def test_one_rank_and_its_agent_need_no_labels() -> None:
    logs = [MemoryLog([record(T0, b"agent")], rank=None), MemoryLog([record(T0 + 1, b"rank")], rank=0)]
    assert said(logs) == [b"agent", b"rank"]


def test_line_values_have_time_and_place() -> None:
    (line,) = lines([MemoryLog([record(T0 + 5, b"x", b"eF")], rank=3, node=1)], LogQuery(), NEVER)
    assert line == LogLine(at="2026-03-01T12:00:00.000000005Z", text=b"x", stream="stderr", rank=3, node=1)
    assert line.time == datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@given(at=st.integers(0, 253402300799 * 10**9))
def test_instants_are_read_back(at: int) -> None:
    assert nanoseconds(instant(at)) == at


class Slow:
    """A log that grows while it is followed: (seconds from now, records)."""

    together = None

    def __init__(self, rank: int, *news: tuple[float, bytes]) -> None:
        self.rank: int | None = rank
        self.node, self.attempt = 0, 1
        self.task: int | None = None
        self._news = list(news)

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        assert follow
        start = time.monotonic()
        for after, block in self._news:
            while time.monotonic() - start < after:
                yield b""
            yield block

    def tail(self, lines: int) -> bytes:
        return b""


def test_following_several_ranks_brings_late_ones_into_order_and_waits_for_no_silent_one() -> None:
    now = time.time_ns()
    logs = [
        Slow(0, (0.0, record(now, b"old")), (0.1, record(now + 10, b"first") + record(now + 30, b"same"))),
        Slow(1, (0.15, record(now + 20, b"second")), (0.2, record(now + 40, b"same"))),
        Slow(2, (1.2, record(now + 10**9, b"late"))),
    ]
    start = time.monotonic()
    out = [(time.monotonic() - start, block) for block in rendered(logs, LogQuery(follow=True), NEVER)]
    assert b"".join(block for _, block in out) == b"[0] old\n[0] first\n[1] second\n[0-1] same\n[2] late\n"
    assert out[0][0] < 0.3, "history is not held back"
    assert out[1][0] < 1.1, "a silent rank held the others up"


def test_following_one_log_brings_a_prompt_at_once_and_stops_when_told() -> None:
    stop = threading.Event()
    log = Slow(0, (0.0, record(T0, b"Password: ", b"oP")), (60.0, b""))
    blocks = rendered([log], LogQuery(follow=True), stop)
    assert next(blocks) == b"Password: "
    threading.Timer(0.1, stop.set).start()
    assert list(blocks) == []


def test_following_several_logs_stops_when_told_with_nothing_lost() -> None:
    stop = threading.Event()
    logs = [Slow(rank, (0.0, b""), (0.05, record(T0 + rank, b"x%d" % rank)), (60.0, b"")) for rank in range(2)]
    threading.Timer(0.2, stop.set).start()
    assert b"".join(rendered(logs, LogQuery(follow=True), stop)) == b"[0] x0\n[1] x1\n"


def test_a_tail_that_is_followed_begins_with_the_tail() -> None:
    now = time.time_ns()
    logs = [Slow(rank, (0.0, b"".join(record(now + i, b"%d" % i) for i in range(5))), (0.1, record(now + 9, b"new"))) for rank in range(2)]
    assert b"".join(rendered(logs, LogQuery(follow=True, tail=1), NEVER)) == b"[x2] 4\n[x2] new\n"


def test_no_logs_say_nothing() -> None:
    assert list(rendered([], LogQuery(), NEVER)) == []
    assert list(lines([], LogQuery(), NEVER)) == []


def test_at_most_so_many_logs() -> None:
    with pytest.raises(ValueError, match="at most 2097152"):
        Source([MemoryLog([])], 1 << 21, since=None, follow=False, tail=None)


def test_logs_that_appear_while_others_go_on_come_in_between() -> None:
    now = time.time_ns()
    first = Slow(0, (0.0, record(now, b"one")), (1.2, record(now + 3, b"three")))
    looks: list[Sequence[RankLog] | None] = [(), [MemoryLog([record(now + 1, b"two"), record(now + 2, b"three")], rank=1)], (), None]

    def look() -> Sequence[RankLog] | None:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    query = LogQuery(follow=True)
    assert b"".join(rendered([first], query, NEVER, arrivals=Arrivals(look, Among(total=2, ranks=True)))) == (
        b"[0] one\n[1] two\n[1] three\n[0] three\n"
    )
    looks = [[MemoryLog([record(now, b"x")], rank=2)], None]
    assert [(line.rank, line.text) for line in lines([], query, NEVER, arrivals=Arrivals(look, Among(total=3)))] == [(2, b"x")]


def test_labels_know_who_will_come() -> None:
    labels = Labels([(b"a", MemoryLog([], task=3))], among=Among(total=40, tasks=True))
    assert (labels.several, labels.one) == (True, {b"a": b"[3] "})
    labels.add([(b"b", MemoryLog([], task=4))])
    assert labels.group(frozenset({b"a", b"b"})) == b"[3-4] "
    assert Labels([(b"a", MemoryLog([], task=3))], among=Among(total=4, tasks=True, ranks=True)).one == {b"a": b"[3.0] "}


class SlowLog(MemoryLog):
    """One that has nothing new now and then also when nobody follows, as over a network."""

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        return super().blocks(since=since, follow=True, tail=tail)


def test_a_log_that_comes_slowly_is_not_handed_over_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def batches() -> list[int]:
        blocks = [block for second in range(5) for block in (record(T0 + second * 1_000_000_000, b"x"), b"")]
        sources = [Source([SlowLog(blocks, rank=rank)], rank, since=None, follow=False, tail=None) for rank in range(2)]
        made = gather.Gather(sources, follow=False, hold=0.3, ahead=256)
        return [batch.sure for batch in made.batches(NEVER)]

    monkeypatch.setattr(gather, "_WORTH", 1000.0)
    assert batches() == [10]
    monkeypatch.setattr(gather, "_WORTH", -1.0)
    several = batches()
    assert len(several) > 1
    assert sum(several) == 10
