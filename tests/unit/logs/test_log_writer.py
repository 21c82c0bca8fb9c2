"""The writing end: exactness, order, parts, rotation, a full disk, going on after a crash."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.clusters.local.logs import writer as writing
from gpuctl.clusters.local.logs.layout import LogName, Segments, parse
from gpuctl.clusters.local.logs.reader import LocalRankLog
from gpuctl.clusters.local.logs.writer import PART, RankWriter
from tests.unit.logs.records import T0, split, texts

NAME = LogName(rank=3, node=1)

# Pieces that make lines, records that look like headers, carriage returns and bytes that are no UTF-8.
_PIECE = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"\n", b"\r", b"\n\n", b"2026-03-01T12:00:00.123456789Z oF x\n", b"\xff\xfe", b"a" * 5000])
)
_FEED = st.tuples(st.sampled_from([b"o", b"e"]), _PIECE, st.integers(-(10**10), 10**10), st.booleans())


def everything(directory: Path, name: LogName = NAME) -> bytes:
    return b"".join(LocalRankLog(str(directory), name, lambda: True).blocks(since=None, follow=False))


@settings(max_examples=150, deadline=None)
@given(feeds=st.lists(_FEED, max_size=30), limit=st.sampled_from([1 << 30, 1 << 20]))
def test_any_bytes_in_any_chunks_come_back(
    tmp_path_factory: pytest.TempPathFactory, feeds: list[tuple[bytes, bytes, int, bool]], limit: int
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    writer = RankWriter(str(directory), NAME, limit=limit)
    said = {b"o": b"", b"e": b""}
    for stream, data, skew, flush in feeds:
        writer.feed(stream, data, T0 + skew)
        said[stream] += data
        if flush:
            writer.flush(T0 + skew)
    writer.close(T0)
    records = everything(directory)
    assert {stream: text for stream, text in said.items() if text} == texts(records)
    instants = [record[:30] for record in split(records)]
    assert instants == sorted(instants)


def test_a_line_of_a_megabyte_comes_in_parts_that_are_bounded(tmp_path: Path) -> None:
    line = os.urandom(1 << 20).replace(b"\n", b"\r") + b"\n"
    writer = RankWriter(str(tmp_path), NAME)
    for start in range(0, len(line), 8192):
        writer.feed(b"o", line[start : start + 8192], T0)
    writer.feed(b"o", line, T0)  # and in one piece
    writer.close(T0)
    records = everything(tmp_path)
    assert texts(records) == {b"o": line + line}
    assert max(len(record) for record in split(records)) <= PART + 34


def test_an_unfinished_line_is_no_line(tmp_path: Path) -> None:
    writer = RankWriter(str(tmp_path), NAME)
    writer.feed(b"o", b"done\nPassword: ", T0)
    assert writer.unfinished
    assert texts(everything(tmp_path)) == {b"o": b"done\n"}
    writer.flush(T0 + 10, older_than_ns=1000)
    assert writer.unfinished, "it is too young"
    writer.flush(T0 + 2000, older_than_ns=1000)
    assert not writer.unfinished
    assert texts(everything(tmp_path)) == {b"o": b"done\nPassword: "}
    writer.close(T0 + 2000)
    writer.close()


def test_one_write_a_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RankWriter(str(tmp_path), NAME)
    writes: list[int] = []
    real = os.write
    monkeypatch.setattr(writing.os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    writer.feed(b"o", b"x" * 300_000 + b"\nshort\n" * 1000 + b"rest", T0)
    monkeypatch.undo()
    writer.close(T0)
    assert len(writes) == 1


def test_two_segments_are_kept_and_what_was_dropped_is_told_once(tmp_path: Path) -> None:
    limit = 64_000
    writer = RankWriter(str(tmp_path), NAME, limit=limit)
    lines = [b"line %06d\n" % number for number in range(10_000)]
    for number, line in enumerate(lines):
        writer.feed(b"o", line, T0 + number)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= limit + 200
    writer.close(T0)
    assert len(Segments(str(tmp_path), NAME).kept()) == 2
    records = split(everything(tmp_path))
    notes = [record for record in records if record[31:32] == b"g"]
    assert notes == records[:1]
    match = re.fullmatch(rb"(\d+) bytes of earlier output were dropped \(log limit 62Ki\)", notes[0][34:])
    assert match is not None
    rest = [record[34:] + b"\n" for record in records[1:]]
    assert rest == lines[-len(rest) :]
    assert int(match[1]) == sum(len(line) for line in lines[: -len(rest)])


def test_a_full_disk_neither_raises_nor_tears_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RankWriter(str(tmp_path), NAME)
    writer.feed(b"o", b"before\n", T0)
    real = os.write
    room = [20, 0, 0]

    def short(fd: int, data: bytes) -> int:
        count = room.pop(0)
        if not count:
            raise OSError(28, "No space left on device")
        return real(fd, data[:count])

    monkeypatch.setattr(writing.os, "write", short)
    writer.feed(b"o", b"lost\n", T0 + 1)
    writer.feed(b"e", b"lost too\n", T0 + 2)
    monkeypatch.undo()
    assert texts(everything(tmp_path)) == {b"o": b"before\n"}
    writer.feed(b"o", b"after\n", T0 + 3)
    writer.close(T0 + 4)
    assert texts(everything(tmp_path)) == {
        b"o": b"before\nafter\n",
        b"g": b"14 bytes of output could not be kept: No space left on device\n",
    }


def test_a_writer_goes_on_where_another_one_died_inside_a_write(tmp_path: Path) -> None:
    first = RankWriter(str(tmp_path), NAME)
    first.feed(b"o", b"one\n", T0 + 5 * 10**9)
    path = tmp_path / NAME.stem
    with path.open("ab") as file:
        file.write(b"2026-03-01T12:00:09.000000000Z oF torn")
    second = RankWriter(str(tmp_path), NAME)
    second.feed(b"o", b"two\n", T0)  # the clock went back
    second.close(T0)
    first.close()
    records = split(everything(tmp_path))
    assert [record[34:] for record in records] == [b"one", b"two"]
    assert records[0][:30] == records[1][:30]


def test_what_the_dead_left_of_a_record_is_shown_once_it_is_known_to_be_dead(tmp_path: Path) -> None:
    writer = RankWriter(str(tmp_path), NAME)
    writer.feed(b"o", b"one\n", T0)
    with (tmp_path / NAME.stem).open("ab") as file:
        file.write(b"2026-03-01T12:00:09.000000000Z eF torn")
    writer.close()
    alive = LocalRankLog(str(tmp_path), NAME, lambda: False)
    assert texts(b"".join(alive.blocks(since=None, follow=False))) == {b"o": b"one\n"}
    assert texts(everything(tmp_path)) == {b"o": b"one\n", b"e": b"torn"}


def test_notes_are_records_of_their_own(tmp_path: Path) -> None:
    writer = RankWriter(str(tmp_path), NAME)
    writer.note("ended by signal 9\nsecond line", T0)
    writer.close(T0)
    assert texts(everything(tmp_path)) == {b"g": b"ended by signal 9\nsecond line\n"}


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        (LogName(rank=0), "a1.n0.r0.log"),
        (LogName(task=17, attempt=2, node=3, rank=31), "t17.a2.n3.r31.log"),
        (LogName(node=1), "a1.n1.agent.log"),
    ],
)
def test_names_are_read_back(name: LogName, stem: str) -> None:
    assert name.stem == stem
    assert parse(stem) == (name, 0)
    assert parse(name.segment(12)) == (name, 12)


@pytest.mark.parametrize("name", ["", "a1.n0.log", "a1.n0.r0.log.x", "a1.n0.r0.log~", "xa1.n0.r0.log", "a1.n0.r-1.log", "a1.n0.r0.log\n"])
def test_other_files_are_no_logs(name: str) -> None:
    assert parse(name) is None
