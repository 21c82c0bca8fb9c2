"""``gpuctl update``."""

from typing import Any

import pytest

from gpuctl.model.ask import JobChange
from gpuctl.model.job import State
from tests.cli.recorder import RecordingPool, make_job


@pytest.mark.parametrize(
    ("args", "change"),
    [
        (["--time", "12h"], JobChange(time="12h")),
        (["--priority", "-5", "--tier", "on-demand"], JobChange(priority=-5, tier="on-demand")),
        (["--hold"], JobChange(hold=True)),
        (["--release"], JobChange(hold=False)),
    ],
)
def test_only_what_is_named_changes(run: Any, args: list[str], change: JobChange) -> None:
    pool = RecordingPool([make_job()])
    outcome = run(pool, "update", "train-k3f9", *args)
    assert (outcome.code, outcome.out, outcome.err) == (0, "job/train-k3f9\n", "job/train-k3f9 was changed\n")
    assert pool.asked("update") == [("train-k3f9", change)]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["train-k3f9"], "nothing to change of train-k3f9"),
        (["train-k3f9", "--time", "90"], "write 90m or 90s"),
        (["train-k3f9", "--tier", "ondemand"], "did you mean on-demand?"),
        (["train-k3f9", "--hold", "--release"], "--hold and --release exclude each other"),
        (["--time", "1h"], "JOB"),
    ],
)
def test_bad_input_changes_nothing(run: Any, args: list[str], expected: str) -> None:
    pool = RecordingPool([make_job()])
    outcome = run(pool, "update", *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert expected in outcome.err
    assert pool.calls == []


def test_a_job_that_has_ended(run: Any) -> None:
    outcome = run(RecordingPool([make_job(state=State.SUCCEEDED)]), "update", "train-k3f9", "--time", "1h")
    assert (outcome.code, outcome.out) == (6, "")
