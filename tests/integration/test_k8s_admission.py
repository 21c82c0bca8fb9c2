"""The admission policies on a real API server, with users of different rights: what they refuse, and all that they must let pass."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpuctl.clusters.kubernetes import names
from gpuctl.kube.errors import NotFound
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.resources import JOBS, NAMESPACES, NODES, PODS, Resource
from tests.integration.fake_nodes import FakeNodes
from tests.integration.guarded import ACCOUNT, ALICE, KUBELET, PETRA, Guarded, pod, said, until
from tests.unit.k8s_manifests.cases import CASES as RENDERED
from tests.unit.k8s_manifests.cases import rendered, templates

GPU = {"nvidia.com/gpu": "8"}
EVERYTHING = [{"operator": "Exists"}]
CLASS = {"priorityClassName": names.PREEMPTIBLE_CLASS}
STOPPABLE = {"labels": {names.PREEMPTIBLE: "true"}, **CLASS}

OWNER = "a pod tolerates gpuctl.io/owner only with the team of its namespace as the value"
LENDS = "a pod tolerates gpuctl.io/lends only with the team of its namespace as the value, or with operator Exists"
BORROWS = "has the label gpuctl.io/preemptible=true and a priority below zero"
CLOSING = "no pod tolerates gpuctl.io/window-closing"
KEYLESS = "a toleration without a key matches every taint"
BY_HAND = "leaves spec.nodeName to the scheduler"
LABEL = "the label gpuctl.io/team of a pod is that of its namespace"


def owner(value: str | None = None, **more: str) -> dict[str, Any]:
    return _toleration(names.OWNER_TAINT, value, more)


def lends(value: str | None = None, **more: str) -> dict[str, Any]:
    return _toleration(names.LENDS_TAINT, value, more)


def _toleration(key: str, value: str | None, more: dict[str, str]) -> dict[str, Any]:
    found = {"key": key, **({"operator": "Exists"} if value is None else {"operator": "Equal", "value": value}), **more}
    return {"tolerations": [{name: each for name, each in found.items() if each}]}


CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "plain": ("free", {}, ""),
    "gpus": ("free", {"gpus": GPU}, ""),
    "own owner": ("team-a", {"gpus": GPU, **owner("team-a", effect="NoSchedule")}, ""),
    "own owner, operator left out": ("team-a", {"gpus": GPU, **owner("team-a", operator="")}, ""),
    "own owner without gpus": ("team-a", owner("team-a"), ""),
    "foreign owner": ("team-a", {"gpus": GPU, **owner("team-b")}, f"{OWNER}; the team of namespace team-a is team-a"),
    "foreign owner without gpus": ("team-a", owner("team-b"), OWNER),
    "owner of no team": ("free", owner("team-a"), f"{OWNER}; namespace free has no label gpuctl.io/team"),
    "any owner": ("team-a", {"gpus": GPU, **owner()}, OWNER),
    "any owner without gpus": ("team-a", owner(), OWNER),
    "any owner, NoExecute": ("team-a", owner(effect="NoExecute"), OWNER),
    "own lent": ("team-a", {"gpus": GPU, **lends("team-a")}, ""),
    "foreign lent": ("team-a", {"gpus": GPU, **STOPPABLE, **lends("team-b")}, LENDS),
    "any lent": ("team-b", {"gpus": GPU, **STOPPABLE, **lends()}, ""),
    "any lent of no team": ("free", {"gpus": GPU, **STOPPABLE, **lends()}, ""),
    "any lent, not stoppable": ("team-b", {"gpus": GPU, **lends()}, BORROWS),
    "any lent, only a label": ("team-b", {"gpus": GPU, "labels": STOPPABLE["labels"], **lends()}, BORROWS),
    "any lent, only a priority": ("team-b", {"gpus": GPU, **CLASS, **lends()}, BORROWS),
    "closing": ("team-a", {"tolerations": [{"key": names.CLOSING_TAINT, "operator": "Exists"}]}, CLOSING),
    "closing of the team": ("team-a", {"gpus": GPU, "tolerations": [{"key": names.CLOSING_TAINT, "value": "team-a"}]}, CLOSING),
    "every taint": ("free", {"tolerations": EVERYTHING}, ""),
    "every taint with gpus": ("free", {"gpus": GPU, "tolerations": EVERYTHING}, KEYLESS),
    "every taint with amd": ("free", {"gpus": {"amd.com/gpu": "1"}, "tolerations": EVERYTHING}, KEYLESS),
    "every taint with mig": ("free", {"gpus": {"nvidia.com/mig-1g.5gb": "1"}, "tolerations": EVERYTHING}, KEYLESS),
    "every taint with other devices": ("free", {"gpus": {"rdma/hca": "1"}, "tolerations": EVERYTHING}, ""),
    "every taint with no gpus": ("free", {"gpus": {"nvidia.com/gpu": "0"}, "tolerations": EVERYTHING}, ""),
    "every taint with gpus of an init container": (
        "free",
        {"initContainers": [{"name": "first", "image": "none", "resources": {"limits": GPU}}], "tolerations": EVERYTHING},
        KEYLESS,
    ),
    "every taint with a claim": (
        "free",
        {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}], "tolerations": EVERYTHING},
        KEYLESS,
    ),
    "every NoSchedule taint with gpus": ("free", {"gpus": GPU, "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]}, KEYLESS),
    "every NoExecute taint with gpus": ("free", {"gpus": GPU, "tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}, ""),
    "by hand": ("free", {"nodeName": "n1"}, ""),
    "by hand with gpus": ("free", {"gpus": GPU, "nodeName": "n1"}, BY_HAND),
    "own label": ("team-a", {"labels": {names.TEAM: "team-a"}}, ""),
    "foreign label": ("team-a", {"labels": {names.TEAM: "team-b"}}, f"{LABEL}; the team of namespace team-a is team-a"),
    "label of no team": ("free", {"labels": {names.TEAM: "team-a"}}, f"{LABEL}; namespace free has no label"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_new_pod(guarded: Guarded, case: str) -> None:
    namespace, spec, refusal = CASES[case]
    for user in (ALICE, PETRA):  # whoever plans schedules does not stand above them
        found = said(lambda user=user: guarded.api(user).create(PODS.path(namespace), pod(**spec), Pod, dry_run=True))
        assert (refusal in found) if refusal else found == "", user


@pytest.mark.parametrize("namespace", ["agents", "kube-system"])
def test_exempt_namespaces(guarded: Guarded, namespace: str) -> None:
    for _, spec, _ in CASES.values():
        assert said(lambda spec=spec: guarded.api(ALICE).create(PODS.path(namespace), pod(**spec), Pod, dry_run=True)) == ""


@pytest.fixture(scope="module")
def classes(guarded: Guarded) -> None:
    """The priority classes that the cases of rendered jobs name."""
    for name, value in (("normal", "0"), ("urgent", "100")):
        guarded.plane.kubectl("create", "priorityclass", name, f"--value={value}", ok=False)


@pytest.mark.parametrize("case", RENDERED)
def test_pods_of_every_job_of_a_team_pass(guarded: Guarded, classes: None, case: str) -> None:
    spec, engine, changes = RENDERED[case]
    for template in templates(rendered(spec, engine, **changes)[-1]):
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": "probe"}, "spec": template["spec"]}
        assert said(lambda body=body: guarded.api(ALICE).create(PODS.path("team-a"), body, Pod, dry_run=True)) == ""
        # Elsewhere the same pod is an impostor.
        assert OWNER in said(lambda body=body: guarded.api(ALICE).create(PODS.path("team-b"), body, Pod, dry_run=True))


@pytest.fixture
def made(guarded: Guarded) -> Iterator[Callable[..., str]]:
    """Makes a real pod: ``made("team-a", gpus=...)`` is its path. It waits for ever: no node has room for it."""
    paths = []

    def make(namespace: str, **spec: Any) -> str:
        body = pod(nodeSelector={"nowhere": "1"}, **spec)
        body["metadata"]["name"] = f"made-{len(paths)}"
        guarded.api(ALICE).create(PODS.path(namespace), body, Pod)
        paths.append(PODS.path(namespace, body["metadata"]["name"]))
        return paths[-1]

    yield make
    for path in paths:
        try:
            guarded.admin.patch(path, {"metadata": {"finalizers": None}}, Pod)
            guarded.admin.delete(path, grace_s=0)
        except NotFound:
            pass


def test_a_pod_gains_nothing_later(guarded: Guarded, made: Callable[..., str]) -> None:
    api = guarded.api(ALICE)
    path = made("team-b", gpus=GPU)
    default = api.get(path, dict[str, Any])["spec"]["tolerations"]

    def adding(found: dict[str, Any]) -> str:
        return said(lambda: api.patch(path, {"spec": {"tolerations": [*default, *found["tolerations"]]}}, Pod))

    assert OWNER in adding(owner("team-a"))
    assert CLOSING in adding({"tolerations": [{"key": names.CLOSING_TAINT, "operator": "Exists"}]})
    assert KEYLESS in adding({"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]})
    assert BORROWS in adding(lends())
    assert LABEL in said(lambda: api.patch(path, {"metadata": {"labels": {names.TEAM: "team-a"}}}, Pod))
    assert said(lambda: api.patch(path, {"metadata": {"labels": {"mine": "1", names.TEAM: "team-b"}}}, Pod)) == ""
    assert adding(owner("team-b")) == ""


def test_a_borrower_stays_one_that_may_be_stopped(guarded: Guarded, made: Callable[..., str]) -> None:
    api = guarded.api(ALICE)
    path = made("team-b", gpus=GPU, **STOPPABLE, **lends())
    assert BORROWS in said(lambda: api.patch(path, {"metadata": {"labels": {names.PREEMPTIBLE: None}}}, Pod))
    assert said(lambda: api.patch(path, {"metadata": {"annotations": {"a": "b"}}}, Pod)) == ""


def test_pods_from_before_the_policies_are_not_stuck(guarded: Guarded, made: Callable[..., str]) -> None:
    strange = {"labels": {names.TEAM: "team-b"}, "tolerations": [*EVERYTHING, *owner()["tolerations"], *lends()["tolerations"]]}
    path = made("agents", gpus=GPU, **strange)
    guarded.admin.patch(NAMESPACES.path(name="agents"), {"metadata": {"labels": {names.EXEMPT: None}}}, dict[str, Any])
    try:
        until(lambda: said(lambda: guarded.api(ALICE).create(PODS.path("agents"), pod(**strange), Pod, dry_run=True)) != "")
        for change in ({"annotations": {"a": "b"}}, {"finalizers": ["example.com/keep"]}, {"finalizers": None}, {"labels": {"c": "d"}}):
            assert said(lambda change=change: guarded.api(ALICE).patch(path, {"metadata": change}, Pod)) == ""
    finally:
        guarded.admin.patch(NAMESPACES.path(name="agents"), {"metadata": {"labels": {names.EXEMPT: "true"}}}, dict[str, Any])
        until(lambda: said(lambda: guarded.api(ALICE).create(PODS.path("agents"), pod(**strange), Pod, dry_run=True)) == "")


def test_a_kubelet_makes_its_mirror_pods(guarded: Guarded) -> None:
    mirror = pod(nodeName="n1", gpus=GPU, tolerations=[{"operator": "Exists", "effect": "NoExecute"}, {"operator": "Exists"}])
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x", "kubernetes.io/config.source": "file"}
    assert said(lambda: guarded.api(KUBELET).create(PODS.path("free"), mirror, Pod, dry_run=True)) == ""


# Namespaces.

OF_NAMESPACE = "the labels gpuctl.io/team and gpuctl.io/exempt of a namespace are set by those who may update poolschedules"


def test_namespaces(guarded: Guarded) -> None:
    alice, petra = guarded.api(ALICE), guarded.api(PETRA)

    def new(labels: dict[str, str]) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new", "labels": labels}}

    assert said(lambda: alice.create(NAMESPACES.path(), new({"mine": "1"}), dict[str, Any], dry_run=True)) == ""
    for labels in ({names.TEAM: "team-a"}, {names.EXEMPT: "true"}):
        assert OF_NAMESPACE in said(lambda labels=labels: alice.create(NAMESPACES.path(), new(labels), dict[str, Any], dry_run=True))
        assert said(lambda labels=labels: petra.create(NAMESPACES.path(), new(labels), dict[str, Any], dry_run=True)) == ""
    changes: tuple[tuple[str, dict[str, Any]], ...] = (
        ("free", {names.TEAM: "team-a"}),
        ("team-a", {names.TEAM: "team-b"}),
        ("team-a", {names.TEAM: None}),
        ("free", {names.EXEMPT: "true"}),
        ("agents", {names.EXEMPT: None}),
    )
    for namespace, labels in changes:
        for sub in (None, "status"):
            path = NAMESPACES.path(name=namespace, sub=sub)
            body = {"metadata": {"labels": labels}}
            assert OF_NAMESPACE in said(lambda path=path, body=body: alice.patch(path, body, dict[str, Any], dry_run=True))
            assert said(lambda path=path, body=body: petra.patch(path, body, dict[str, Any], dry_run=True)) == ""
    for namespace in ("free", "team-a", "agents"):
        body = {"metadata": {"labels": {"mine": "1"}}}
        path = NAMESPACES.path(name=namespace)
        assert said(lambda path=path, body=body: alice.patch(path, body, dict[str, Any], dry_run=True)) == ""


# Nodes.

OF_NODE = "labels and taints of gpuctl.io on nodes"
MARKS: tuple[dict[str, Any], ...] = (
    {"metadata": {"labels": {names.NODE_OWNER: "team-b"}}},
    {"metadata": {"labels": {names.NODE_OWNER: None}}},
    {"metadata": {"labels": {names.NODE_SCHEDULE: "other"}}},
    {"metadata": {"labels": {names.NODE_TIER: "on-demand"}}},
    {"metadata": {"annotations": {names.CLOSING_SINCE: "2026-01-01T00:00:00Z"}}},
    {"spec": {"taints": None}},
    {"spec": {"taints": [{"key": names.OWNER_TAINT, "value": "team-b", "effect": "NoSchedule"}]}},
    {"spec": {"taints": [{"key": names.LENDS_TAINT, "value": "team-a", "effect": "NoSchedule"}]}},
    {
        "spec": {
            "taints": [
                {"key": names.OWNER_TAINT, "value": "team-a", "effect": "NoSchedule"},
                {"key": names.CLOSING_TAINT, "value": "team-b", "effect": "NoSchedule"},
            ]
        }
    },
)
"""Changes of what only the platform may say about a node that is team-a's."""


