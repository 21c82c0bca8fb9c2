"""Code that comes by a volume or from a repository, unpacked and fetched by the real in-pod program, with a real git on this disk."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from gpuctl.clusters.kubernetes import code
from gpuctl.model.spec import GitSource, JobSpec
from tests.fakes.repository import Repository
from tests.unit.k8s_manifests.little_kubelet import LittleKubelet
from tests.unit.k8s_manifests.test_entry import Pod, pod, shell

__all__ = ["pod", "shell"]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_code_on_a_volume_is_verified_and_unpacked(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "code" / "deep").mkdir()
    (tmp_path / "code" / "deep" / "x.txt").write_text("by volume")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "code", check=True)
    with (tmp_path / "archive").open("w+b") as target:
        packed = code.by_volume(str(tmp_path / "code" / "deep"), target, name="llama", volume="data")
    spec = JobSpec(command=("cat", "x.txt"), code_volume="data")
    made = pod(spec, code=packed)
    there = made.directory / "code-volume" / f"{packed.archive_digest}.tar.gz"
    status, _ = made.run()
    assert (status, made.termination.read_text().partition(":")[0]) == (74, "code-missing")
    there.write_bytes(b"something else")
    status, _ = made.run()
    assert (status, made.termination.read_text().partition(":")[0]) == (74, "code-damaged")
    shutil.copy(tmp_path / "archive", there)
    assert made.run() == (0, "by volume")
    alone = pod(spec, code=packed)  # as in a TrainJob, whose pods have no init container of ours
    shutil.copy(tmp_path / "archive", alone.directory / "code-volume" / there.name)
    assert alone.run_to_the_end_of_its_first() == (0, "by volume")


def fetched(pod: Pod, repository: Repository, ref: str = "main", commit: str | None = None, **given: Any) -> LittleKubelet:
    """The pod of a job that shows which commit it has, and how many variables of the fetching it sees."""
    source = GitSource(url=given.pop("url", repository.url), ref=ref)
    workdir = given.pop("workdir", None)
    packed = code.of_repository(source, workdir=workdir, commit=commit)
    show = r"cat word 2>/dev/null || cat x.txt; env | grep -c '^GPUCTL_POD_\|^GIT_SSH_COMMAND\|^LC_ALL=C$'; true"
    spec = JobSpec(command=("sh", "-c", show), git=source, workdir=workdir, **given.pop("spec", {}))
    return pod(spec, code=packed, **given)


def test_the_commit_that_was_submitted_is_fetched(pod: Pod, repository: Repository) -> None:
    made = fetched(pod, repository, commit=repository.second)
    repository.commit("three")
    repository.push()
    assert made.run() == (0, "two\n0\n"), "another node has the same commit, however late it starts"
    assert made.termination.read_text() == f"code-commit: {repository.second}\n"


@pytest.mark.parametrize("image", [None, "lab/train:1"])
def test_the_job_may_change_what_another_image_fetched_maybe_as_root(pod: Pod, repository: Repository, image: str | None) -> None:
    made = fetched(pod, repository, spec={"image": image})
    status, log = made.run_first()
    assert (status, "code-unpacked" in log) == (0, False)
    directory = made.directory / "work" / "code"
    open_to_all = [bool(each.stat().st_mode & 0o002) for each in (directory, directory / "sub", directory / "word")]
    assert open_to_all == [image is None] * 3


@pytest.mark.parametrize(("ref", "word"), [("main", "two"), ("v1", "one")])
def test_without_a_commit_it_is_what_the_name_is_now(pod: Pod, repository: Repository, ref: str, word: str) -> None:
    made = fetched(pod, repository, ref)
    assert made.run() == (0, f"{word}\n0\n")
    assert made.termination.read_text() == f"code-commit: {repository.first if word == 'one' else repository.second}\n"


def test_a_directory_of_the_repository_is_entered(pod: Pod, repository: Repository) -> None:
    assert fetched(pod, repository, workdir="sub").run() == (0, "deep\n0\n")
    status, log = fetched(pod, repository, workdir="nowhere").run()
    assert (status, log.splitlines()[-1]) == (74, "gpuctl: there is no directory nowhere in the code")


def test_the_container_of_a_runtime_fetches_too(pod: Pod, repository: Repository) -> None:
    made = fetched(pod, repository, commit=repository.first)
    status, log = made.run_to_the_end_of_its_first()
    assert (status, log) == (0, f"gpuctl: code: {repository.url} at main is commit {repository.first}\none\n0\n")
    assert not made.termination.exists(), "its last words are the job's"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"url": "file:///nowhere/x.git"}, "cannot be fetched: '/nowhere/x.git' does not appear to be a git repository"),
        ({"ref": "nope"}, "at nope cannot be fetched: couldn't find remote ref nope"),
        ({"commit": "0" * 40}, f"holds no commit {'0' * 40} any more"),
        ({"url": "https://127.0.0.1:1/x"}, "Failed to connect to 127.0.0.1 port 1"),
    ],
)
def test_what_cannot_be_fetched_ends_the_job_with_what_git_says(
    pod: Pod, repository: Repository, given: dict[str, str], sentence: str
) -> None:
    made = fetched(pod, repository, env={"GPUCTL_POD_POLL": "0"}, **given)
    status, log = made.run()
    assert status == 74
    assert made.termination.read_text().startswith("code-unfetched: ")
    assert sentence in log
    assert "two" not in log


def test_an_image_without_git_is_told_so(pod: Pod, repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("cat", "sed", "sh", "sleep", "mkdir", "date"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    made = fetched(pod, repository, env={"PATH": str(tmp_path / "bin")})
    status, _ = made.run()
    sentence = (
        f"the image has no git to fetch {repository.url} with: use an image with git, git-image=IMAGE in the profile, or --code-volume"
    )
    assert (status, made.termination.read_text()) == (74, f"code-unfetched: {sentence}\n")


def hanging_git(directory: Path) -> dict[str, str]:
    """An image whose git says that it fetches (in ``fetching``), and never comes back."""
    (directory / "hang").mkdir()
    program = directory / "hang" / "git"
    waits = f": >{directory}/fetching; exec sleep 60"
    program.write_text(f'#!/bin/sh\ncase "$*" in *" fetch "*) {waits} ;; esac\nexec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{directory / 'hang'}:{os.environ['PATH']}"}


def test_a_repository_that_never_answers_is_given_up(pod: Pod, repository: Repository, tmp_path: Path) -> None:
    made = fetched(pod, repository, env={**hanging_git(tmp_path), "GPUCTL_POD_FETCH": "1"})
    status, _ = made.run()
    assert status == 74
    assert made.termination.read_text() == f"code-unfetched: {repository.url} at main cannot be fetched: it took longer than 1 s\n"


def test_a_fetch_ends_when_its_pod_is_told_to(pod: Pod, repository: Repository, tmp_path: Path) -> None:
    made = fetched(pod, repository, env=hanging_git(tmp_path))
    process = made.start_first()
    while not (tmp_path / "fetching").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    assert process.wait(30) == 143


def test_credentials_reach_git_alone_and_only_for_its_host(pod: Pod, repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "spy").mkdir()
    seen = tmp_path / "seen"
    spy = tmp_path / "spy" / "git"
    look = f'printf "%s\\n" "$*" "$GIT_SSH_COMMAND" >>{seen}; cat "$PWD/work/ssh-key" >>{seen} 2>/dev/null; exit 1'
    spy.write_text(f"#!/bin/sh\n{look}\n")
    spy.chmod(0o755)
    given: dict[str, Any] = {
        "env": {"PATH": f"{tmp_path / 'spy'}:{os.environ['PATH']}"},
        "spec": {"secrets": ("GIT_TOKEN", "GIT_SSH_KEY", "OTHER")},
    }
    made = fetched(pod, repository, url="https://git.example:8443/team/code", **given)
    (unpacking,) = made.template["spec"]["initContainers"]
    assert {each["name"] for each in unpacking["env"] if "valueFrom" in each} == {"GIT_TOKEN", "GIT_SSH_KEY"}
    _, log = made.run()
    text = seen.read_text()
    assert "credential.https://git.example:8443.helper=!f()" in text
    assert "IdentitiesOnly=yes" in text
    assert "value of GIT_SSH_KEY" in text
    assert "value of GIT_TOKEN" not in text + log, "a token is never an argument"
    seen.unlink()
    fetched(pod, repository, url="http://git.example/team/code", **given).run()
    assert "helper" not in seen.read_text(), "nor sent in clear"
