"""Folding by whole lists says what a loop over lines would."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.pool.logs.fold import WINDOW, fold
from gpuctl.pool.logs.gather import instant, nanoseconds
from gpuctl.pool.logs.source import TAG, WHENCE
from gpuctl.port.stream import HEADER
from tests.unit.logs.records import T0

_LINES = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from([b"a", b"b", b"", b"c", b"d"]), st.sampled_from([0, 1, 50_000_000, 299_999_999, 400_000_000])
    ),
    max_size=60,
)


def plainly(records: list[bytes], sure: int) -> tuple[list[bytes], dict[int, frozenset[bytes]], list[bytes]]:
    """What is shown, which of it stands for whom, and what is left."""
    groups: dict[bytes, list[list[int]]] = {}
    passed: dict[tuple[bytes, bytes], int] = {}
    for index, record in enumerate(records):
        text, tag = record[HEADER:-TAG], record[WHENCE]
        own = groups.setdefault(text, [])
        place = passed.get((text, tag), 0)
        while place < len(own) and nanoseconds(record) - nanoseconds(records[own[place][0]]) > WINDOW * 1e9:
            place += 1
        passed[text, tag] = place + 1
        if place < len(own):
            own[place].append(index)
        elif index < sure:
            own.append([index])
    every = [group for own in groups.values() for group in own if len(group) > 1]
    later = {index for group in every for index in group[1:]}
    shown = [index for index in range(sure) if index not in later]
    standing = {shown.index(group[0]): frozenset(records[index][WHENCE] for index in group) for group in every}
    return [records[index] for index in shown], standing, [records[i] for i in range(sure, len(records)) if i not in later]


@settings(max_examples=400, deadline=None)
@given(lines=_LINES, share=st.floats(0, 1))
def test_every_line_is_in_the_group_that_a_loop_would_put_it_in(lines: list[tuple[int, bytes, int]], share: float) -> None:
    at, records = T0, []
    for rank, text, step in lines:
        at += step
        records.append(b"%b oF %b%b" % (instant(at), text, bytes((0x80, 0x80, 0x80 | rank, 0x80 + HEADER))))
    sure = round(share * len(records))
    folded = fold(list(records), [record[HEADER:-TAG] for record in records], sure)
    assert (folded.records, folded.groups, folded.rest) == plainly(records, sure)
    assert folded.texts == [record[HEADER:-TAG] for record in folded.records]