@pytest.fixture
def node(guarded: Guarded) -> Iterator[str]:
    """The path of node n1, which is team-a's."""
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n1", "labels": {names.NODE_OWNER: "team-a", names.NODE_SCHEDULE: "night", names.NODE_TIER: "reserved"}},
        "spec": {"taints": [{"key": names.OWNER_TAINT, "value": "team-a", "effect": "NoSchedule"}]},
    }
    guarded.admin.create(NODES.path(), body, dict[str, Any])
    yield NODES.path(name="n1")
    guarded.admin.delete(NODES.path(name="n1"))


@pytest.mark.parametrize("change", MARKS, ids=str)
def test_marks_of_nodes_are_the_platforms(guarded: Guarded, node: str, change: dict[str, Any]) -> None:
    for user in (ALICE, KUBELET):
        assert OF_NODE in said(lambda user=user: guarded.api(user).patch(node, change, dict[str, Any], dry_run=True)), user
        if "metadata" in change:  # whoever may write the status may write labels by it
            assert OF_NODE in said(lambda user=user: guarded.api(user).patch(f"{node}/status", change, dict[str, Any], dry_run=True)), user
    for user in (PETRA, ACCOUNT):
        assert said(lambda user=user: guarded.api(user).patch(node, change, dict[str, Any], dry_run=True)) == "", user


