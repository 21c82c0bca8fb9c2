"""A control plane with all of ``gpuctl controller manifests`` in it, and people of different rights.

- ``alice``: edits everything in namespaces, may write namespaces and nodes, but no schedules.
- ``petra``: the same, and plans schedules.
- the kubelet of node ``n1``, and the window controller's account.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpuctl.clusters.kubernetes.names import EXEMPT, TEAM
from gpuctl.controllers.manifests.installation import Installation, objects
from gpuctl.controllers.manifests.rights import CONTROLLER
from gpuctl.kube.api import Api, open_api
from gpuctl.kube.errors import ApiFailure
from gpuctl.kube.resources import NAMESPACES, PODS
from tests.integration.control_plane import ControlPlane

WANTED = Installation(image="registry.example/gpuctl:1.0")
NAMESPACE_LABELS: dict[str, dict[str, str]] = {
    "team-a": {TEAM: "team-a"},
    "team-b": {TEAM: "team-b"},
    "free": {},
    "agents": {EXEMPT: "true"},
}
USERS: dict[str, tuple[str, ...]] = {
    "alice": ("scientists",),
    "petra": ("scientists",),
    "system:node:n1": ("system:nodes",),
    f"system:serviceaccount:gpuctl-system:{CONTROLLER}": ("system:serviceaccounts", "system:serviceaccounts:gpuctl-system"),
}
ALICE, PETRA, KUBELET, ACCOUNT = USERS


class Guarded:
    """The plane, and a door to it for each of ``USERS``."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.admin = plane.api()
        config = json.loads(plane.kubeconfig.read_text("utf-8"))
        cluster, token = config["clusters"][0]["name"], {"token": f"admin-{plane.name}"}
        config["users"] = [
            {"name": user, "user": {**token, "as": user, "as-groups": [*groups, "system:authenticated"]}} for user, groups in USERS.items()
        ]
        config["contexts"] = [{"name": user, "context": {"cluster": cluster, "user": user, "namespace": "free"}} for user in USERS]
        config["current-context"] = ALICE
        self.kubeconfig = plane.directory / "people"
        self.kubeconfig.write_text(json.dumps(config), "utf-8")
        self.kubeconfig.chmod(0o600)
        env = {**plane.env(), "KUBECONFIG": str(self.kubeconfig)}
        self._apis = {user: open_api(user, env=env) for user in USERS}

    def api(self, user: str) -> Api:
        """The door of one of ``USERS``."""
        return self._apis[user]

    def close(self) -> None:
        """Close the doors."""
        for each in self._apis.values():
            each.close()


def until(true: Callable[[], bool], *, within_s: float = 60.0) -> None:
    """Wait until it is true."""
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends, "it did not come to be"
        time.sleep(0.1)


def said(call: Callable[[], object]) -> str:
    """What the server says against a call; empty when it is let pass."""
    try:
        call()
    except ApiFailure as error:
        return f"{error.message} ({error.cause})"
    return ""


def pod(**spec: Any) -> dict[str, Any]:
    """A pod without GPUs; ``labels`` are its labels, ``gpus`` what its container asks for, the rest goes into the spec."""
    labels, gpus = spec.pop("labels", {}), spec.pop("gpus", {})
    container = {"name": "main", "image": "none", **({"resources": {"limits": gpus}} if gpus else {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


def _grant(admin: Api) -> None:
    def bind(name: str, role: str, *subjects: tuple[str, str]) -> None:
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": kind, "name": who, "apiGroup": "rbac.authorization.k8s.io"} for kind, who in subjects],
        }
        admin.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", body, dict[str, Any])

    everything = ["get", "list", "create", "update", "patch", "delete"]
    rules = [
        {"apiGroups": [""], "resources": ["namespaces", "namespaces/status", "nodes", "nodes/status"], "verbs": everything},
        {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": everything},
    ]
    body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "hands"}, "rules": rules}
    admin.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", body, dict[str, Any])
    bind("scientists-edit", "edit", ("Group", "scientists"))
    bind("hands", "hands", ("Group", "scientists"), ("Group", "system:nodes"))
    bind("petra-plans", "gpuctl-schedule-planner", ("User", PETRA))


@pytest.fixture(scope="session")
def guarded(control_planes: Callable[[str], ControlPlane]) -> Iterator[Guarded]:
    """The plane, once the policies are in force."""
    plane = control_planes("guarded")
    path = plane.directory / "manifests.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(WANTED)}), "utf-8")
    plane.kubectl("apply", "--server-side", "-f", str(path))
    found = Guarded(plane)
    for name, labels in NAMESPACE_LABELS.items():
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        found.admin.create(NAMESPACES.path(), body, dict[str, Any])
    _grant(found.admin)
    refused = pod(tolerations=[{"key": "gpuctl.io/window-closing", "operator": "Exists"}])
    until(lambda: said(lambda: found.admin.create(PODS.path("free"), refused, dict[str, Any], dry_run=True)) != "")
    yield found
    found.close()
