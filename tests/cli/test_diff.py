"""``gpuctl diff``: what two jobs do not have in common."""

import json
from typing import Any

import pytest

from gpuctl.model.job import Code, State
from gpuctl.model.spec import JobSpec
from tests.cli.recorder import RecordingPool, make_job

LEFT = make_job(
    "llama-k3f9",
    State.SUCCEEDED,
    spec=JobSpec(script="train.py", args=("--lr", "1e-3"), gpus=2, env={"A": "1"}),
    code=Code(workdir="/w", commit="a" * 40, branch="main"),
)
RIGHT = make_job(
    "llama-x2k9",
    State.FAILED,
    spec=JobSpec(script="train.py", args=("--lr", "1e-4"), gpus=4, env={"B": "1"}),
    code=Code(workdir="/w", commit="b" * 40, branch="main", dirty=True),
)


@pytest.mark.parametrize("width", [80, 120])
def test_differences_side_by_side(run: Any, snapshot: Any, width: int) -> None:
    outcome = run(RecordingPool([LEFT, RIGHT]), "diff", "llama-k3f9", "job/llama-x2k9", width=width, tty=True)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot


def test_json(run: Any) -> None:
    body = json.loads(run(RecordingPool([LEFT, RIGHT]), "diff", "llama-k3f9", "llama-x2k9", "-o", "json").out)
    rows = {row["field"]: (row.get("left"), row.get("right")) for row in body["items"]}
    assert rows["spec.gpus"] == ("2", "4")
    assert rows["spec.env.A"] == ("1", None)
    assert body["kind"] == "DifferenceList"


def test_the_same(run: Any) -> None:
    outcome = run(RecordingPool([LEFT]), "diff", "-", "llama-k3f9")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "job/llama-k3f9 and job/llama-k3f9 are the same\n"


def test_one_that_does_not_exist(run: Any) -> None:
    assert run(RecordingPool([LEFT]), "diff", "llama-k3f9", "nope").code == 3


def test_one_job_is_not_enough(run: Any) -> None:
    assert run(RecordingPool([LEFT]), "diff", "llama-k3f9").code == 2