def test_all_else_on_nodes_is_as_it_was(guarded: Guarded, node: str) -> None:
    foreign = [{"key": "maintenance", "effect": "NoSchedule"}, {"key": names.OWNER_TAINT, "value": "team-a", "effect": "NoSchedule"}]
    changes: tuple[tuple[str, dict[str, Any]], ...] = (
        (node, {"spec": {"unschedulable": True}}),
        (node, {"spec": {"taints": foreign}}),
        (node, {"metadata": {"labels": {"topology.kubernetes.io/zone": "a"}}}),
        (f"{node}/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        (f"{node}/status", {"metadata": {"labels": {"kubernetes.io/arch": "amd64"}}, "status": {"capacity": {"nvidia.com/gpu": "8"}}}),
    )
    for path, change in changes:
        for user in (ALICE, KUBELET):
            assert (
                said(lambda path=path, change=change, user=user: guarded.api(user).patch(path, change, dict[str, Any], dry_run=True)) == ""
            )


def test_a_kubelet_joins(guarded: Guarded) -> None:
    def joining(labels: dict[str, str], *taints: dict[str, str]) -> str:
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2", "labels": labels}, "spec": {"taints": list(taints)}}
        return said(lambda: guarded.api(KUBELET).create(NODES.path(), body, dict[str, Any], dry_run=True))

    assert joining({"kubernetes.io/hostname": "n2", names.NODE_TIER: "on-demand"}, {"key": "a", "effect": "NoSchedule"}) == ""
    assert OF_NODE in joining({names.NODE_OWNER: "team-a"})
    assert OF_NODE in joining({names.NODE_SCHEDULE: "night"})
    assert OF_NODE in joining({}, {"key": names.OWNER_TAINT, "value": "team-a", "effect": "NoSchedule"})


# What Kubernetes itself does goes on.

DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet")


def test_controllers_scheduler_and_evictions_go_on(guarded: Guarded) -> None:
    api = guarded.api(ALICE)
    with FakeNodes(guarded.admin, "owned", 1) as nodes:
        name = nodes.names[0]
        taint = {"key": names.OWNER_TAINT, "value": "team-a", "effect": "NoSchedule"}
        switched = {"metadata": {"labels": {names.NODE_OWNER: "team-a"}}, "spec": {"taints": [taint]}}
        guarded.api(ACCOUNT).patch(NODES.path(name=name), switched, dict[str, Any])
        agent = pod(labels={"app": "agent"}, tolerations=EVERYTHING)
        daemon = {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "agent"},
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {"metadata": agent["metadata"] | {"name": ""}, "spec": agent["spec"]},
            },
        }
        api.create(DAEMON_SETS.path("free"), daemon, dict[str, Any])
        template = pod(labels={names.TEAM: "team-a", "app": "train"}, gpus=GPU, restartPolicy="Never", **owner("team-a"))
        template["metadata"]["annotations"] = {"fake/run-seconds": "-1"}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "train"},
            "spec": {"backoffLimit": 0, "template": {"metadata": template["metadata"], "spec": template["spec"]}},
        }
        api.create(JOBS.path("team-a"), job, dict[str, Any])

        def running(namespace: str, app: str) -> list[Pod]:
            found = guarded.admin.list(PODS.path(namespace), Pod, params={"labelSelector": f"app={app}"})
            return [each for each in found if each.status.phase == "Running" and each.spec.node_name == name]

        try:
            until(lambda: bool(running("free", "agent") and running("team-a", "train")))
            victim = running("team-a", "train")[0].metadata
            account = guarded.api(ACCOUNT)
            account.patch(PODS.path("team-a", victim.name), {"metadata": {"annotations": {names.WINDOW_CUT: "now"}}}, Pod)
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": victim.name, "namespace": "team-a"}}
            account.create(PODS.path("team-a", victim.name, "eviction"), eviction, dict[str, Any])
            # The Job controller's finalizer goes by an update of the pod.
            until(lambda: not any(each.metadata.uid == victim.uid for each in guarded.admin.list(PODS.path("team-a"), Pod)))
        finally:
            guarded.admin.delete(DAEMON_SETS.path("free", "agent"))
            guarded.admin.delete(JOBS.path("team-a", "train"))


