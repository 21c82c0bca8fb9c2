"""``gpuctl rerun``: the job of then with what is changed now."""

from pathlib import Path
from typing import Any

import pytest

from gpuctl.model.job import Attempt, Code, State
from gpuctl.model.spec import ArraySpec, GitSource, JobSpec, VolumeMount
from tests.cli.quick import QuickCluster
from tests.cli.recorder import make_job
from tests.fakes.pool import fake_pool
from tests.fakes.repository import Repository

COMMAND = JobSpec(kind="command", command=("prog", "-x"), time="6h", env={"A": "1"}, volumes=(VolumeMount(name="data", path="/d"),))


@pytest.fixture
def cluster() -> QuickCluster:
    """A cluster with room for anything."""
    return QuickCluster()


def again(run: Any, cluster: QuickCluster, *words: str, env: dict[str, str] | None = None) -> Any:
    """Run ``gpuctl rerun WORDS``; the submission it made."""
    before = set(cluster.submissions)
    outcome = run(fake_pool(cluster), "rerun", *words, env=env)
    assert outcome.code == 0, outcome.err
    (fresh,) = set(cluster.submissions) - before
    assert outcome.out == f"job/{cluster.jobs_by_id[fresh].name}\n"
    return cluster.submissions[fresh]


def known(cluster: QuickCluster, tmp_path: Path, spec: JobSpec = COMMAND, **fields: Any) -> None:
    """A job of then, in the working directory of the test."""
    job = make_job(
        "llama-k3f9", **{"state": State.SUCCEEDED, "spec": spec, "labels": {"team": "a"}, "code": Code(workdir=str(tmp_path)), **fields}
    )
    cluster.jobs_by_id[job.id] = job


