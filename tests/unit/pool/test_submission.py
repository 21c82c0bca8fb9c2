import doctest
import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gpuctl.base.errors import InvalidInput
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import JobSpec
from gpuctl.pool import code, submission


def python(asked: str | None, workdir: str, env: Mapping[str, str]) -> str:
    return asked or f"/python/of{workdir}"


def prepare(spec: JobSpec, cwd: Path, **rest: Any) -> Submission:
    return submission.prepare(spec, **{"cwd": str(cwd), "env": {"PATH": "/bin"}, "find_interpreter": python, **rest})


def git(*arguments: str, cwd: Path) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    who = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *who, *arguments], cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout.strip()


def test_the_environment_is_the_submitters_without_our_tokens(tmp_path: Path) -> None:
    env = {"PATH": "/bin", "GPUCTL_TOKEN": "s3cret", "GPUCTL_TOKEN_FILE": "/t", "LR": "1"}
    made = prepare(JobSpec(command=("true",), env={"LR": "2"}), tmp_path, env=env)
    assert made.environment == {"PATH": "/bin", "LR": "2"}
    assert made.code == Code(workdir=str(tmp_path))
    assert made.spec.workdir == str(tmp_path)
    assert made.interpreter is None


def test_request_ids_are_random_unless_given(tmp_path: Path) -> None:
    spec = JobSpec(command=("true",))
    first, second = prepare(spec, tmp_path), prepare(spec, tmp_path)
    assert first.request_id != second.request_id
    assert not first.explicit_request_id
    given = prepare(spec, tmp_path, request_id="mine")
    assert (given.request_id, given.explicit_request_id) == ("mine", True)


def test_every_problem_at_once(tmp_path: Path) -> None:
    spec = JobSpec(command=("true",), nodes=0, time="5", secrets=("HF",), workdir="none")
    with pytest.raises(InvalidInput) as caught:
        prepare(spec, tmp_path, name="My Job", request_id="a b")
    assert [problem.field for problem in caught.value.problems] == [
        "metadata.name",
        "spec.nodes",
        "spec.time",
        "spec.secrets",
        "request id",
        "spec.workdir",
    ]


def test_only_the_secrets_that_the_spec_names_travel(tmp_path: Path) -> None:
    made = prepare(JobSpec(command=("true",), secrets=("HF",)), tmp_path, secrets={"HF": "x", "OTHER": "y"})
    assert made.secrets == {"HF": "x"}


def test_a_submission_shows_no_values(tmp_path: Path) -> None:
    made = prepare(JobSpec(command=("true",), secrets=("HF",)), tmp_path, env={"KEY": "hush-one"}, secrets={"HF": "hush-two"})
    assert "hush" not in f"{made!r} {made}"


@pytest.mark.parametrize(
    ("fields", "runs"),
    [
        ({"kind": "pytorch", "script": "a"}, True),
        ({"kind": "ray", "script": "a.py"}, True),
        ({"script": "a.py"}, True),
        ({"script": "a.sh"}, False),
        ({"command": ("python", "a.py")}, False),
    ],
)
def test_an_interpreter_is_looked_for_only_where_we_run_python(tmp_path: Path, fields: dict[str, Any], runs: bool) -> None:
    made = prepare(JobSpec(python="/opt/python", **fields), tmp_path)
    assert made.interpreter == ("/opt/python" if runs else None)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"script": "exp/My Train_v2.py"}, "my-train-v2"),
        ({"script": "_.py"}, "job"),
        ({"stdin_script": "echo"}, "stdin"),
        ({"command": ("torchrun", "--nproc-per-node", "2", "mine.py")}, "mine"),
        ({"command": ("env", "A=1", "bash", "-c", "true")}, "true"),
        ({"command": ("python3", "-u", "-c", "import torch; print(1)")}, "python3"),
        ({"command": ("/usr/bin/nvidia-smi",)}, "nvidia-smi"),
        ({"command": ("bash",)}, "bash"),
        ({"command": ("--help",)}, "job"),
        ({}, "job"),
    ],
)
def test_the_name_of_a_job_that_nobody_named(fields: dict[str, Any], name: str) -> None:
    assert submission.base_name(JobSpec(**fields)) == name


def test_the_examples_of_the_docstrings() -> None:
    assert doctest.testmod(submission).failed == 0


def test_facts_about_a_repository(tmp_path: Path) -> None:
    git("init", "-q", cwd=tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "train.py").write_text("print(1)\n")
    assert code.describe(str(tmp_path)).commit is None
    git("add", ".", cwd=tmp_path)
    git("commit", "-qm", "one", cwd=tmp_path)
    found = code.describe(str(tmp_path / "sub"), script="train.py")
    assert (found.commit, found.branch, found.dirty) == (git("rev-parse", "HEAD", cwd=tmp_path), "main", False)
    (tmp_path / "sub" / "new.py").touch()
    assert not code.describe(str(tmp_path)).dirty
    (tmp_path / "sub" / "train.py").write_text("print(2)\n")
    assert code.describe(str(tmp_path)).dirty
    git("checkout", "-q", "--detach", cwd=tmp_path)
    assert code.describe(str(tmp_path)).branch is None


def test_without_git_or_with_a_broken_repository_there_are_no_facts(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert code.describe(str(tmp_path)) == Code(workdir=str(tmp_path))
    assert code.describe(str(tmp_path), env={"PATH": str(tmp_path)}) == Code(workdir=str(tmp_path))


def test_a_later_change_shows_in_the_script_and_next_to_it(tmp_path: Path) -> None:
    for name in ("train.py", "model.py", "data.bin", "gone.py"):
        (tmp_path / name).write_text(name)
    (tmp_path / "large.py").write_bytes(b"x" * (code.LARGEST_FILE + 1))
    os.mkfifo(tmp_path / "pipe.py")
    found = code.describe(str(tmp_path), script="train.py")
    assert set(found.fingerprint) == {"train.py", "model.py", "gone.py"}
    assert found.fingerprint["train.py"] == hashlib.sha256(b"train.py").hexdigest()
    (tmp_path / "model.py").write_text("other")
    (tmp_path / "gone.py").unlink()
    later = code.fingerprint(str(tmp_path), "train.py")
    assert {name for name, digest in found.fingerprint.items() if later.get(name) != digest} == {"model.py", "gone.py"}


def test_a_fingerprint_is_bounded(tmp_path: Path) -> None:
    for number in range(code.MOST_FILES + 5):
        (tmp_path / f"m{number:03}.py").write_text("x")
    (tmp_path / "train.py").write_text("x")
    found = code.fingerprint(str(tmp_path), "train.py")
    assert len(found) == code.MOST_FILES
    assert "train.py" in found
    assert code.fingerprint(str(tmp_path), None) == {}
    assert code.fingerprint(str(tmp_path), "missing/train.py") == {}


def test_what_is_no_text_is_told_all_at_once(tmp_path: Path) -> None:
    odd = os.fsdecode(b"d\xe4ta")
    (tmp_path / odd).mkdir()
    with pytest.raises(InvalidInput) as caught:
        prepare(JobSpec(command=("cat", odd), workdir=odd), tmp_path)
    assert [(problem.field, problem.got) for problem in caught.value.problems] == [
        ("spec.workdir", repr(os.fsencode(tmp_path / odd))),
        ("spec.command", "b'd\\xe4ta'"),
    ]
    assert "ä" in prepare(JobSpec(command=("cat", "dätä")), tmp_path).spec.command[1]
