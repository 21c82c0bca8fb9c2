"""``gpuctl cancel``: who is asked before what ends, and what is told of each."""

import json
from typing import Any

import pytest

from gpuctl.model.ask import Changed
from gpuctl.model.job import State
from tests.cli.recorder import RecordingPool, make_job


def three() -> RecordingPool:
    """Two jobs of mine that have not ended, one that has."""
    return RecordingPool([make_job("a-1111"), make_job("b-2222", State.QUEUED), make_job("c-3333", State.SUCCEEDED)])


def test_my_own_named_job_is_not_asked_about(run: Any) -> None:
    pool = three()
    outcome = run(pool, "cancel", "a-1111", "--grace", "1m")
    assert (outcome.code, outcome.out, outcome.err) == (0, "job/a-1111\n", "")
    assert pool.asked("cancel") == [("a-1111", 60)]


def test_one_that_has_ended_stays_so(run: Any) -> None:
    outcome = run(three(), "cancel", "c-3333")
    assert (outcome.code, outcome.out, outcome.err) == (0, "job/c-3333\n", "job/c-3333 has already succeeded\n")


def test_several_are_cancelled_though_one_is_unknown(run: Any) -> None:
    pool = three()
    outcome = run(pool, "cancel", "a-1111", "nope", "b-2222")
    assert (outcome.code, outcome.out) == (1, "job/a-1111\njob/b-2222\n")
    assert outcome.err == "error[no-such-job]: no job nope\n"
    assert run(pool, "cancel", "nope").code == 3


@pytest.mark.parametrize("args", [[], ["a-1111", "--name", "a*"], ["-"]])
def test_there_is_no_default(run: Any, args: list[str]) -> None:
    pool = three()
    outcome = run(pool, "cancel", *args, tty=True, stdin="y\n")
    assert (outcome.code, outcome.out) == (2, "")
    assert "hint: gpuctl" in outcome.err
    assert pool.asked("cancel") == []


def test_a_pattern_asks(run: Any) -> None:
    pool = three()
    outcome = run(pool, "cancel", "--name", "*", tty=True, stdin="y\n")
    assert (outcome.code, outcome.out) == (0, "job/a-1111\njob/b-2222\n")
    assert outcome.err == "  job/a-1111 running anna\n  job/b-2222 queued anna\nCancel 2 jobs? [y/N] "
    query = pool.asked("jobs")[0][0]
    assert (query.user, query.name) == ("anna", "*")
    assert query.states == {State.QUEUED, State.STARTING, State.RUNNING}


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yess\n"])
def test_anything_but_yes_cancels_nothing(run: Any, answer: str) -> None:
    pool = three()
    outcome = run(pool, "cancel", "--state", "queued,running", tty=True, stdin=answer)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.endswith("nothing was cancelled\n")
    assert pool.asked("cancel") == []


def test_without_a_terminal_the_flag_is_needed(run: Any) -> None:
    pool = three()
    refused = run(pool, "cancel", "--name", "*", stdin="y\n")
    assert (refused.code, refused.out) == (2, "")
    assert "error[needs-confirmation]" in refused.err
    assert "hint: add -y" in refused.err
    assert pool.asked("cancel") == []
    assert run(pool, "cancel", "--name", "*", "-y").out == "job/a-1111\njob/b-2222\n"


def test_somebody_elses_job_is_asked_about(run: Any) -> None:
    pool = RecordingPool([make_job("a-1111", user="bert")])
    assert run(pool, "cancel", "a-1111").code == 2
    asked = run(pool, "cancel", "a-1111", tty=True, stdin="n\n")
    assert "job/a-1111 running bert" in asked.err
    assert pool.asked("cancel") == []
    assert run(pool, "cancel", "a-1111", "-y").out == "job/a-1111\n"


def test_a_pattern_that_matches_nothing(run: Any) -> None:
    outcome = run(RecordingPool([make_job(state=State.FAILED)]), "cancel", "--name", "x*")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no unfinished job matches\n")


def test_a_cluster_that_cannot_be_read_is_told(run: Any) -> None:
    pool = RecordingPool([make_job(), make_job("train-gone", unknown=("state",))], incomplete={"res-a": "timed out"})
    outcome = run(pool, "cancel", "--name", "t*", "-y")
    assert "note: res-a could not be read, its jobs are left alone: timed out\n" in outcome.err
    assert outcome.out == "job/train-k3f9\n"
    nothing = RecordingPool(incomplete={"res-a": "timed out"})
    assert run(nothing, "cancel", "--name", "x*", "-y").err.endswith("no unfinished job matches where it could be read\n")


def test_formats(run: Any) -> None:
    assert json.loads(run(three(), "cancel", "a-1111", "-o", "json").out)["items"][0]["name"] == "a-1111"
    pool = three()
    assert run(pool, "cancel", "a-1111", "-o", "nonsense").code == 2
    assert pool.asked("cancel") == []


@pytest.mark.parametrize(
    ("args", "nearest"), [(["--state", "quened"], "did you mean queued?"), (["a-1111", "--grace", "5"], "write 5m or 5s")]
)
def test_bad_input(run: Any, args: list[str], nearest: str) -> None:
    outcome = run(three(), "cancel", *args, "-y")
    assert outcome.code == 2
    assert nearest in outcome.err


def test_tasks_of_an_array_that_goes_on_are_told_of_by_the_pool(run: Any) -> None:
    pool = RecordingPool([make_job("sweep-1111")])
    pool.cancel = lambda ref, *, grace_seconds=None: Changed(  # type: ignore[method-assign]
        job=pool.known["sweep-1111"], already=True, sentence="sweep-1111, tasks 3-9: has ended already"
    )
    outcome = run(pool, "cancel", "sweep-1111_3-9")
    assert (outcome.code, outcome.err) == (0, "sweep-1111, tasks 3-9: has ended already\n")
