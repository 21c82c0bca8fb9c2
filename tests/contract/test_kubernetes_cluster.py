"""A kubeconfig context keeps a cluster's promises: over an API server in memory whose pods are processes of this machine."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import JobSpec
from tests.contract.cluster_contract import ClusterContract
from tests.fakes.kube_api import FakeApi, Server
from tests.fakes.kube_world import World


class FakeContext:
    """One context over a server of its own."""

    def __init__(self, directory: Path) -> None:
        self.api = FakeApi()
        self.world = World(self.api, {"node-1": 8, "node-2": 8})
        self.server = Server(self.api, directory)
        self.workdir = directory / "work"
        self.workdir.mkdir()
        self.others: list[KubernetesCluster] = []
        self.cluster = self.again()

    def submission(self, *command: str, **spec: Any) -> Submission:
        return Submission(
            spec=JobSpec(kind="command", command=command, **spec),
            base_name="job",
            request_id=secrets.token_hex(8),
            environment={},
            code=Code(workdir=str(self.workdir)),
        )

    def again(self) -> KubernetesCluster:
        self.others.append(build("lab", {"ctx": "fake", "kubeconfig": str(self.server.kubeconfig)}))
        return self.others[-1]

    def too_large(self) -> dict[str, Any]:
        return {"nodes": 3, "gpus": 8}

    def close(self) -> None:
        for cluster in self.others:
            cluster.close()
        self.server.close()
        self.world.close()


class TestKubernetesCluster(ClusterContract):
    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeContext]:
        for name in ("STATE", "CONFIG", "CACHE", "DATA"):
            monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
        made = FakeContext(tmp_path)
        yield made
        made.close()
