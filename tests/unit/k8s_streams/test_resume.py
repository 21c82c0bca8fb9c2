"""Going on after a cut: whatever happens, no line is missing and none comes twice."""

from hypothesis import given
from hypothesis import strategies as st

from gpuctl.clusters.kubernetes.streams.resume import Resume
from tests.unit.k8s_streams.kubelet import at

# Steps between the stamps of two lines in nanoseconds: equal, a little back (two threads stamp), a second on.
steps = st.lists(st.sampled_from([0, 0, 1, 700, 250_000_000, 1_000_000_000, -300, -900]), min_size=1, max_size=50)


def written(moves: list[int], texts: list[str]) -> list[bytes]:
    now, lines = 5_000_000_000, []
    for number, move in enumerate(moves):
        now = max(0, now + move)
        lines.append(f"{at(now)} {texts[number % len(texts)]}".encode())
    return lines


def answer(lines: list[bytes], since: str | None) -> list[bytes]:
    return [line for line in lines if since is None or line[:19].decode() + "Z" >= since]


def received(resume: Resume, lines: list[bytes], batch: int) -> list[bytes]:
    out = []
    for start in range(0, len(lines), batch):
        out += resume.fresh(lines[start : start + batch])
    return out


@given(
    steps, st.lists(st.sampled_from(["a", "b", "."]), min_size=1, max_size=3), st.lists(st.integers(0, 50), max_size=8), st.integers(1, 7)
)
def test_no_gap_and_no_double_under_any_cuts(moves: list[int], texts: list[str], cuts: list[int], batch: int) -> None:
    lines = written(moves, texts)
    resume = Resume()
    got: list[bytes] = []
    for cut in cuts:
        resume.begin()
        got += received(resume, answer(lines, resume.since)[:cut], batch)
    resume.begin()
    got += received(resume, answer(lines, resume.since), batch)
    got += resume.end()
    assert got == lines
    assert not resume.gap


@given(steps, st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 7))
def test_a_log_that_grows_between_the_answers(moves: list[int], growth: list[int], batch: int) -> None:
    lines = written(moves, ["same text"])
    resume = Resume()
    got: list[bytes] = []
    there = 0
    for more in [*growth, len(lines)]:
        there = min(len(lines), there + more)
        resume.begin()
        got += received(resume, answer(lines[:there], resume.since), batch)
        got += resume.end()
    assert got == lines


@given(steps, st.data())
def test_a_rotated_log_brings_the_rest_and_says_that_something_may_be_missing(moves: list[int], data: st.DataObject) -> None:
    lines = [line + b" %d" % number for number, line in enumerate(written(moves, ["x"]))]
    seen = data.draw(st.integers(1, len(lines)))
    rotated = data.draw(st.integers(seen, len(lines)))
    resume = Resume()
    resume.begin()
    got = received(resume, lines[:seen], 5) + resume.end()
    resume.begin()
    rest = received(resume, answer(lines[rotated:], resume.since), 5)
    gap = resume.gap
    held = resume.end()
    got += rest + held
    assert got == lines[:seen] + lines[rotated:]
    assert (gap or resume.gap) == (rotated < len(lines))


def test_a_clock_that_was_set_back_far() -> None:
    lines = [
        f"{at(seconds * 1_000_000_000)} {text}".encode() for seconds, text in [(100, "a"), (101, "b"), (40, "c"), (41, "d"), (42, "e")]
    ]
    resume = Resume()
    resume.begin()
    assert resume.fresh(lines[:4]) == lines[:4]
    resume.begin()
    assert resume.since == at(40_000_000_000)[:19] + "Z"
    assert resume.fresh(answer(lines, resume.since)) == lines[4:]


def test_a_cut_while_the_place_is_being_looked_for() -> None:
    lines = written([0, 1, 1, 1, 1], ["x"])
    resume = Resume()
    resume.begin()
    resume.fresh(lines[:3])
    resume.begin()
    assert resume.fresh(lines[:2]) == []
    assert resume.seeking
    resume.begin()
    assert resume.fresh(lines) == lines[3:]
