"""The pod that opens a volume: made, awaited, removed however it ends."""

import functools
import json
from typing import Any

import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.clusters.kubernetes.streams import volumepod
from gpuctl.kube.errors import Forbidden
from tests.unit.kube.server import Request, api_of, serving, status

built = functools.partial(volumepod.spec, namespace="team-a", claim="data", image="python:3.12", labels={"gpuctl.io/volume": "data"})


class Pods:
    """Answers for one pod that becomes what ``statuses`` say, one after the other."""

    def __init__(self, *statuses: dict[str, Any]) -> None:
        self.statuses = list(statuses)
        self.made: dict[str, Any] = {}
        self.deleted: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> None:
        if request.method == "POST":
            self.made = json.loads(request.body)
            request.answer(201, {**self.made, "metadata": {**self.made["metadata"], "uid": "u-1"}})
        elif request.method == "DELETE":
            self.deleted.append(json.loads(request.body))
            request.answer(200, {})
        else:
            now = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            request.answer(200, {"metadata": self.made["metadata"], "status": now})


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumepod, "_POLL_S", 0.005)


def test_it_mounts_the_claim_and_goes() -> None:
    pods = Pods({"phase": "Pending"}, {"phase": "Running"})
    with serving(pods) as server, api_of(server) as api:
        with volumepod.mounted(api, built, volume="data"):
            assert not pods.deleted
        assert pods.deleted[0]["preconditions"] == {"uid": "u-1"}
        with pytest.raises(KeyError), volumepod.mounted(api, built, volume="data"):
            raise KeyError
        assert len(pods.deleted) == 2
    spec = pods.made["spec"]
    assert spec["volumes"] == [{"name": "volume", "persistentVolumeClaim": {"claimName": "data", "readOnly": False}}]
    assert spec["containers"][0]["volumeMounts"][0]["mountPath"] == volumepod.ROOT
    assert pods.made["metadata"]["labels"] == {"gpuctl.io/volume": "data"}


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "unbound PersistentVolumeClaims"}]},
            "unbound PersistentVolumeClaims",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"name": "files", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}],
            },
            "ImagePullBackOff: no such image",
        ),
        ({"phase": "Pending"}, "it is pending"),
        ({"phase": "Failed", "message": "Pod was rejected: not enough memory"}, "Pod was rejected: not enough memory"),
    ],
)
def test_one_that_does_not_start_says_why_and_is_removed(state: dict[str, Any], cause: str) -> None:
    pods = Pods(state)
    with serving(pods) as server, api_of(server) as api:
        with pytest.raises(UnavailableError) as caught, volumepod.mounted(api, built, volume="data", within=0.05):
            pytest.fail("it is not mounted")
        assert (caught.value.code, caught.value.cause) == ("volume-not-mounted", cause)
        assert len(pods.deleted) == 1


def test_one_that_may_not_be_made() -> None:
    words = 'pods is forbidden: User "alice" cannot create resource "pods" in API group "" in the namespace "team-a"'
    with (
        serving(lambda request: request.answer(403, status(403, "Forbidden", words))) as server,
        api_of(server) as api,
        pytest.raises(Forbidden),
        volumepod.mounted(api, built, volume="data"),
    ):
        pytest.fail("it was not made")


def test_where_it_has_to_run() -> None:
    document = built("x", node="node-7", read_only=True, pull_secret="regcred", service_account="files")
    assert document["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "node-7"}
    assert document["spec"]["imagePullSecrets"] == [{"name": "regcred"}]
    assert document["spec"]["serviceAccountName"] == "files"
    assert document["spec"]["volumes"][0]["persistentVolumeClaim"]["readOnly"] is True
