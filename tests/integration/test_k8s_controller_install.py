"""The manifests of the window controller on a real API server: taken as they are, within the strictest pod standard, no right too many."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpuctl.clusters.kubernetes.rbac import Need
from gpuctl.controllers.manifests import rights
from gpuctl.controllers.manifests.installation import objects
from gpuctl.kube.resources import NAMESPACES, NODES, PODS, PRIORITY_CLASSES, SECRETS, Resource
from tests.integration.fake_nodes import FakeNodes
from tests.integration.guarded import ACCOUNT, WANTED, Guarded, said, until

REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)


def plural(kind: str) -> str:
    return {"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "PriorityClass": "priorityclasses"}.get(kind, f"{kind.lower()}s")


@pytest.mark.parametrize("body", objects(WANTED), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_a_real_api_server_takes_every_object(guarded: Guarded, body: dict[str, Any]) -> None:
    group, _, version = body["apiVersion"].rpartition("/")
    where = Resource(group, version, plural(body["kind"]), body["kind"], namespaced="namespace" in body["metadata"])
    path = where.path(body["metadata"].get("namespace"), body["metadata"]["name"])
    changed = guarded.admin.patch(path, body, dict[str, Any], kind="apply", force=True, dry_run=True, params={"fieldValidation": "Strict"})
    assert changed["metadata"]["name"] == body["metadata"]["name"]


def test_policies_are_sound_to_the_type_checker(guarded: Guarded) -> None:
    policies = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False)
    found = guarded.admin.list(policies.path(), dict[str, Any])
    warnings = {each["metadata"]["name"]: each.get("status", {}).get("typeChecking", {}).get("expressionWarnings") for each in found}
    assert warnings == {"gpuctl-pods": None, "gpuctl-namespaces": None, "gpuctl-nodes": None}


def test_the_pod_keeps_to_the_strictest_standard(guarded: Guarded) -> None:
    deployment = next(each for each in objects(WANTED) if each["kind"] == "Deployment")
    pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(deployment["spec"]["template"])}
    pod["metadata"]["name"] = "probe"
    strict = {"metadata": {"name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    guarded.admin.create(NAMESPACES.path(), {"apiVersion": "v1", "kind": "Namespace", **strict}, dict[str, Any])
    try:
        assert said(lambda: guarded.admin.create(PODS.path("strict"), pod, dict[str, Any], dry_run=True)) == ""
        del pod["spec"]["containers"][0]["securityContext"]["capabilities"]
        assert "restricted" in said(lambda: guarded.admin.create(PODS.path("strict"), pod, dict[str, Any], dry_run=True))
    finally:
        guarded.admin.delete(NAMESPACES.path(name="strict"))


def allowed(guarded: Guarded, verb: str, resource: Resource, sub: str = "", namespace: str | None = "team-a") -> bool:
    asked = {"verb": verb, "group": resource.group, "resource": resource.plural, "subresource": sub}
    if resource.namespaced and namespace is not None:
        asked["namespace"] = namespace
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
    answer = guarded.api(ACCOUNT).create(REVIEWS.path(), body, dict[str, Any])
    return bool(answer["status"]["allowed"])


def test_the_account_may_do_what_it_needs(guarded: Guarded) -> None:
    for need in rights.IN_CLUSTER:
        assert [verb for verb in need.verbs if not allowed(guarded, verb, need.resource, need.sub)] == [], need
    for need in rights.IN_OWN_NAMESPACE:
        assert all(allowed(guarded, verb, need.resource, namespace="gpuctl-system") for verb in need.verbs)


@pytest.mark.parametrize(
    "need",
    [
        Need(("get", "list", "create"), SECRETS),
        Need(("create", "update"), PODS),
        Need(("delete", "update", "create"), NODES),
        Need(("create", "update", "patch", "delete"), rights.POOL_SCHEDULES),
        Need(("update",), rights.POOL_SCHEDULES, "status"),
        Need(("patch", "update"), NAMESPACES),
        *rights.IN_OWN_NAMESPACE,
    ],
    ids=lambda need: f"{need.resource.plural}/{need.sub}",
)
def test_and_no_more(guarded: Guarded, need: Need) -> None:
    assert [verb for verb in need.verbs if allowed(guarded, verb, need.resource, need.sub)] == []


def test_the_controller_works_with_these_rights_under_these_policies(guarded: Guarded) -> None:
    schedule = {
        "apiVersion": "gpuctl.io/v1alpha1",
        "kind": "PoolSchedule",
        "metadata": {"name": "always"},
        "spec": {"pool": {}, "timeZone": "UTC", "defaultOwner": "team-a", "windows": []},
    }
    once = ["controller", "windows", "--kubeconfig", str(guarded.kubeconfig), "--context", ACCOUNT, "--once", "--listen", "none"]

    def look() -> None:
        done = subprocess.run([sys.executable, "-m", "gpuctl", *once], capture_output=True, text=True, timeout=60)
        assert (done.returncode, "orbidden" in done.stdout + done.stderr) == (0, False), done.stderr

    def owner(name: str) -> str | None:
        labels: dict[str, str] = guarded.admin.get(NODES.path(name=name), dict[str, Any])["metadata"]["labels"]
        return labels.get("gpuctl.io/owner-team")

    def switched(name: str, to: str | None) -> bool:
        look()
        return owner(name) == to

    with FakeNodes(guarded.admin, "switched", 1) as nodes:
        name = nodes.names[0]
        guarded.admin.create(rights.POOL_SCHEDULES.path(), schedule, dict[str, Any])
        try:
            until(lambda: switched(name, "team-a"))
            found = guarded.admin.get(rights.POOL_SCHEDULES.path(name="always"), dict[str, Any])["status"]
            assert (found["owner"], found["nodes"], found["conditions"][0]["status"]) == ("team-a", 1, "True")
        finally:
            guarded.admin.delete(rights.POOL_SCHEDULES.path(name="always"))
        until(lambda: switched(name, None))
        assert not guarded.admin.get(NODES.path(name=name), dict[str, Any])["spec"].get("taints")


def test_the_priority_class_is_below_everybody(guarded: Guarded) -> None:
    found = guarded.admin.get(PRIORITY_CLASSES.path(name="gpuctl-preemptible"), dict[str, Any])
    assert (found["value"], found["preemptionPolicy"]) == (-1000, "Never")


def test_kustomize_takes_them(tmp_path: Path, guarded: Guarded) -> None:
    (tmp_path / "windows.yaml").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(WANTED)}), "utf-8")
    kustomization = {
        "resources": ["windows.yaml"],
        "namespace": "elsewhere",
        "images": [{"name": "registry.example/gpuctl", "newName": "mirror.example/gpuctl", "newTag": "2.0"}],
        "replicas": [{"name": rights.CONTROLLER, "count": 3}],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization), "utf-8")
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "image: mirror.example/gpuctl:2.0" in done.stdout
    assert "namespace: gpuctl-system" not in done.stdout
    assert done.stdout.count("\n---\n") == len(objects(WANTED)) - 1
