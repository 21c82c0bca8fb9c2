"""``submit --render``: what would be created, with nothing created and no secret shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gpuctl.base.errors import NotKeptHere
from gpuctl.clusters.kubernetes.cluster import build
from gpuctl.clusters.kubernetes.launch import without_secrets
from gpuctl.model.ask import JobQuery, Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import JobSpec
from tests.fakes.cluster import FakeCluster
from tests.fakes.kube_api import FakeApi, Server
from tests.fakes.kube_world import World
from tests.fakes.pool import fake_pool


def submission(workdir: Path) -> Submission:
    return Submission(
        spec=JobSpec(kind="command", command=("true",), secrets=("TOKEN",)),
        base_name="job",
        request_id="render-1",
        environment={},
        secrets={"TOKEN": "very-secret"},
        code=Code(workdir=str(workdir)),
    )


class Showing(FakeCluster):
    """A cluster whose jobs are documents."""

    def render(self, submission: Submission) -> Sequence[Mapping[str, Any]]:
        return ({"kind": "Job", "metadata": {"name": submission.base_name}},)


def test_the_chosen_cluster_renders(tmp_path: Path) -> None:
    assert fake_pool(Showing("a")).render(submission(tmp_path)) == ({"kind": "Job", "metadata": {"name": "job"}},)


def test_a_place_of_processes_has_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(NotKeptHere, match="there are no objects to show"):
        fake_pool(FakeCluster("a")).render(submission(tmp_path))


def test_nothing_is_created_and_no_secret_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    api = FakeApi()
    world, server = World(api, {"node-1": 8}), Server(api, tmp_path)
    cluster = build("lab", {"ctx": "fake", "kubeconfig": str(server.kubeconfig)})
    try:
        objects = cluster.render(submission(work))
        assert {each["kind"] for each in objects} >= {"Secret"}
        assert objects[-1]["kind"] in {"Job", "JobSet"}
        assert "very-secret" not in repr(objects)
        assert "dmVyeS1zZWNyZXQ" not in repr(objects)
        assert cluster.jobs(JobQuery()).items == ()
    finally:
        cluster.close()
        server.close()
        world.close()


def test_only_secrets_lose_their_values() -> None:
    config = {"kind": "ConfigMap", "data": {"a": "b"}}
    assert without_secrets(config) is config
    assert without_secrets({"kind": "Secret", "data": {"a": "bbb"}}) == {"kind": "Secret", "data": {"a": "(3 characters)"}}
