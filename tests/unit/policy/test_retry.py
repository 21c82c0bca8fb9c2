"""What follows an ended attempt."""

from datetime import timedelta
from typing import Any

import pytest

from gpuctl.model.job import Exit, State
from gpuctl.policy import retry
from gpuctl.policy.values import EndedAttempt, Finish, Retry
from tests.unit.policy.cases import NOW, job


@pytest.mark.parametrize(
    ("state", "attempt", "fields", "expected"),
    [
        (State.SUCCEEDED, {}, {"retries_left": 3, "requeue": True}, State.SUCCEEDED),
        (State.CANCELLED, {}, {"retries_left": 3, "requeue": True}, State.CANCELLED),
        (State.FAILED, {}, {}, State.FAILED),
        (State.FAILED, {}, {"requeue": True}, State.FAILED),
        (State.FAILED, {}, {"retries": 2, "retries_left": 1}, (True, 10)),
        (State.FAILED, {"number": 3}, {"retries_left": 1}, (True, 40)),
        (State.FAILED, {"number": 60}, {"retries_left": 1}, (True, 600)),
        (State.FAILED, {"infrastructure": True}, {}, State.FAILED),
        (State.FAILED, {"infrastructure": True}, {"requeue": True}, (False, 10)),
        (State.FAILED, {"infrastructure": True}, {"retries": 1}, (False, 10)),
        (State.LOST, {}, {}, State.LOST),
        (State.LOST, {}, {"retries": 1, "retries_left": 0}, (False, 10)),
        (State.LOST, {"began": False}, {}, (False, 10)),
        (State.LOST, {"began": False, "number": 5}, {}, State.LOST),
        (State.CUT, {}, {"retries_left": 2}, State.CUT),
        (State.CUT, {}, {"requeue": True}, (False, 0)),
    ],
)
def test_verdicts(state: State, attempt: dict[str, Any], fields: dict[str, Any], expected: State | tuple[bool, int]) -> None:
    ended = EndedAttempt(**{"number": 1, "state": state, "at": NOW, "exit": Exit(code=1), **attempt})
    verdict = retry.judge(job("a", **fields), ended, NOW)
    if isinstance(expected, State):
        assert verdict == Finish(job="a", state=expected, exit=Exit(code=1))
    else:
        assert isinstance(verdict, Retry)
        assert (verdict.counts, (verdict.not_before - NOW).total_seconds()) == expected


def test_the_sentence_says_how_it_failed_and_when_it_goes_on() -> None:
    ended = EndedAttempt(number=2, state=State.FAILED, at=NOW, exit=Exit(signal=9))
    verdict = retry.judge(job("a", retries=3, retries_left=2), ended, NOW)
    assert isinstance(verdict, Retry)
    assert verdict.reason.sentence == "attempt 2 failed (signal 9), 1 retry left after the next; attempt 3 starts in 20s"


def test_an_end_in_the_future_does_not_prolong_the_pause() -> None:
    ended = EndedAttempt(number=1, state=State.FAILED, at=NOW + timedelta(days=3))
    verdict = retry.judge(job("a", retries_left=1), ended, NOW)
    assert isinstance(verdict, Retry)
    assert verdict.not_before == NOW + timedelta(seconds=10)
