"""``gpuctl wait``: what is printed as jobs end, and the exit code that stands for them."""

import json
import signal
from typing import Any

import pytest

from gpuctl.model.job import Exit, State
from gpuctl.model.reason import Reason
from tests.cli.recorder import RecordingPool, make_job

ENDED = [
    (State.SUCCEEDED, Exit(code=0), 0),
    (State.FAILED, Exit(code=3), 3),
    (State.FAILED, Exit(signal=9), 137),
    (State.FAILED, None, 1),
    (State.FAILED, Exit(code=0), 1),
    (State.CANCELLED, Exit(signal=15), 143),
    (State.CUT, Exit(signal=9), 125),
    (State.LOST, None, 125),
]


@pytest.mark.parametrize(("state", "end", "code"), ENDED)
def test_the_code_of_a_job(run: Any, state: State, end: Exit | None, code: int) -> None:
    pool = RecordingPool([make_job(state=state, exit=end)])
    own = run(pool, "wait", "train-k3f9", "--exit-status")
    assert (own.code, own.out) == (code, "job/train-k3f9\n")
    plain = run(pool, "wait", "train-k3f9")
    assert (plain.code, plain.out) == (0, "job/train-k3f9\n")


def test_several_jobs_give_the_highest_code(run: Any) -> None:
    jobs = [
        make_job("a-1111", State.FAILED, exit=Exit(code=3)),
        make_job("b-2222", State.FAILED, exit=Exit(signal=9)),
        make_job("c-3333", State.SUCCEEDED),
    ]
    pool = RecordingPool(jobs)
    outcome = run(pool, "wait", "a-1111", "b-2222", "c-3333", "a-1111", "--exit-status")
    assert (outcome.code, outcome.out) == (137, "job/a-1111\njob/b-2222\njob/c-3333\n")
    assert "job/a-1111 failed after 50m00s: exit code 3\n" in outcome.err
    assert "job/c-3333 succeeded after 50m00s\n" in outcome.err
    assert pool.asked("wait")[0][0] == ("a-1111", "b-2222", "c-3333")  # each once


def test_the_end_is_told_in_one_sentence(run: Any) -> None:
    reason = Reason(code="time-limit", sentence="cut at its limit of 6h")
    outcome = run(RecordingPool([make_job(state=State.CUT, reason=reason)]), "wait")
    assert outcome.err.splitlines()[-1] == "job/train-k3f9 was cut after 50m00s: at its limit of 6h"


def test_timeout(run: Any) -> None:
    pool = RecordingPool([make_job("a-1111", State.SUCCEEDED), make_job("b-2222")])
    outcome = run(pool, "wait", "a-1111", "b-2222", "--timeout", "1m30s")
    assert (outcome.code, outcome.out) == (124, "job/a-1111\n")  # what ended before is told
    assert "error[timeout]: stopped waiting after 1m30s: job/b-2222 has not ended" in outcome.err
    assert "hint: gpuctl why b-2222" in outcome.err
    assert pool.asked("wait")[0][1] == 90.0


def test_formats(run: Any) -> None:
    pool = RecordingPool([make_job(state=State.SUCCEEDED)])
    assert run(pool, "wait", "-o", "name").out == "job/train-k3f9\n"
    assert json.loads(run(pool, "wait", "-o", "json").out)["items"][0]["state"] == "succeeded"
    assert run(pool, "wait", "-o", "tabel").code == 2


@pytest.mark.parametrize(("args", "code"), [(["nope"], 3), (["train-k3f9", "--timeout", "5"], 2)])
def test_bad_input_before_any_wait(run: Any, args: list[str], code: int) -> None:
    pool = RecordingPool([make_job()])
    assert run(pool, "wait", *args).code == code
    assert pool.asked("wait") == []


def test_ctrl_c_says_what_goes_on(run: Any) -> None:
    class Pool(RecordingPool):
        def wait(self, refs: Any, *, stop: Any, timeout: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            assert stop.wait(5.0)
            return iter(())

    outcome = run(Pool([make_job("a-1111"), make_job("b-2222")]), "wait", "a-1111", "b-2222")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == "job/a-1111, job/b-2222 go on; gpuctl wait a-1111 b-2222"


def test_a_terminal_shows_a_moving_line_and_leaves_nothing_of_it(run: Any) -> None:
    import time

    class Pool(RecordingPool):
        def wait(self, refs: Any, *, stop: Any, timeout: Any) -> Any:
            time.sleep(0.25)  # longer than the tenth of a second after which something must show
            yield make_job(state=State.SUCCEEDED)

    outcome = run(Pool([make_job()]), "wait", tty=True)
    assert outcome.out == "job/train-k3f9\n"
    assert "⠋ waiting for job/train-k3f9, running (0s)" in outcome.err
    assert outcome.err.endswith("\r\x1b[2Kjob/train-k3f9 succeeded after 50m00s\n")
    piped = run(Pool([make_job()]), "wait")
    assert piped.err == "waiting for job/train-k3f9, running\njob/train-k3f9 succeeded after 50m00s\n"
    assert run(Pool([make_job()]), "wait", "-q", tty=True).err == ""
