import doctest
import inspect
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

import gpuctl
from gpuctl.base.errors import GpuctlError, InvalidInput, NotFinishedError, TimeoutReachedError, UnavailableError, UsageError
from gpuctl.client import client as client_module
from gpuctl.client.specs import JobArguments
from gpuctl.model.job import Exit, State
from gpuctl.model.reason import Reason
from gpuctl.model.spec import ArraySpec, Checkpoint, Dependency, GitSource, JobSpec, VolumeMount
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool
from tests.fakes.repository import Repository


def python(asked: str | None, workdir: str, env: Mapping[str, str]) -> str:
    return asked or "/usr/bin/python3"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def client(cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpuctl.Client:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("print('hello')\n")
    return gpuctl.Client(fake_pool(cluster), profile="fake", find_interpreter=python)


class Text(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_submit_wait_and_read(client: gpuctl.Client, cluster: FakeCluster) -> None:
    with client:
        job = client.submit("train.py", nodes=1, gpus=2, args=["--lr", 3e-4, Path("data")])
        assert job.state == "queued"
        assert repr(job) == f"<job/{job.name} queued>"
        assert job.info.spec.kind == "pytorch"
        assert job.info.spec.args == ("--lr", "0.0003", "data")
        with pytest.raises(NotFinishedError):
            _ = job.exit
        with pytest.raises(TimeoutReachedError):
            job.wait(timeout=0.01)
        cluster.start(job.name)
        cluster.prints(job.name, 0, "hello", at=1)
        cluster.prints(job.name, 1, "world", at=2)
        assert job.refresh().state is State.RUNNING
        cluster.finish(job.name, {0: 0, 1: 3})
        assert job.wait(timeout=5).final
        assert not job.succeeded
        assert job.exit.status == 3
        assert job.logs() == "[0] hello\n[1] world\n"
        assert job.logs(ranks=[1]) == "world\n"
        assert job.logs(failed=True) == "world\n"
        assert list(job.logs(follow=True)) == ["[0] hello\n", "[1] world\n"]
        assert job.why().reason.code == "failed"
    assert cluster.closed


def test_every_argument_becomes_its_field(client: gpuctl.Client) -> None:
    prep = client.submit(command=["true"], name="prep")
    job = client.submit(
        command=["python", "-m", "x"],
        kind="command",
        per="gpu",
        nproc_per_node=2,
        name="mine",
        labels={"team": "vision"},
        env={"LR": 0.1},
        secrets={"HF": "x"},
        snapshot=True,
        time=5400,
        grace="1m",
        retries=2,
        requeue=True,
        priority=5,
        hold=True,
        array=range(0, 10, 2),
        parallel=3,
        after=[prep, "any:other"],
        cpus=4,
        memory="64Gi",
        gpu_type="H100",
        devices=[0, 1],
        cluster="local",
        tier="reserved",
        exclude=["bad"],
        volumes={"data": "/data:ro", "out": None},
        checkpoint="out:/ckpt",
    )
    assert job.info.labels == {"team": "vision"}
    assert job.info.base_name == "mine"
    assert msgspec.structs.replace(job.info.spec, workdir=None) == JobSpec(
        command=("python", "-m", "x"),
        per="gpu",
        nproc_per_node=2,
        env={"LR": "0.1"},
        secrets=("HF",),
        snapshot=True,
        time="1h30m",
        grace="1m",
        retries=2,
        requeue=True,
        priority=5,
        hold=True,
        array=ArraySpec(first=0, last=8, parallel=3, only=(0, 2, 4, 6, 8)),
        after=(Dependency(job=prep.id), Dependency(job="other", mode="any")),
        cpus="4",
        memory="64Gi",
        gpu_type="H100",
        devices=(0, 1),
        cluster="local",
        tier="reserved",
        exclude=("bad",),
        volumes=(VolumeMount(name="data", path="/data", read_only=True), VolumeMount(name="out")),
        checkpoint=Checkpoint(volume="out", dir="/ckpt"),
    )


def test_a_plan_takes_what_submit_takes_and_submits_nothing(client: gpuctl.Client, cluster: FakeCluster) -> None:
    plan = client.plan("train.py", nodes=1, gpus=2, args=["--lr", 3e-4], time="2h", name="mine", labels={"team": "vision"})
    assert [option.cluster for option in plan.options] == ["local"]
    assert plan.time_limit == 7200
    assert cluster.jobs_by_id == {}
    asked = set(inspect.signature(gpuctl.Client.submit).parameters) - {"self", "script", "wait", "timeout"}
    assert set(JobArguments.__annotations__) == asked


def test_a_plan_tells_every_wrong_argument(client: gpuctl.Client) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.plan(command=["true"], nodes=0, after="prep")
    assert [problem.field for problem in caught.value.problems] == ["after"]
    with pytest.raises(TypeError, match="'wait'"):
        client.plan("train.py", wait=True)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ("0-99%8", ArraySpec(last=99, parallel=8)),
        ("7", ArraySpec(first=7, last=7)),
        (range(3), ArraySpec(last=2)),
        (range(2, -1, -1), ArraySpec(last=2)),
    ],
)
def test_arrays(client: gpuctl.Client, array: str | range, expected: ArraySpec) -> None:
    assert client.submit(command=["true"], array=array).info.spec.array == expected


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ({"command": "python x.py"}, ["command"]),
        ({"command": ["true"], "args": "--lr 1", "parallel": 2}, ["args", "parallel"]),
        ({"command": ["true"], "array": range(0)}, ["array"]),
        ({"command": ["true"], "array": "a-b"}, ["array"]),
        ({"command": ["true"], "array": "9-0"}, ["spec.array.last"]),
        ({"command": ["true"], "nodes": "2", "kind": "slurm"}, ["spec.kind", "spec.nodes"]),
        ({"command": ["true"], "nodes": 0, "gpus": -1, "time": "5"}, ["spec.nodes", "spec.gpus", "spec.time"]),
        ({"command": ["true"], "git": "https://git.example/team/code"}, ["git"]),
        ({"command": ["true"], "git": "https://git.example/team/code@main", "snapshot": True}, ["spec.snapshot"]),
        ({}, ["spec.script"]),
    ],
)
def test_wrong_arguments_are_all_told_and_nothing_is_submitted(
    client: gpuctl.Client, cluster: FakeCluster, arguments: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.submit(**arguments)
    assert [problem.field for problem in caught.value.problems] == fields
    assert all(f"  {field}: " in str(caught.value) for field in fields), "Python shows nothing but the text"
    assert cluster.jobs_by_id == {}


def test_code_from_a_repository_or_by_a_volume(client: gpuctl.Client, tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    job = client.submit(command=["true"], git=f"{repository.url}@main", workdir="sub")
    assert (job.info.spec.git, job.info.spec.workdir) == (GitSource(url=repository.url, ref="main"), "sub")
    assert job.info.code is not None
    assert job.info.code.commit == repository.second
    assert client.submit(command=["true"], code_volume="data").info.spec.code_volume == "data"


def test_one_request_is_one_job(client: gpuctl.Client) -> None:
    first = client.submit("train.py", request_id="mine")
    assert client.submit("train.py", request_id="mine") == first
    assert len({first, client.job(first.name), client.submit("train.py")}) == 2


def test_a_task_is_asked_for_by_its_name(client: gpuctl.Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    array = client.submit("train.py", array="0-3")
    task = gpuctl.JobHandle(client.pool, msgspec.structs.replace(array.info, name=f"{array.name}_2"))
    assert task != array
    asked: list[str] = []
    monkeypatch.setattr(cluster, "explain", asked.append)
    task.why()
    array.why()
    assert asked == [f"{array.name}_2", array.id]


def test_submit_can_wait(client: gpuctl.Client) -> None:
    with pytest.raises(TimeoutReachedError):
        client.submit("train.py", wait=True, timeout=0.01)
    assert len(client.jobs()) == 1


def test_jobs_are_mine_unless_asked(client: gpuctl.Client, cluster: FakeCluster) -> None:
    mine = client.submit("train.py")
    cluster.user = "bob"
    theirs = client.submit("train.py", name="theirs")
    assert client.jobs() == [mine]
    assert client.jobs(user="bob") == [theirs]
    assert len(client.jobs(user="all")) == 2
    assert client.jobs(states=["running"]) == []
    assert client.jobs(states=[State.QUEUED], name="train*", limit=1) == [mine]
    with pytest.raises(InvalidInput):
        client.jobs(states=["done"])


def test_what_is_missing_from_a_list_is_named(cluster: FakeCluster) -> None:
    west = FakeCluster("west")
    west.trouble = UnavailableError("cannot reach west")
    jobs = gpuctl.Client(fake_pool(cluster, west)).jobs()
    assert jobs == []
    assert jobs.incomplete == {"west": "cannot reach west"}
    assert "not read: west: cannot reach west" in Text(jobs._repr_html_()).words


def test_cancel_and_update(client: gpuctl.Client) -> None:
    job = client.submit("train.py")
    assert job.update(priority=7).info.spec.priority == 7
    assert job.cancel().state is State.CANCELLED
    assert client.job().id == job.id


def test_the_inventory(client: gpuctl.Client) -> None:
    assert [row.name for row in client.clusters()] == ["local"]
    assert [node.gpus for node in client.nodes()] == [8]
    assert client.volumes() == ()


def test_a_notebook_shows_tables_and_runs_nothing(client: gpuctl.Client, cluster: FakeCluster) -> None:
    job = client.submit("train.py")
    evil = "<script>alert(1)</script>&"
    cluster.jobs_by_id[job.id] = msgspec.structs.replace(
        cluster.start(job.name), where=evil, reason=Reason(code=evil, sentence=evil), exit=Exit(signal=9)
    )
    for page in (job.refresh()._repr_html_(), client.jobs()._repr_html_()):
        shown = Text(page)
        assert "script" not in shown.tags
        assert shown.tags[0] == "table"
        assert evil in shown.words
        assert job.name in shown.words
    assert "signal 9" in Text(job._repr_html_()).words
    assert "no jobs" in Text(client.jobs(user="bob")._repr_html_()).words


def test_a_job_file(client: gpuctl.Client, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    path = tmp_path / "jobs" / "job.yaml"
    path.write_text(
        "apiVersion: gpuctl.io/v1\nkind: Job\nmetadata: {name: filed, labels: {a: b}}\nspec: {kind: command, command: [ls], workdir: .}\n"
    )
    job = client.submit_file(path)
    assert job.info.base_name == "filed"
    assert job.info.labels == {"a": "b"}
    assert job.info.spec.workdir == str(tmp_path / "jobs")
    path.write_text("apiVersion: gpuctl.io/v1\nkind: Job\nspec: {kind: command, command: [ls], gpuz: 3, time: 5x}\n")
    with pytest.raises(InvalidInput) as caught:
        client.submit_file(path)
    assert [problem.field for problem in caught.value.problems] == ["spec.gpuz", "spec.time"]
    with pytest.raises(UsageError):
        client.submit_file(tmp_path / "none.yaml")


def test_connect_uses_the_profile_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with gpuctl.connect() as made:
        assert made.profile == "local"
    monkeypatch.setenv("GPUCTL_PROFILE", "nowhere")
    with pytest.raises(GpuctlError) as caught:
        gpuctl.connect()
    assert caught.value.code == "no-such-profile"


def test_the_examples_of_the_docstrings() -> None:
    result = doctest.testmod(client_module)
    assert result.attempted > 0
    assert result.failed == 0


def test_importing_gpuctl_loads_nothing_of_it() -> None:
    code = "import sys, gpuctl; print(*(m for m in sys.modules if m.startswith('gpuctl.') or m in {'msgspec', 'asyncio', 'yaml'}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