def test_the_owner_of_lent_nodes_gets_them_back_from_the_scheduler_itself(guarded: Guarded) -> None:
    with FakeNodes(guarded.admin, "lent", 1) as nodes:
        taint = {"key": names.LENDS_TAINT, "value": "team-a", "effect": "NoSchedule"}
        guarded.api(ACCOUNT).patch(NODES.path(name=nodes.names[0]), {"spec": {"taints": [taint]}}, dict[str, Any])

        def start(namespace: str, **spec: Any) -> str:
            body = pod(gpus=GPU, nodeSelector={"kubernetes.io/hostname": nodes.names[0]}, **spec)
            body["metadata"]["annotations"] = {"fake/run-seconds": "-1"}
            guarded.api(ALICE).create(PODS.path(namespace), body, Pod)
            return PODS.path(namespace, "probe")

        def runs(path: str) -> bool:
            return guarded.admin.get(path, Pod).status.phase == "Running"

        borrower = start("team-b", **STOPPABLE, **lends())
        until(lambda: runs(borrower))
        owning = start("team-a", **lends("team-a"))
        until(lambda: runs(owning))
        assert not [each for each in guarded.admin.list(PODS.path("team-b"), Pod) if not each.ended]
        guarded.admin.delete(owning, grace_s=0)
