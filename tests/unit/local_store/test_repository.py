"""``--git``: what a name means in a repository, and jobs of this machine that run what is there; git is real, on this disk."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gpuctl.base.errors import GpuctlError, InvalidInput, UnavailableError
from gpuctl.base.git import Repository as Remote
from gpuctl.model.ask import JobQuery, LogQuery, Submission
from gpuctl.model.spec import GitSource, JobSpec
from gpuctl.pool.submission import prepare
from gpuctl.port.stream import HEADER
from tests.fakes.machine import LocalPlace
from tests.fakes.repository import Repository


@pytest.fixture
def place(home: Path) -> Iterator[LocalPlace]:
    made = LocalPlace()
    yield made
    made.close()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def asked(repository: Repository, *command: str, ref: str = "main", url: str | None = None, **spec: object) -> Submission:
    source = GitSource(url=url or repository.url, ref=ref)
    described = JobSpec(**{"command": command, "gpus": 0, "git": source, **spec})  # type: ignore[arg-type]
    return prepare(described, cwd="/", env=os.environ, find_interpreter=None)


def ended(place: LocalPlace, name: str) -> bytes:
    list(place.cluster.wait([name], stop=threading.Event(), timeout=60))
    (log,) = [log for log in place.cluster.logs(name, LogQuery()) if log.rank == 0]
    return log.tail(1)[HEADER:]


def env_with(directory: Path, script: str) -> dict[str, str]:
    """An environment whose git is ``script`` first; ``exec real`` goes on to the real one."""
    directory.mkdir()
    program = directory / "git"
    program.write_text("#!/bin/sh\n" + script.replace("exec real", f'exec {shutil.which("git")} "$@"') + "\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}


@pytest.mark.parametrize(("ref", "which"), [("main", "second"), ("v1", "first"), ("HEAD", "second"), ("refs/heads/main", "second")])
def test_what_a_name_means(repository: Repository, ref: str, which: str) -> None:
    assert Remote(repository.url, os.environ).commit_of(ref) == getattr(repository, which)


def test_a_whole_commit_is_itself_and_nobody_is_asked() -> None:
    assert Remote("https://127.0.0.1:1/x", os.environ).commit_of("a" * 40) == "a" * 40


@pytest.mark.parametrize(
    ("ref", "allowed", "nearest"),
    [("mian", "main, v1", "main"), ("ain", "main, v1", "main"), ("abc1234", "a commit with all of its 40 digits", None)],
)
def test_a_name_that_is_not_there(repository: Repository, ref: str, allowed: str, nearest: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        Remote(repository.url, os.environ).commit_of(ref)
    (problem,) = caught.value.problems
    assert (caught.value.code, problem.field, problem.allowed, problem.nearest) == ("no-such-ref", "spec.git.ref", allowed, nearest)


def test_a_repository_that_is_away_or_hangs(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        Remote(f"{repository.url}x", os.environ).commit_of("main")
    assert caught.value.code == "repository-unreachable"
    assert "does not appear to be a git repository" in (caught.value.cause or "")
    began = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        Remote(repository.url, env_with(tmp_path / "bin", "sleep 50")).commit_of("main", seconds=0.2)
    assert caught.value.cause == "no answer in 0.2 s"
    assert time.monotonic() - began < 30, "what git started ended with it"


def test_without_git_here(repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GpuctlError) as caught:
        Remote(repository.url, os.environ).commit_of("main")
    assert caught.value.code == "git-missing"
    assert asked(repository, "true").code.commit is None, "nodes elsewhere may have one"


def test_credentials_are_for_their_host_and_no_arguments(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    env = env_with(tmp_path / "bin", f'echo "$@" "$GIT_SSH_COMMAND" $GIT_TERMINAL_PROMPT >>{seen}; exit 1')
    secrets = {"GIT_TOKEN": "hush", "GIT_SSH_KEY": "-----KEY-----", "OTHER": "x"}
    with pytest.raises(UnavailableError):
        Remote("https://git.example/a", env, secrets).commit_of("main")
    text = seen.read_text()
    assert "credential.https://git.example.helper=!f()" in text
    assert "IdentitiesOnly=yes -i " in text
    key = text.split("IdentitiesOnly=yes -i ")[1].split()[0]
    assert not os.path.exists(key), "the key is gone with its git"
    assert "hush" not in text
    seen.unlink()
    with pytest.raises(UnavailableError) as caught:
        Remote("http://git.example/a", env, secrets).commit_of("main")
    assert "helper" not in seen.read_text(), "not in clear"
    assert "hush" not in str(caught.value)


def test_a_job_runs_what_is_in_the_repository(place: LocalPlace, repository: Repository) -> None:
    submission = asked(repository, "sh", "-c", "cat word; git rev-parse HEAD")
    repository.commit("three")
    repository.push()
    job = place.cluster.launch(submission).job
    assert ended(place, job.name) == f"{repository.second}\n".encode(), "the commit of the submit, whatever came since"
    code = place.cluster.job(job.name).code
    assert code is not None
    assert (code.commit, code.branch, code.dirty) == (repository.second, "main", False)
    below = place.cluster.launch(asked(repository, "cat", "x.txt", workdir="sub", ref="v1")).job
    assert ended(place, below.name) == b"deep\n"


def test_a_branch_that_was_rewritten_has_no_old_commit(place: LocalPlace, repository: Repository) -> None:
    submission = asked(repository, "true")
    gone = msgspec.structs.replace(submission, code=msgspec.structs.replace(submission.code, commit="0" * 40))
    with pytest.raises(GpuctlError) as caught:
        place.cluster.launch(gone)
    assert caught.value.code == "repository-unusable"
    assert place.cluster.jobs(JobQuery()).items == ()


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"script": "nope.sh", "command": ()}, "script-missing"),
        ({"workdir": "nowhere"}, "bad-job"),
        ({"url": "file:///nowhere/x.git"}, "repository-unreachable"),
    ],
)
def test_what_cannot_be_run_leaves_no_job(place: LocalPlace, repository: Repository, spec: dict[str, object], code: str) -> None:
    with pytest.raises(GpuctlError) as caught:
        place.cluster.launch(asked(repository, *(() if "script" in spec else ("true",)), **spec))  # type: ignore[arg-type]
    assert caught.value.code == code
    assert place.cluster.jobs(JobQuery()).items == ()


def test_a_code_volume_is_not_needed_here(place: LocalPlace) -> None:
    submission = prepare(JobSpec(command=("true",), gpus=0, code_volume="data"), cwd="/", env=os.environ, find_interpreter=None)
    submitted = place.cluster.launch(submission)
    assert "--code-volume is not needed on local: jobs of this machine run the code where it is" in submitted.notes
