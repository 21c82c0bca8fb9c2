"""Lines of a pod as records of its ranks."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuctl.clusters.kubernetes.streams.records import LONGEST, Demux, canonical, last_lines
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
    demux = Demux(ranks=ranks, prefixed=True)
    got: dict[int | None, bytes] = {}
    for start in range(0, len(raw), batch):
        for whose, block in demux.divide(raw[start : start + batch]).items():
            got[whose] = got.get(whose, b"") + block
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
    block = Demux(ranks=(), prefixed=False).divide(raw, since=at(since).encode()).get(None, b"")
    high = 0
    count = 0
    for instant, _ in found:
        high = max(high, instant)
        count += high >= since
    assert block.count(b"\n") == count
    assert all(record[:30] >= at(since).encode() for record in block.split(b"\n")[:-1])


def test_without_a_prefix_all_is_one_ranks() -> None:
    raw = [at(1).encode() + b" [3] as the program wrote it"]
    assert Demux(ranks=(7,), prefixed=False, alone=7).divide(raw) == {7: at(1).encode() + b" oF [3] as the program wrote it\n"}


def test_a_line_that_is_too_long_becomes_parts() -> None:
    text = b"x" * (2 * LONGEST + 5)
    block = Demux(ranks=(0,), prefixed=True).divide([at(1).encode() + b" [0] " + text])[0]
    records = block.split(b"\n")[:-1]
    assert [record[31:34] for record in records] == [b"oP ", b"oP ", b"oF "]
    assert b"".join(record[HEADER:] for record in records) == text


def test_a_line_without_an_end_is_a_part() -> None:
    assert Demux(ranks=(0,), prefixed=True).part(at(1).encode() + b" [0] half") == (0, at(1).encode() + b" oP half\n")


@given(st.lists(st.sampled_from([b"F", b"P"]), max_size=12), st.integers(0, 6))
def test_last_lines_counts_lines_not_records(tags: list[bytes], count: int) -> None:
    records = [at(index).encode() + b" o" + tag + b" %d\n" % index for index, tag in enumerate(tags)]
    whole: list[list[bytes]] = [[]]
    for tag, record in zip(tags, records, strict=True):
        whole[-1].append(record)
        if tag == b"F":
            whole.append([])
    wanted = [line for line in whole if line][-count:] if count else []
    assert b"".join(last_lines(records, count)) == b"".join(record for line in wanted for record in line)
