"""The reading end: while it is written, rotated and killed; tail and since."""

import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.clusters.local.logs.layout import LogName
from gpuctl.clusters.local.logs.reader import LocalRankLog, logs
from gpuctl.clusters.local.logs.writer import RankWriter
from tests.unit.logs.records import T0, split, texts

NAME = LogName(rank=0)
_SPAWN = multiprocessing.get_context("spawn")


def _write(directory: str, limit: int, count: int, pause: float) -> None:
    writer = RankWriter(directory, NAME, limit=limit)
    for number in range(count):
        writer.feed(b"o" if number % 3 else b"e", b"line %07d %s\n" % (number, b"." * (number % 200)), time.time_ns())
        if pause and number % 50 == 0:
            time.sleep(pause)
    writer.close()


def _follow(directory: Path, process: multiprocessing.process.BaseProcess) -> list[bytes]:
    log = LocalRankLog(str(directory), NAME, lambda: not process.is_alive())
    records: list[bytes] = []
    for block in log.blocks(since=None, follow=True):
        records += split(block) if block else []
        if not block:
            time.sleep(0.002)
    return records


def test_a_reader_never_sees_a_torn_record_and_misses_none(tmp_path: Path) -> None:
    process = _SPAWN.Process(target=_write, args=(str(tmp_path), 1 << 30, 20_000, 0.0005))
    process.start()
    records = _follow(tmp_path, process)
    process.join()
    assert [int(record[39:46]) for record in records] == list(range(20_000))


def test_following_goes_on_across_rotation_and_tells_gaps(tmp_path: Path) -> None:
    process = _SPAWN.Process(target=_write, args=(str(tmp_path), 400_000, 20_000, 0.004))
    process.start()
    records = _follow(tmp_path, process)
    process.join()
    assert not (tmp_path / NAME.stem).exists(), "nothing was rotated"
    number = -1
    for record in records:
        if record[31:32] == b"g":
            assert b"bytes of earlier output were dropped" in record
            number = -2
            continue
        seen = int(record[39:46])
        assert seen == number + 1 or number == -2, "a gap that was not told"
        number = seen
    assert number == 19_999


def test_a_reader_that_is_too_slow_is_told(tmp_path: Path) -> None:
    writer = RankWriter(str(tmp_path), NAME, limit=20_000)
    writer.feed(b"o", b"first\n", T0)
    blocks = LocalRankLog(str(tmp_path), NAME, lambda: True).blocks(since=None, follow=True)
    assert texts(next(blocks)) == {b"o": b"first\n"}
    for number in range(2000):
        writer.feed(b"o", b"%06d\n" % number, T0 + number)
    writer.close(T0)
    rest = split(b"".join(blocks))
    assert rest[0][31:32] == b"g"
    assert b"dropped" in rest[0]
    assert [record[31:32] for record in rest[1:]] == [b"o"] * (len(rest) - 1)
    assert rest[-1].endswith(b"001999")


def test_a_writer_killed_at_any_moment_leaves_whole_records(tmp_path: Path) -> None:
    process = _SPAWN.Process(target=_write, args=(str(tmp_path), 1 << 30, 10**9, 0))
    process.start()
    while not (tmp_path / NAME.stem).exists() or (tmp_path / NAME.stem).stat().st_size < 200_000:
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    log = LocalRankLog(str(tmp_path), NAME, lambda: True)
    whole = [record for record in split(b"".join(log.blocks(since=None, follow=False))) if record[32:33] == b"F"]
    assert [int(record[39:46]) for record in whole] == list(range(len(whole)))
    assert len(whole) > 1000


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=200),
    steps=st.lists(st.integers(0, 3), min_size=1, max_size=10),
    data=st.data(),
)
def test_tail_and_since_are_the_ends_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], steps: list[int], data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    writer = RankWriter(str(directory), NAME, limit=150_000)
    at = T0
    for size, step in zip(sizes, itertools.cycle(steps), strict=False):
        at += step
        writer.feed(b"o", b"x" * size + b"\n", at)
    writer.close(at)
    log = LocalRankLog(str(directory), NAME, lambda: True)
    whole = split(b"".join(log.blocks(since=None, follow=False)))
    count = data.draw(st.integers(0, len(whole) + 2))
    assert split(log.tail(count)) == (whole[-count:] if count else [])
    since = data.draw(st.sampled_from(whole))[:30]
    later = [record for record in whole if record[:30] >= since and record[31:32] != b"g"]
    found = [record for record in split(b"".join(log.blocks(since=since.decode(), follow=False))) if record[31:32] != b"g"]
    assert found == later


