"""One context over an API server in memory."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import JobSpec
from tests.fakes.kube_api import FakeApi, Server
from tests.fakes.kube_world import NODES, node


@pytest.fixture
def api() -> FakeApi:
    made = FakeApi()
    for number in range(4):
        made.put(NODES, node(f"node-{number}", 8, "NVIDIA-H100-80GB-HBM3"))
    return made


@pytest.fixture
def server(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("STATE", "CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    made = Server(api, tmp_path)
    yield made
    made.close()


@pytest.fixture
def cluster_of(server: Server) -> Iterator[Callable[..., KubernetesCluster]]:
    made: list[KubernetesCluster] = []

    def cluster(**options: str) -> KubernetesCluster:
        given = {key.replace("_", "-"): value for key, value in options.items()}
        made.append(build("lab", {"ctx": "fake", "kubeconfig": str(server.kubeconfig), **given}))
        return made[-1]

    yield cluster
    for each in made:
        each.close()


@pytest.fixture
def cluster(cluster_of: Callable[..., KubernetesCluster]) -> KubernetesCluster:
    return cluster_of()


@pytest.fixture
def submission(tmp_path: Path) -> Callable[..., Submission]:
    workdir = tmp_path / "work"
    workdir.mkdir()
    (workdir / "train.py").write_text("print('hello')\n")

    def make(*, name: str = "train", request: str | None = None, secret: dict[str, str] | None = None, **spec: Any) -> Submission:
        return Submission(
            spec=JobSpec(kind="command", command=("python", "train.py"), **spec),
            base_name=name,
            request_id=request or secrets.token_hex(8),
            explicit_request_id=request is not None,
            environment={},
            secrets=secret or {},
            code=Code(workdir=str(workdir)),
        )

    return make
