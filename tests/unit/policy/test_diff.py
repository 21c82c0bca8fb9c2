"""Differences of two jobs."""

from typing import Any

from gpuctl.model.job import Code, Job, State
from gpuctl.model.spec import ArraySpec, Dependency, JobSpec
from gpuctl.policy.diff import Difference, diff
from tests.unit.policy.cases import NOW


def a_job(spec: JobSpec, **fields: Any) -> Job:
    return Job(id="1", name="a-x", base_name="a", user="ben", spec=spec, state=State.QUEUED, submitted_at=NOW, **fields)


def test_a_job_does_not_differ_from_itself() -> None:
    same = a_job(
        JobSpec(script="a.py", env={"LR": "1"}), code=Code(workdir="/w", commit="abc", fingerprint={"a.py": "1" * 64}), environment=("A",)
    )
    assert diff(same, same) == ()


def test_every_field_that_differs_is_named_as_in_a_job_file() -> None:
    left = a_job(
        JobSpec(script="a.py", nodes=2, env={"LR": "1", "a_b": "x"}, array=ArraySpec(last=3), after=(Dependency(job="7"),), snapshot=True),
        code=Code(workdir="/w", commit="abc", fingerprint={"a.py": "1" * 64}),
        interpreter="/x/python",
    )
    right = a_job(
        JobSpec(script="a.py", gpu_type="H100", args=("--lr", "3"), env={"LR": "2"}),
        code=Code(workdir="/w", commit="def", dirty=True, fingerprint={"a.py": "2" * 64}),
    )
    assert diff(left, right) == (
        Difference("code.commit", "abc", "def"),
        Difference("code.dirty", "false", "true"),
        Difference("code.files.a.py", "1" * 12, "2" * 12),
        Difference("interpreter", "/x/python", None),
        Difference("spec.after", "7:ok", None),
        Difference("spec.args", None, "--lr 3"),
        Difference("spec.array.first", "0", None),
        Difference("spec.array.last", "3", None),
        Difference("spec.env.LR", "1", "2"),
        Difference("spec.env.a_b", "x", None),
        Difference("spec.gpuType", None, "H100"),
        Difference("spec.nodes", "2", "1"),
        Difference("spec.snapshot", "true", "false"),
    )


def test_only_names_of_the_environment_are_compared_and_only_when_both_are_known() -> None:
    assert diff(a_job(JobSpec(), environment=("A", "B")), a_job(JobSpec(), environment=("B", "C"))) == (
        Difference("environment.A", "set", None),
        Difference("environment.C", None, "set"),
    )
    assert diff(a_job(JobSpec(), environment=("A",)), a_job(JobSpec())) == ()
