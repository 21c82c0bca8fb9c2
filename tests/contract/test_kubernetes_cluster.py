"""A kubeconfig context keeps a cluster's promises: over an API server in memory whose pods are processes of this machine, and over a real
control plane with nodes that play what the commands would do.
"""

import itertools
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import JobSpec
from tests.contract.cluster_contract import ClusterContract
from tests.fakes.kube_api import FakeApi, Server
from tests.fakes.kube_world import World
from tests.integration.control_plane import ControlPlane, missing
from tests.integration.fake_nodes import FakeNodes

PLAYED = {
    ("true",): {"fake/run-seconds": "0"},
    ("sleep", "0.3"): {"fake/run-seconds": "0.3"},
    ("sleep", "60"): {"fake/run-seconds": "-1"},
    ("sh", "-c", "sleep 0.3; exit 3"): {"fake/run-seconds": "0.3", "fake/exit-code": "3"},
    ("sh", "-c", "seq 1 2000; echo done >&2"): {
        "fake/run-seconds": "0",
        "fake/log": "".join(f"{number}\n" for number in range(1, 2001)) + "done\n",
    },
    ("sh", "-c", "echo one; sleep 0.5; echo two"): {"fake/run-seconds": "0.5", "fake/log": "one\ntwo\n"},
}
"""What nodes without a kubelet do for the suite's commands."""


class Context:
    """One namespace of one context."""

    def __init__(self, directory: Path, options: dict[str, str]) -> None:
        self.workdir = directory / "work"
        self.workdir.mkdir()
        self.options = options
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
        self.others.append(build("lab", self.options))
        return self.others[-1]

    def too_large(self) -> dict[str, Any]:
        return {"nodes": 3, "gpus": 8}

    def close(self) -> None:
        for cluster in self.others:
            cluster.close()


class RealContext(Context):
    def submission(self, *command: str, **spec: Any) -> Submission:
        patch = msgspec.json.encode({"metadata": {"annotations": PLAYED.get(command, {"fake/run-seconds": "0"})}}).decode()
        made = super().submission(*command, pod_patch=patch, **spec)
        # Every container of a played pod prints the same: without code there is none but the job's own.
        return msgspec.structs.replace(made, code=Code(workdir=""))


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))


class TestInMemory(ClusterContract):
    @pytest.fixture
    def place(self, tmp_path: Path, homes: None) -> Iterator[Context]:
        api = FakeApi()
        world, server = World(api, {"node-1": 8, "node-2": 8}), Server(api, tmp_path)
        made = Context(tmp_path, {"ctx": "fake", "kubeconfig": str(server.kubeconfig)})
        yield made
        made.close()
        server.close()
        world.close()


_numbers = itertools.count()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    made = ControlPlane("contract", tmp_path_factory.mktemp("plane"))
    try:
        made.up()
        with FakeNodes(made.api(), "gpu", 2):
            yield made
    finally:
        made.down()


class TestRealControlPlane(ClusterContract):
    @pytest.fixture
    def place(self, plane: ControlPlane, tmp_path: Path, homes: None) -> Iterator[Context]:
        namespace = plane.namespace(f"contract-{next(_numbers)}")
        made = RealContext(tmp_path, {"ctx": plane.name, "kubeconfig": str(plane.kubeconfig), "namespace": namespace, "engine": "job"})
        yield made
        for job in plane.api(namespace=namespace).list(f"/apis/batch/v1/namespaces/{namespace}/jobs", msgspec.Raw):  # room for the next one
            name = msgspec.json.decode(job)["metadata"]["name"]
            plane.api().delete(f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}")
        made.close()