def test_since_bisects_a_long_file(tmp_path: Path) -> None:
    writer = RankWriter(str(tmp_path), NAME)
    for number in range(3000):
        writer.feed(b"o", b"%d " % number + b"y" * 1000 + b"\n", T0 + number * 1000)
    writer.close(T0)
    log = LocalRankLog(str(tmp_path), NAME, lambda: True)
    for number in (0, 1, 1499, 2998, 2999):
        since = f"2026-03-01T12:00:00.{number * 1000:09d}Z"
        first = next(iter(log.blocks(since=since, follow=False)))
        assert first.startswith(b"%s oF %d " % (since.encode(), number))
    assert list(log.blocks(since="2027-01-01T00:00:00.000000000Z", follow=False)) == []


def test_tail_counts_lines_not_parts(tmp_path: Path) -> None:
    writer = RankWriter(str(tmp_path), NAME)
    writer.feed(b"o", b"a\nb\n" + b"c" * 200_000 + b"\nd", T0)
    writer.close(T0)
    log = LocalRankLog(str(tmp_path), NAME, lambda: True)
    assert texts(log.tail(1)) == {b"o": b"d"}
    assert texts(log.tail(2)) == {b"o": b"c" * 200_000 + b"\nd"}
    assert texts(log.tail(3)) == {b"o": b"b\n" + b"c" * 200_000 + b"\nd"}


def test_tail_then_follow_has_neither_gap_nor_repetition(tmp_path: Path) -> None:
    over: list[bool] = []
    writer = RankWriter(str(tmp_path), NAME)
    for _ in range(5):
        writer.feed(b"o", b"same\n", T0)  # one instant, one text: nothing tells them apart but their place
    blocks = LocalRankLog(str(tmp_path), NAME, lambda: bool(over)).blocks(since=None, follow=True, tail=2)
    assert texts(next(blocks)) == {b"o": b"same\n" * 2}
    assert next(blocks) == b""
    writer.feed(b"o", b"same\n", T0)
    assert texts(next(blocks)) == {b"o": b"same\n"}
    over.append(True)
    assert list(blocks) == []
    writer.close(T0)


def test_reading_without_following_ends_where_the_log_ended(tmp_path: Path) -> None:
    writer = RankWriter(str(tmp_path), NAME)
    writer.feed(b"o", b"one\n", T0)
    blocks = LocalRankLog(str(tmp_path), NAME, lambda: False).blocks(since=None, follow=False)
    writer.feed(b"o", b"two\n", T0)
    assert texts(b"".join(blocks)) == {b"o": b"one\n"}
    writer.close(T0)


def test_a_log_that_is_not_there_yet_is_waited_for_and_one_that_never_came_is_empty(tmp_path: Path) -> None:
    over: list[bool] = []
    blocks = LocalRankLog(str(tmp_path / "none"), NAME, lambda: bool(over)).blocks(since=None, follow=True)
    assert next(blocks) == b""
    over.append(True)
    assert list(blocks) == []
    assert LocalRankLog(str(tmp_path / "none"), NAME, lambda: True).tail(5) == b""


def test_logs_are_found_by_task_attempt_node_and_rank(tmp_path: Path) -> None:
    names = [
        LogName(task=task, attempt=attempt, node=node, rank=rank)
        for task in (1, 2)
        for attempt in (1, 2)
        for node, rank in ((0, 0), (0, None), (1, 1))
        if (task, attempt) != (2, 2)
    ]
    for name in names:
        RankWriter(str(tmp_path), name).close()
    (tmp_path / "notes.txt").write_text("not a log")

    def found(**wanted: int) -> list[tuple[int | None, int, int, int | None]]:
        chosen = logs(str(tmp_path), ended=lambda name: True, **wanted)  # type: ignore[arg-type]
        return [(log.task, log.attempt, log.node, log.rank) for log in chosen]

    last = [(1, 2, 0, None), (1, 2, 0, 0), (1, 2, 1, 1), (2, 1, 0, None), (2, 1, 0, 0), (2, 1, 1, 1)]
    assert found() == last
    assert found(task=2) == last[3:]
    assert found(attempt=2) == last[:3]
    assert found(node=1) == [last[2], last[5]]
    assert [(log.task, log.rank) for log in logs(str(tmp_path), ended=lambda name: True, ranks={1})] == [(1, 1), (2, 1)]
