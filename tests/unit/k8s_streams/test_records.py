"""Lines of a pod as records of its ranks."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuctl.clusters.kubernetes.streams.records import Marking, canonical, headed, last_lines, plain
from gpuctl.port.stream import HEADER
from tests.unit.k8s_streams.kubelet import at

RECORD = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z [oeg][FP] [^\n]*\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"2026-03-01T12:00:00.123456789Z x y", b"2026-03-01T12:00:00.123456789Z x y"),
        (b"2026-03-01T12:00:00.12Z x", b"2026-03-01T12:00:00.120000000Z x"),
        (b"2026-03-01T12:00:00Z x", b"2026-03-01T12:00:00.000000000Z x"),
        (b"2026-03-01T14:30:00.5+02:30 x", b"2026-03-01T12:00:00.500000000Z x"),
        (b"2026-03-01T00:00:00.000000001-12:00 x", b"2026-03-01T12:00:00.000000001Z x"),
        (b"2026-03-01T12:00:00.1234567891Z x", b"2026-03-01T12:00:00.123456789Z x"),
        (b"2026-03-01T12:00:00.123456789Z ", b"2026-03-01T12:00:00.123456789Z "),
        (b"2026-03-01T12:00:00.1Z abcdefgZ 12", b"2026-03-01T12:00:00.100000000Z abcdefgZ 12"),
    ],
)
def test_instants_become_thirty_bytes_in_utc(line: bytes, expected: bytes) -> None:
    assert canonical([line]) == ([expected], [])


def test_what_has_no_instant_is_the_kubelets_own() -> None:
    good = b"2026-03-01T12:00:00.123456789Z x"
    words = b"unable to retrieve container logs for containerd://b19188"
    assert canonical([good, words, good]) == ([good, good], [words])


line_texts = st.one_of(
    st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"")),
    st.tuples(st.integers(0, 130), st.binary(max_size=30)).map(lambda pair: b"[%d] " % pair[0] + pair[1].replace(b"\n", b"")),
    st.sampled_from([b"", b"[1]", b"[1]x", b"[01] x", b"[1] Z [1] x", b"2026-03-01T12:00:00.123456789Z [2] y", b"[-1] q", b"[ 1] q"]),
)
lines = st.lists(st.tuples(st.integers(0, 5_000_000_000), line_texts), max_size=60)


@given(lines, st.sampled_from([(0, 1, 2, 3), (8, 9, 10, 11), (96, 97, 98, 99, 100, 101), (5,)]), st.integers(1, 60))
def test_every_line_reaches_exactly_its_rank_in_its_order(found: list[tuple[int, bytes]], ranks: tuple[int, ...], batch: int) -> None:
    raw = [at(instant).encode() + b" " + text for instant, text in found]
    whose_mark = {bytes((number,)): rank for number, rank in enumerate((None, *ranks))}
    marking = Marking({rank: mark for mark, rank in whose_mark.items()}, ranks=ranks, prefixed=True)
    got: dict[int | None, bytes] = {}
    for start in range(0, len(raw), batch):
        for record in marking.records(raw[start : start + batch]):
            whose = whose_mark[record[-2:-1]]
            got[whose] = got.get(whose, b"") + plain([record[:-2] + record[-1:]])
    expected: dict[int | None, list[bytes]] = {}
    for _, text in found:
        prefix = re.match(rb"\[(0|[1-9]\d*)\] ", text)
        whose = int(prefix[1]) if prefix and int(prefix[1]) in ranks else None
        expected.setdefault(whose, []).append(text[prefix.end() :] if prefix and whose is not None else text)
    assert {whose: [record[HEADER:] for record in block.split(b"\n")[:-1]] for whose, block in got.items()} == expected
    for block in got.values():
        records = RECORD.findall(block)
        assert b"".join(records) == block
        instants = [record[:30] for record in records]
        assert instants == sorted(instants)


@given(lines, st.integers(0, 5_000_000_000))
def test_since_leaves_out_what_is_older(found: list[tuple[int, bytes]], since: int) -> None:
    raw = [at(instant).encode() + b" " + text for instant, text in found]
    records = Marking({None: b"a"}, ranks=(), prefixed=False).records(raw, since=at(since).encode())
    high = 0
    count = 0
    for instant, _ in found:
        high = max(high, instant)
        count += high >= since
    assert len(records) == count
    assert all(record[:30] >= at(since).encode() for record in records)


@given(lines, st.sets(st.sampled_from([None, 8, 9, 10, 11]), min_size=1))
def test_who_has_no_mark_is_left_out(found: list[tuple[int, bytes]], wanted: set[int | None]) -> None:
    raw = [at(instant).encode() + b" " + text for instant, text in found]
    every = {rank: b"%d" % number for number, rank in enumerate((None, 8, 9, 10, 11))}
    some = {rank: mark for rank, mark in every.items() if rank in wanted}
    records = Marking(every, ranks=(8, 9, 10, 11), prefixed=True).records(raw)
    assert Marking(some, ranks=(8, 9, 10, 11), prefixed=True).records(raw) == [each for each in records if each[-2:-1] in some.values()]


def test_without_a_prefix_all_is_one_ranks() -> None:
    raw = [at(1).encode() + b" [3] as the program wrote it"]
    assert (
        plain(Marking({7: b""}, ranks=(7,), prefixed=False, alone=7).records(raw)) == at(1).encode() + b" oF [3] as the program wrote it\n"
    )


def test_a_line_without_an_end_is_a_part() -> None:
    (part,) = Marking({0: b"m"}, ranks=(0,), prefixed=True).part(at(1).encode() + b" [0] half")
    assert part == at(1).encode() + b" oP halfm" + bytes((0x80 + HEADER,))
    assert headed(part) == part


def test_a_note_is_the_agents_or_else_the_first_ranks() -> None:
    for marks, told in (({None: b"n", 3: b"a"}, b"n"), ({3: b"a", 2: b"b"}, b"b")):
        marking = Marking(marks, ranks=(2, 3), prefixed=True)
        assert marking.note("lost\nit", at(1).encode()) == at(1).encode() + b" gF lost it" + told + bytes((0x80 + HEADER,))


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 6))
def test_last_lines_keeps_what_gpuctl_says_itself(notes: list[bool], count: int) -> None:
    marking = Marking({0: b"m"}, ranks=(0,), prefixed=False, alone=0)
    records = []
    for index, note in enumerate(notes):
        instant = at(index).encode()
        records += [marking.note("g", instant)] if note else marking.records([instant + b" gF %d" % index])
    kept = last_lines(records, count)
    said = [record for record, note in zip(records, notes, strict=True) if not note]
    assert [record for record in kept if record[-1] != 0x80 + HEADER] == (said[-count:] if count else [])
    assert kept == [record for record in records if record in kept]
    assert sum(record[-1] == 0x80 + HEADER for record in kept) == sum(notes)
