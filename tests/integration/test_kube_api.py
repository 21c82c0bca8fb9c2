"""The Api against a real API server."""

from typing import Any

import pytest

from gpuctl.base.exitcodes import ExitCode
from gpuctl.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from gpuctl.kube.objects.core import ConfigMap
from gpuctl.kube.resources import CONFIG_MAPS, JOB_SETS, JOBS, PODS
from tests.integration.control_plane import ControlPlane


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.mark.parametrize("user", ["", "-cert"])
def test_the_version_is_read_with_a_token_and_with_a_certificate(alpha: ControlPlane, user: str) -> None:
    api = alpha.api(f"alpha{user}")
    assert api.version().git_version.startswith("v1.")
    assert abs(api.clock_skew()) < 5


def test_an_object_lives_and_dies(alpha: ControlPlane) -> None:
    api = alpha.api()
    where = CONFIG_MAPS.path("default")
    made = api.create(where, config_map("lives", a="1"), ConfigMap)
    with pytest.raises(AlreadyExists) as taken:
        api.create(where, config_map("lives"), ConfigMap)
    assert taken.value.exit_code == ExitCode.CONFLICT
    it = CONFIG_MAPS.path("default", "lives")
    assert api.patch(it, {"data": {"b": "2"}}, ConfigMap).data == {"a": "1", "b": "2"}
    stale = config_map("lives", a="3") | {"metadata": {"name": "lives", "resourceVersion": made.metadata.resource_version}}
    with pytest.raises(Conflict):
        api.replace(it, stale, ConfigMap)
    applied = config_map("lives", c="4")
    assert api.patch(it, applied, ConfigMap, kind="apply", force=True, dry_run=True).data == {"a": "1", "b": "2", "c": "4"}
    assert api.get(it, ConfigMap).data == {"a": "1", "b": "2"}
    with pytest.raises(Conflict):
        api.delete(it, uid="00000000-0000-0000-0000-000000000000")
    api.delete(it, uid=made.metadata.uid)
    with pytest.raises(NotFound) as gone:
        api.get(it, ConfigMap)
    assert not gone.value.kind_missing


def test_lists_come_in_pages_and_whole(alpha: ControlPlane) -> None:
    api = alpha.api(namespace=alpha.namespace("pages"))
    where = CONFIG_MAPS.path("pages")
    for index in range(12):
        api.create(where, config_map(f"page-{index:02}") | {"metadata": {"name": f"page-{index:02}", "labels": {"x": "y"}}}, ConfigMap)
    pages = list(api.pages(where, ConfigMap, params={"labelSelector": "x=y"}, limit=5))
    assert [len(page.items) for page in pages] == [5, 5, 2]
    assert [page.first for page in pages] == [True, False, False]
    listing = api.list(where, ConfigMap, params={"labelSelector": "x=y"}, limit=5)
    assert [each.metadata.name for each in listing] == [f"page-{index:02}" for index in range(12)]
    assert listing.resource_version == pages[0].resource_version != ""
    api.delete(where, params={"labelSelector": "x=y"})
    assert len(api.list(where, ConfigMap, params={"labelSelector": "x=y"})) == 0


def test_a_refusal_names_the_rule_that_would_allow_it(alpha: ControlPlane) -> None:
    alice = alpha.api("alpha-alice")
    with pytest.raises(Forbidden) as refused:
        alice.list(JOBS.path("default"), ConfigMap)
    assert refused.value.exit_code == ExitCode.NOT_ALLOWED
    assert refused.value.rule == '- {apiGroups: ["batch"], resources: ["jobs"], verbs: ["list"]}'
    assert "alice may not list jobs in namespace default" in refused.value.message
    assert refused.value.hint
    assert "kubectl create role gpuctl-list --verb=list --resource=jobs.batch -n default" in refused.value.hint
    with pytest.raises(Forbidden) as log:
        alice.text(PODS.path("default", "x", "log"))
    assert log.value.rule == '- {apiGroups: [""], resources: ["pods/log"], verbs: ["get"]}'
    assert not alice.can_i("list", PODS, namespace="default").allowed
    assert alpha.api().can_i("list", PODS).allowed


def test_the_hint_of_a_refusal_works(alpha: ControlPlane) -> None:
    alpha.namespace("hinted")
    alice = alpha.api("alpha-alice")
    with pytest.raises(Forbidden) as refused:
        alice.list(JOBS.path("hinted"), ConfigMap)
    assert refused.value.hint
    command = refused.value.hint.split("kubectl ", 1)[1].split()
    alpha.kubectl(*command)
    alpha.kubectl("create", "rolebinding", "hinted", "--role=gpuctl-list", "--user=alice", "-n", "hinted")
    for _ in range(50):
        if alice.can_i("list", JOBS, namespace="hinted").allowed:
            break
    assert len(alice.list(JOBS.path("hinted"), ConfigMap)) == 0


def test_every_cause_of_an_invalid_object_is_told(alpha: ControlPlane) -> None:
    api = alpha.api()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "UPPER", "image": "i", "resources": {"limits": {"cpu": "-1"}}}], "restartPolicy": "Sometimes"},
    }
    with pytest.raises(Invalid) as refused:
        api.create(PODS.path("default"), pod, ConfigMap, dry_run=True)
    fields = {field for field, _ in refused.value.causes}
    assert {"spec.containers[0].name", "spec.containers[0].resources.limits[cpu]", "spec.restartPolicy"} <= fields
    assert all(field in (refused.value.cause or "") for field in fields)


def test_missing_kinds_and_missing_namespaces_are_told_apart(alpha: ControlPlane) -> None:
    api = alpha.api()
    with pytest.raises(NotFound) as kind:
        api.list("/apis/nowhere.example/v1/namespaces/default/things", ConfigMap)
    assert kind.value.kind_missing
    with pytest.raises(NotFound) as namespace:
        api.create(CONFIG_MAPS.path("nowhere"), config_map("x"), ConfigMap)
    assert namespace.value.code == "no-such-namespace"


def test_discovery_knows_kinds_and_is_kept(alpha: ControlPlane) -> None:
    api = alpha.api()
    found = api.discovery(fresh=True)
    assert found.has(PODS)
    assert found.has(JOBS)
    assert not found.has(JOBS.at("v9"))
    assert found.find("batch", "jobs", versions=["v9", "v1"]) == JOBS
    assert found.of_kind("batch/v1", "Job") == JOBS
    pods = next(each for each in found.offered if each.plural == "pods" and not each.group)
    assert {"exec", "log", "eviction"} <= set(pods.subresources)
    assert pods.namespaced
    lines: list[str] = []
    api._transport._trace = lines.append
    assert api.discovery() == found
    assert lines == []


def test_kinds_of_the_engines_are_found(alpha: ControlPlane) -> None:
    alpha.install_crds()
    api = alpha.api()
    assert api.discovery(fresh=True).has(JOB_SETS)
