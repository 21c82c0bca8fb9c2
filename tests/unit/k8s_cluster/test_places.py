"""Options, nodes, quotas, volumes, doctor's lines, access rules."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from gpuctl.base.errors import ConflictError, InvalidInput, NotFoundError, NotKeptHere
from gpuctl.clusters.kubernetes import amounts, inventory, names, rbac
from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from gpuctl.model.ask import JobChange, JobQuery, Submission
from gpuctl.model.job import State
from gpuctl.port.capability import Capability
from tests.fakes.kube_api import ENGINES, FakeApi, Refusal
from tests.fakes.kube_world import NODES, node

PODS, CLAIMS, CLASSES = "/api/v1/pods", "/api/v1/persistentvolumeclaims", "/apis/storage.k8s.io/v1/storageclasses"
Make = Callable[..., Submission]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("3920m", 3.92),
        ("64Gi", 64 << 30),
        ("1e3", 1000),
        ("100u", 0.0001),
        ("1.5k", 1500),
        (7, 7),
        ("", 0),
        ("x", 0),
        ("5E", 5 * 10**18),
    ],
)
def test_quantities(text: str | int, value: float) -> None:
    assert float(amounts.number(text)) == pytest.approx(value)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"contxt": "x"}, "contxt"),
        ({"engine": "slurm"}, "engine"),
        ({"price": "H100"}, "price"),
        ({"price": "H100:cheap"}, "price"),
        ({"elastic": "H100:0"}, "elastic"),
        ({"tier": "spot"}, "tier"),
        ({"ttl": "soon"}, "ttl"),
        ({"priority-classes": "high:urgent"}, "priority-classes"),
    ],
)
def test_wrong_options_are_named(options: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        build("lab", options)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_building_talks_to_nobody() -> None:
    assert build("lab", {"ctx": "no-such-context"}).name == "lab"


def test_a_context_that_is_not_there_greys_out_its_row(cluster_of: Callable[..., KubernetesCluster]) -> None:
    cluster = cluster_of(ctx="fke")
    status = cluster.status()
    assert (status.health, "fke" in str(status.error)) == ("unreachable", True)
    with pytest.raises(NotFoundError):
        cluster.jobs(JobQuery())
    assert Capability.EXEC in cluster.capabilities


@pytest.mark.parametrize(
    ("status", "reason", "health"),
    [(401, "Unauthorized", "unauthorized"), (403, "Forbidden", "forbidden"), (500, "InternalError", "unreachable")],
)
def test_a_cluster_that_answers_and_refuses_us_is_not_called_unreachable(
    api: FakeApi, cluster: KubernetesCluster, status: int, reason: str, health: str
) -> None:
    def trouble(method: str, path: str) -> None:
        raise Refusal(status, reason, 'User "anna" cannot get path "/version"' if status == 403 else reason)

    api.trouble = trouble
    seen = cluster.status()
    assert (seen.health, seen.nodes) == (health, None)


def pod(name: str, where: str, gpus: int, *, phase: str = "Running", init: int = 0, sidecar: int = 0) -> dict[str, Any]:
    def container(count: int, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"nvidia.com/gpu": str(count), "cpu": "500m", "memory": "1Gi"}}, **more}

    inits = [container(init)] if init else []
    inits += [container(sidecar, restartPolicy="Always")] if sidecar else []
    spec = {"nodeName": where, "containers": [container(gpus)], "initContainers": inits}
    return {"metadata": {"name": name}, "spec": spec, "status": {"phase": phase}}


def test_free_is_allocatable_less_every_bound_pod_that_has_not_ended(api: FakeApi, cluster: KubernetesCluster) -> None:
    for found in (
        pod("a", "node-0", 2),
        pod("b", "node-0", 1, phase="Pending"),
        pod("c", "node-0", 4, phase="Succeeded"),
        pod("d", "node-1", 1, init=6),
        pod("e", "node-2", 1, sidecar=2),
        pod("f", "", 8, phase="Pending"),
    ):
        api.put(PODS, found, namespace="elsewhere")
    assert [each.gpus_free for each in cluster.nodes().items] == [5, 2, 5, 8]
    first = cluster.nodes().items[0]
    assert (first.cpu_millis, first.cpu_millis_free, first.memory_free) == (64000, 63000, 510 << 30)
    status = cluster.status()
    assert (status.free, status.total, status.largest_shape) == ({"H100": 20}, {"H100": 32}, "1x8")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"spec": {"unschedulable": True}}, "is closed for maintenance (cordoned)"),
        ({"spec": {"taints": [{"key": "team", "value": "vision", "effect": "NoSchedule"}]}}, "is closed by taint team=vision"),
        ({"spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}}, None),
        ({"spec": {"taints": [{"key": "noisy", "effect": "PreferNoSchedule"}]}}, None),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, "does not answer"),
        ({"status": {"conditions": [{"type": "Ready", "status": "False", "message": "PLEG"}]}}, "is not ready: PLEG"),
    ],
)
def test_why_a_node_cannot_be_used(api: FakeApi, cluster: KubernetesCluster, change: Any, why: str | None) -> None:
    made = node("odd", 8, "NVIDIA-H100-80GB-HBM3")
    for key, value in change.items():
        made[key] = {**made[key], **value}
    api.put(NODES, made)
    (odd,) = [each for each in cluster.nodes().items if each.name == "odd"]
    assert (odd.why, odd.ready) == (why, why is None)


def test_types_come_from_the_mapping_then_labels_then_the_vendor(api: FakeApi, cluster_of: Callable[..., KubernetesCluster]) -> None:
    api.put(NODES, node("labelled", 8, "", pool="big"))
    nameless = node("nameless", 8, "")
    del nameless["metadata"]["labels"]["nvidia.com/gpu.product"]
    api.put(NODES, nameless)
    found = {each.name: each.gpu_type for each in cluster_of(gpu_map="pool=big:B200").nodes().items}
    assert (found["node-0"], found["labelled"], found["nameless"]) == ("H100", "B200", "GPU")


def test_elastic_nodes_are_those_that_are_missing(cluster_of: Callable[..., KubernetesCluster]) -> None:
    names = [each.name for each in cluster_of(elastic="H100:48,A100:16").nodes().items]
    assert names[4:] == ["elastic-h100-1", "elastic-h100-2", "elastic-a100-1", "elastic-a100-2"]


def test_nodes_that_may_not_be_listed_are_missing_and_said_so(api: FakeApi, cluster: KubernetesCluster) -> None:
    def trouble(method: str, path: str) -> None:
        if path.startswith("/api/v1/nodes"):
            raise Refusal(403, "Forbidden", "nodes is forbidden")

    api.trouble = trouble
    listing = cluster.nodes()
    assert listing.items == ()
    assert list(listing.incomplete) == ["lab"]


def test_quotas_of_kueue_and_of_the_namespace(api: FakeApi, cluster: KubernetesCluster) -> None:
    api.groups |= ENGINES
    base = "/apis/kueue.x-k8s.io/v1beta2"
    gpu = {"name": "nvidia.com/gpu", "nominalQuota": "32", "borrowingLimit": "16"}
    groups = [{"flavors": [{"name": "h100", "resources": [gpu, {"name": "cpu", "nominalQuota": "100"}]}]}]
    usage = [{"name": "h100", "resources": [{"name": "nvidia.com/gpu", "total": "40", "borrowed": "8"}]}]
    queue = {
        "metadata": {"name": "shared"},
        "spec": {"resourceGroups": groups, "cohortName": "all"},
        "status": {"flavorsReservation": usage, "pendingWorkloads": 3},
    }
    api.put(f"{base}/clusterqueues", queue)
    api.put(f"{base}/localqueues", {"metadata": {"name": "team"}, "spec": {"clusterQueue": "shared"}}, namespace="ml")
    api.put(f"{base}/resourceflavors", {"metadata": {"name": "h100"}, "spec": {"nodeLabels": {"gpuctl.io/tier": "reserved"}}})
    hard = {"requests.nvidia.com/gpu": "24", "pods": "100"}
    status = {"hard": hard, "used": {"requests.nvidia.com/gpu": "20", "pods": "7"}}
    api.put("/api/v1/resourcequotas", {"metadata": {"name": "gpus"}, "spec": {"hard": hard}, "status": status}, namespace="ml")
    kueue, plain = cluster.quota().items
    assert (kueue.name, kueue.tier, kueue.gpu_type, kueue.pending) == ("team (shared)", "reserved", "h100", 3)
    assert (kueue.nominal, kueue.used, kueue.borrowed, kueue.borrowable, kueue.free) == (32, 40, 8, 16, 0)
    assert (plain.name, plain.nominal, plain.used, plain.free) == ("gpus", 24, 20, 4)


def test_every_queue_that_leads_to_a_quota_and_the_one_that_is_taken(api: FakeApi, cluster_of: Callable[..., KubernetesCluster]) -> None:
    api.groups |= ENGINES
    base = "/apis/kueue.x-k8s.io/v1beta2"
    gpu = {"name": "nvidia.com/gpu", "nominalQuota": "32"}
    for name in ("shared", "other"):
        spec = {"resourceGroups": [{"flavors": [{"name": "h100", "resources": [gpu]}]}]}
        api.put(f"{base}/clusterqueues", {"metadata": {"name": name}, "spec": spec})
    for name, leads in (("fast", "shared"), ("slow", "shared"), ("other", "other")):
        api.put(f"{base}/localqueues", {"metadata": {"name": name}, "spec": {"clusterQueue": leads}}, namespace="ml")
    told = lambda lab: {(row.name, row.queues, row.default) for row in lab.quota().items}  # noqa: E731
    queues = ("fast", "slow")
    assert told(cluster_of()) == {("fast, slow (shared)", queues, None), ("other", ("other",), None)}
    assert told(cluster_of(queue="slow")) == {("fast, slow (shared)", queues, True), ("other", ("other",), False)}


def storage(api: FakeApi, name: str, provisioner: str, *, default: bool = False) -> None:
    notes = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    api.put(CLASSES, {"metadata": {"name": name, "annotations": notes}, "provisioner": provisioner})


def test_volumes_are_judged_before_they_are_made(api: FakeApi, cluster: KubernetesCluster) -> None:
    storage(api, "disks", "ebs.csi.aws.com", default=True)
    storage(api, "shared", "nfs.csi.k8s.io")
    for fields, given in (
        (["--storage-class"], {"access": None, "storage_class": "shard"}),
        (["--access"], {"access": "rwx", "storage_class": None}),
        (["--access"], {"access": "all", "storage_class": "shared"}),
    ):
        with pytest.raises(InvalidInput) as caught:
            cluster.create_volume("data", size=None, **given)  # type: ignore[arg-type]
        assert [problem.field for problem in caught.value.problems] == fields
    assert api.all(CLAIMS) == []
    made = cluster.create_volume("data", size=1 << 40, access="rwx", storage_class="shared")
    assert (made.name, made.size, made.access, made.storage_class, made.managed) == ("data", 1 << 40, "rwx", "shared", True)
    with pytest.raises(ConflictError):
        cluster.create_volume("data", size=None, access="rwo", storage_class="shared")


def test_only_our_volumes_that_nobody_mounts_are_deleted(api: FakeApi, cluster: KubernetesCluster) -> None:
    storage(api, "shared", "nfs.csi.k8s.io", default=True)
    api.put(
        CLAIMS, {"metadata": {"name": "theirs"}, "spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Bound"}}, namespace="ml"
    )
    cluster.create_volume("ours", size=None, access=None, storage_class=None)
    assert [(each.name, each.managed, each.phase) for each in cluster.volumes().items] == [
        ("ours", True, "pending"),
        ("theirs", False, "bound"),
    ]
    with pytest.raises(ConflictError) as caught:
        cluster.delete_volume("theirs")
    assert caught.value.code == "volume-not-ours"
    user = pod("user", "node-0", 1)
    user["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "ours"}}]
    api.put(PODS, user, namespace="ml")
    with pytest.raises(ConflictError) as caught:
        cluster.delete_volume("ours")
    assert caught.value.code == "volume-mounted"
    api.remove(PODS, ("ml", "user"))
    cluster.delete_volume("ours")
    assert [each["metadata"]["name"] for each in api.all(CLAIMS)] == ["theirs"]
    with pytest.raises(NotFoundError):
        cluster.delete_volume("ours")


def said(api: FakeApi, reason: str, message: str, *, kind: str, by: str = "controller", count: int = 1, at: int = 0) -> None:
    """An event about the claim ``ours``."""
    about = {"kind": "PersistentVolumeClaim", "uid": api.all(CLAIMS)[0]["metadata"]["uid"]}
    event = {"type": kind, "reason": reason, "message": message, "count": count, "involvedObject": about, "source": {"component": by}}
    event |= {"lastTimestamp": f"2026-03-01T12:00:0{at}Z", "metadata": {"name": f"said-{at}"}}
    api.put("/api/v1/events", event, namespace="ml")


def test_why_a_volume_is_pending(api: FakeApi, cluster: KubernetesCluster) -> None:
    storage(api, "shared", "nfs.csi.k8s.io", default=True)
    cluster.create_volume("ours", size=None, access=None, storage_class=None)
    assert cluster.volumes().items[0].reason is None  # nobody said anything yet
    said(api, "ProvisioningFailed", "nfs is\nfull.", kind="Warning", by="nfs", count=3, at=1)
    said(api, "Provisioning", "provisioning", kind="Normal", by="nfs", at=3)
    waiting = "Waiting for a volume to be created either by the external provisioner 'nfs.csi.k8s.io' or manually"
    said(api, "ExternalProvisioning", waiting, kind="Normal", at=2)
    (ours,) = cluster.volumes().items
    assert ours.reason is not None
    assert (ours.reason.code, ours.reason.sentence, ours.reason.what) == ("volume-unbound", "nfs is full", "escalate")
    assert [each.text for each in ours.evidence] == [
        "ProvisioningFailed (3 times): nfs is\nfull.",
        f"ExternalProvisioning: {waiting}",
        "Provisioning: provisioning",
    ]
    for number in (1, 3):
        api.remove("/api/v1/events", ("ml", f"said-{number}"))

    def why() -> list[tuple[str, str] | None]:
        return [each.reason and (each.reason.sentence, each.reason.what) for each in cluster.volumes().items]

    assert why() == [("waits for nfs.csi.k8s.io to make it", "wait")]
    said(api, "ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found', kind="Warning", at=4)
    assert why() == [("there is no storage class fast", "escalate")]
    said(api, "WaitForFirstConsumer", "waiting for first consumer to be created before binding", kind="Normal", at=5)
    assert why() == [("it is made once a job that mounts it is to start", "nothing")]

    def trouble(method: str, path: str) -> None:
        if "/events" in path:
            raise Refusal(403, "Forbidden", "events is forbidden")

    api.trouble = trouble
    assert why() == [None]


def test_of_volumes_that_are_bound_no_events_are_read(api: FakeApi, cluster: KubernetesCluster) -> None:
    api.put(CLAIMS, {"metadata": {"name": "theirs"}, "spec": {}, "status": {"phase": "Bound"}}, namespace="ml")
    assert [each.phase for each in cluster.volumes().items] == ["bound"]
    assert not any("/events" in path for _, path in api.requests)


def test_doctor_sees_the_gaps(api: FakeApi, cluster: KubernetesCluster) -> None:
    made = node("ib", 8, "NVIDIA-H100-80GB-HBM3")
    made["status"]["allocatable"]["rdma/hca"] = "8"
    api.put(NODES, made)
    lines = {line.name: line for line in cluster.checks()}
    assert lines["API server"].verdict == "ok"
    assert "rdma/hca" in lines["fabric"].text
    assert lines["queues"].verdict == "note"
    assert lines["storage"].verdict == "note"
    assert lines["access"].text.startswith("everything")
    assert "namespace" not in lines
    api.remove("/api/v1/namespaces", (None, "ml"))
    (missing,) = [line for line in cluster.checks() if line.name == "namespace"]
    assert (missing.verdict, missing.text) == ("problem", "ml does not exist")


def test_doctor_of_a_dead_cluster_is_one_line(api: FakeApi, cluster: KubernetesCluster) -> None:
    def trouble(method: str, path: str) -> None:
        raise Refusal(401, "Unauthorized", "Unauthorized")

    api.trouble = trouble
    (line,) = cluster.checks()
    assert line.verdict == "problem"


def test_access_rules_cover_what_is_done(cluster: KubernetesCluster) -> None:
    documents = list(yaml.safe_load_all(cluster.rbac()))
    assert [each["kind"] for each in documents] == [
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
    ]
    scientist = {
        (group, name): set(rule["verbs"]) for rule in documents[0]["rules"] for group in rule["apiGroups"] for name in rule["resources"]
    }
    assert scientist["batch", "jobs"] == {"create", "get", "list", "watch", "patch", "delete"}
    assert scientist["", "pods/exec"] >= {"create"}
    assert "*" not in str(documents)
    assert {need.resource.plural for need in rbac.IN_NAMESPACE} >= {"jobs", "jobsets", "pods", "secrets", "services", "events"}


def test_what_nothing_resident_keeps_is_refused(cluster: KubernetesCluster, submission: Make) -> None:
    job = cluster.launch(submission(hold=True, time="1h")).job
    for change in (JobChange(priority=5), JobChange(tier="reserved"), JobChange(time="2h")):
        with pytest.raises(NotKeptHere):
            cluster.update(job.name, change)
    with pytest.raises(ConflictError):
        cluster.update(job.name, JobChange(time="30m"))
    assert cluster.update(job.name, JobChange(hold=False)).sentence == f"{job.name}: released"
    assert cluster.update(job.name, JobChange(hold=False)).sentence == f"{job.name}: not held"
    assert cluster.update(job.name, JobChange(hold=True)).sentence == f"{job.name}: held"
    assert cluster.stop(job.name).job.state is State.CANCELLED


def test_a_listing_reads_no_pods_where_objects_suffice(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    for _ in range(3):
        cluster.launch(submission(hold=True))
    api.requests.clear()
    assert len(cluster.jobs(JobQuery()).items) == 3
    assert not any("/pods" in path for _, path in api.requests)
    assert len(api.requests) == 1


def test_a_listing_tells_why_nobody_makes_the_pods(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    refused, fine, held = (cluster.launch(submission(hold=hold)).job.name for hold in (False, False, True))
    root = next(each for each in api.all("/apis/batch/v1/jobs") if each["metadata"]["labels"][names.JOB] == refused)
    api.put(
        "/api/v1/events",
        {
            "metadata": {"name": "said"},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": "Error creating: exceeded quota: team-a, requested: pods=1, used: pods=9, limited: pods=9",
            "involvedObject": {"kind": "Job", "uid": root["metadata"]["uid"]},
        },
        namespace="ml",
    )
    api.requests.clear()
    found = {job.name: job.reason for job in cluster.jobs(JobQuery()).items}
    assert sum("/events" in path for _, path in api.requests) == 1
    codes = {name: reason.code for name, reason in found.items() if reason is not None}
    assert codes == {refused: "quota", fine: "queued", held: "held"}
    assert found[refused] == cluster.explain(refused).reason == cluster.job(refused).reason
    api.remove("/api/v1/events", ("ml", "said"))
    assert {job.name: job.reason and job.reason.code for job in cluster.jobs(JobQuery()).items}[refused] == "queued"


def test_events_of_a_pod_that_runs_are_read_where_it_is_not_ready(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission()).job.name
    (job,) = api.all("/apis/batch/v1/jobs")
    template = job["spec"]["template"]

    def ready(answer: str) -> tuple[str, ...]:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
        running = {"name": "main", "state": {"running": {"startedAt": "2026-03-01T12:00:00Z"}}}
        labels = {**template["metadata"]["labels"], names.COMPLETION_INDEX: "0"}
        made = {
            "metadata": {"name": f"{name}-0", "uid": "pod-0", "labels": labels, "ownerReferences": [owner]},
            "spec": {**template["spec"], "nodeName": "node-0"},
            "status": {"phase": "Running", "containerStatuses": [running], "conditions": [{"type": "Ready", "status": answer}]},
        }
        api.put(PODS, made, namespace="ml")
        said = {"type": "Warning", "reason": "Unhealthy", "message": "Readiness probe failed: refused", "count": 3}
        about = {"kind": "Pod", "name": f"{name}-0", "uid": api.all(PODS)[0]["metadata"]["uid"]}
        api.put("/api/v1/events", {"metadata": {"name": "said"}, "involvedObject": about, **said}, namespace="ml")
        found = cluster.explain(name)
        assert found.reason.code == "running"
        return tuple(one.sentence for one in found.also)

    (also,) = ready("False")
    assert also.startswith("rank 0 on node-0 is not ready: Readiness probe failed: refused (3 times, last ")
    assert ready("True") == ()


def test_a_listing_knows_whose_an_operators_objects_are(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    api.groups = {**api.groups, ("jobset.x-k8s.io", "v1alpha2"): ENGINES["jobset.x-k8s.io", "v1alpha2"]}
    refused, other = (cluster.launch(submission(nodes=2, retries=1)).job.name for _ in range(2))
    api.put(
        "/api/v1/events",
        {
            "metadata": {"name": "said"},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": 'Error creating: pods "x" is forbidden: no account of that name',
            "involvedObject": {"kind": "Job", "name": f"{api.all('/apis/jobset.x-k8s.io/v1alpha2/jobsets')[0]['metadata']['name']}-node-0"},
        },
        namespace="ml",
    )
    codes = {job.name: job.reason and job.reason.code for job in cluster.jobs(JobQuery()).items}
    assert codes == {refused: "admission-refused", other: "queued"}

    def trouble(method: str, path: str) -> None:
        if "/events" in path:
            raise Refusal(403, "Forbidden", "events is forbidden")

    api.trouble = trouble
    assert {job.reason and job.reason.code for job in cluster.jobs(JobQuery()).items} == {"queued"}


def test_growth_needs_no_template(cluster_of: Callable[..., KubernetesCluster]) -> None:
    around = cluster_of(elastic="H100:16", elastic_node="4")._around
    assert [(each.gpus, each.gpu_type) for each in inventory.growth(around, ())] == [(4, "H100")] * 4