def test_as_it_was(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    known(cluster, tmp_path)
    submission = again(run, cluster, "llama", env={"GPUCTL_SUBMIT_TIME": "1h"})
    assert submission.spec == JobSpec(
        kind="command", command=("prog", "-x"), time="6h", env={"A": "1"}, volumes=COMMAND.volumes, workdir=str(tmp_path)
    )
    assert (submission.base_name, submission.labels, submission.rerun_of) == ("llama", {"team": "a"}, "id-llama-k3f9")


def test_without_a_word_it_is_the_latest(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    known(cluster, tmp_path)
    assert again(run, cluster).rerun_of == "id-llama-k3f9"
    assert again(run, cluster, "-").spec.command == ("prog", "-x")


def test_flags_change_it_before_and_behind_its_name(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    known(cluster, tmp_path)
    spec = again(run, cluster, "--time", "12h", "llama", "--env", "B=2", "--set", "env.A=null", "--", "other", "--flag").spec
    assert (spec.time, spec.env, spec.command) == ("12h", {"B": "2"}, ("other", "--flag"))


def test_arguments_of_a_script(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("#GPUCTL --time 9h\ntrue\n")
    known(cluster, tmp_path, JobSpec(kind="command", script="job.sh", args=("a",)))
    spec = again(run, cluster, "llama-k3f9", "--", "b", "--", "c").spec
    assert (spec.script, spec.args, spec.command, spec.time) == ("job.sh", ("b", "--", "c"), (), None)
    assert again(run, cluster, "llama-k3f9").spec.args == ("a",)
    assert again(run, cluster, "llama-k3f9", "--").spec.args == ()


def test_a_script_that_is_gone(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    known(cluster, tmp_path, JobSpec(kind="command", script="job.sh"))
    outcome = run(fake_pool(cluster), "rerun", "llama")
    assert (outcome.code, cluster.submissions) == (2, {})
    assert "job/llama-k3f9: spec.script: there is no such file, got job.sh" in outcome.err


def test_the_code_of_then(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    known(cluster, tmp_path)
    outcome = run(fake_pool(cluster), "rerun", "llama", "--same-code")
    assert outcome.code == 3
    assert outcome.err.startswith("error[no-snapshot]: cannot run job/llama-k3f9 with its code of then: nobody kept it\n")
    (tmp_path / "kept").mkdir()
    known(cluster, tmp_path, code=Code(workdir=str(tmp_path), snapshot=str(tmp_path / "kept")))
    assert again(run, cluster, "llama", "--same-code").spec.workdir == str(tmp_path / "kept")
    assert again(run, cluster, "llama-k3f9").spec.workdir == str(tmp_path)


def test_the_repository_of_then(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    spec = JobSpec(kind="command", script="run.sh", git=GitSource(url=repository.url, ref="main"), workdir="sub")
    known(cluster, tmp_path, spec, code=Code(workdir="", commit=repository.first, branch="main"))
    fresh = again(run, cluster, "llama")
    assert (fresh.spec.git, fresh.spec.workdir, fresh.code.commit) == (spec.git, "sub", repository.second)
    same = again(run, cluster, "llama-k3f9", "--same-code")
    assert (same.spec.git, same.code.commit) == (GitSource(url=repository.url, ref=repository.first), repository.first)
    other = again(run, cluster, "llama-k3f9", "--git", f"{repository.url}@v1", "--workdir", "deep")
    assert (other.spec.git, other.spec.workdir, other.code.commit) == (GitSource(url=repository.url, ref="v1"), "deep", repository.first)
    assert again(run, cluster, "llama-k3f9", "--set", "git.ref=v1").code.commit == repository.first
    known(cluster, tmp_path, spec, code=Code(workdir="", branch="main"))
    outcome = run(fake_pool(cluster), "rerun", "llama-k3f9", "--same-code")
    assert (outcome.code, outcome.err.splitlines()[0]) == (
        3,
        "error[no-snapshot]: cannot run job/llama-k3f9 with its code of then: which commit it ran is not known",
    )


def test_a_job_of_this_directory_again_from_a_repository(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    known(cluster, tmp_path)
    fresh = again(run, cluster, "llama", "--git", f"{repository.url}@main")
    assert (fresh.spec.git, fresh.spec.workdir) == (GitSource(url=repository.url, ref="main"), None)


def test_only_what_failed_of_an_array(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    spec = JobSpec(kind="command", command=("prog",), array=ArraySpec(first=0, last=4, parallel=2, args=tuple((str(n),) for n in range(5))))
    states = [State.SUCCEEDED, State.FAILED, State.SUCCEEDED, State.SUCCEEDED, State.CUT]
    attempts = tuple(Attempt(number=1, cluster="local", state=state, task=task) for task, state in enumerate(states))
    known(cluster, tmp_path, spec, attempts=attempts, state=State.FAILED)
    array = again(run, cluster, "llama", "--failed").spec.array
    assert array == ArraySpec(first=1, last=4, parallel=2, args=(("1",), ("4",)), only=(1, 4))


@pytest.mark.parametrize(
    ("spec", "state", "code"),
    [
        (COMMAND, State.FAILED, "no-array"),
        (JobSpec(command=("x",), array=ArraySpec(last=1)), State.RUNNING, "not-ended"),
        (JobSpec(command=("x",), array=ArraySpec(last=0)), State.SUCCEEDED, "none-failed"),
    ],
)
def test_nothing_failed(run: Any, cluster: QuickCluster, tmp_path: Path, spec: JobSpec, state: State, code: str) -> None:
    attempts = (Attempt(number=1, cluster="local", state=State.SUCCEEDED, task=0),)
    known(cluster, tmp_path, spec, state=state, attempts=attempts)
    cluster.stays = state
    outcome = run(fake_pool(cluster), "rerun", "llama", "--failed")
    assert (outcome.code, cluster.submissions) == (6, {})
    assert outcome.err.startswith(f"error[{code}]: ")


def test_two_jobs_are_one_too_many(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    known(cluster, tmp_path)
    outcome = run(fake_pool(cluster), "rerun", "llama", "x", "--tim", "6h")
    assert (outcome.code, cluster.submissions) == (2, {})
    assert "x: is one job too many (allowed: arguments go behind --: rerun llama -- x)" in outcome.err
    assert "--tim: there is no such flag; did you mean --time?" in outcome.err


def test_explain_names_the_job_as_a_source(run: Any, cluster: QuickCluster, tmp_path: Path) -> None:
    known(cluster, tmp_path)
    outcome = run(fake_pool(cluster), "rerun", "llama", "--time", "1h", "--explain", "-o", "csv")
    assert "spec.time,1h,--time,job/llama-k3f9\n" in outcome.out
    assert cluster.submissions == {}
