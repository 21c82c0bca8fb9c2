"""A cluster full of jobs, made of objects alone: no controller and no node is needed to read them."""

import datetime as dt
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from gpuctl.clusters.kubernetes.cluster import build
from gpuctl.kube.api import Api
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import JOBS, NAMESPACES, NODES, PODS
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import JobSpec
from gpuctl.policy.values import NodeState, QueueJob, Snapshot
from tests.integration.control_plane import ControlPlane

PODS_PER_JOB = 8
USERS = 40
FEW = 20


def fill(plane: ControlPlane, *, pods: int, few: Sequence[str]) -> None:
    """Jobs of eight running pods each until there are so many pods, on as many nodes as they fill, in ``default``; I am one of 40 users.

    ``few``: namespaces with twenty of my jobs each, and no pods.
    """
    api = plane.api()
    for name in few:
        api.create(NAMESPACES.path(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, Object)
    with ThreadPoolExecutor(8) as several:
        count = pods // PODS_PER_JOB
        _all(several.map(lambda index: _node(api, index), range(max(count, PODS_PER_JOB))))
        job = _rendered(plane)
        _all(several.map(lambda index: _job(api, job, index, "default"), range(count)))
        _all(several.map(lambda index: _pod(api, job, index), range(count * PODS_PER_JOB)))
        for name in few:
            _all(several.map(lambda index, name=name: _job(api, job, index * USERS, name), range(FEW)))


def snapshot(count: int) -> Snapshot:
    """Nodes of eight GPUs as placement sees them, in four clusters, two of three half taken."""
    nodes = (
        NodeState(cluster=f"c{index % 4}", name=f"node-{index}", tier="reserved", gpu_type="H100", gpus=8, gpus_free=4 if index % 3 else 8)
        for index in range(count)
    )
    return Snapshot(nodes=tuple(nodes))


def shapes() -> dict[str, QueueJob]:
    """Jobs to place: of one node, of many, and one that fits nowhere."""
    at = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    sizes = {"1x8": (1, 8), "64x8": (64, 8), "one that is refused": (500, 8)}
    return {what: QueueJob(id="j", name="j", submitted_at=at, pods=pods, gpus=gpus) for what, (pods, gpus) in sizes.items()}


def _all(done: Any) -> None:
    for _ in done:
        pass


def _rendered(plane: ControlPlane) -> dict[str, Any]:
    """The Job of a job as gpuctl makes it."""
    cluster = build(
        "full", {"ctx": plane.name, "kubeconfig": str(plane.kubeconfig), "engine": "job", "image": "registry.example/pytorch:2.9"}
    )
    spec = JobSpec(kind="pytorch", nodes=PODS_PER_JOB, gpus=8, script="train.py", args=("--lr", "3e-4"))
    made = Submission(spec=spec, base_name="train", request_id=secrets.token_hex(8), environment={}, code=Code(workdir=""))
    return next(dict(each) for each in cluster.render(made) if each["kind"] == "Job")


def _numbered(job: dict[str, Any], index: int) -> dict[str, Any]:
    """The same job as another one, of one of the users."""
    labels = job["metadata"]["labels"]
    text = msgspec.json.encode(job).decode()
    for old, new in ((job["metadata"]["name"], f"train-{index}"), (labels["gpuctl.io/job-id"], f"{index:012x}")):
        text = text.replace(old, new)
    if index % USERS:
        text = text.replace(f'"gpuctl.io/user":"{labels["gpuctl.io/user"]}"', f'"gpuctl.io/user":"user-{index % USERS}"')
    made: dict[str, Any] = msgspec.json.decode(text)
    return made


def _job(api: Api, job: dict[str, Any], index: int, namespace: str) -> None:
    made = _numbered(job, index)
    made["metadata"]["namespace"] = namespace
    api.create(JOBS.path(namespace), made, Object)
    now = f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    status = {"active": PODS_PER_JOB, "ready": PODS_PER_JOB, "startTime": now}
    api.patch(JOBS.path(namespace, made["metadata"]["name"], "status"), {"status": status}, Object)


def _pod(api: Api, job: dict[str, Any], index: int) -> None:
    number, rank = divmod(index, PODS_PER_JOB)
    made = _numbered(job, number)
    template = made["spec"]["template"]
    name = made["metadata"]["name"]
    meta = {**template["metadata"], "name": f"{name}-{rank}"}
    meta["annotations"] = {**meta.get("annotations", {}), "batch.kubernetes.io/job-completion-index": str(rank)}
    spec = {**template["spec"], "nodeName": f"node-{number}"}
    api.create(PODS.path("default"), {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, Object)


def _node(api: Api, index: int) -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "gpuctl.io/tier": "reserved"}
    name = f"node-{index}"
    api.create(NODES.path(), {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}, Object)
    amounts = {"cpu": "96", "memory": "1000Gi", "pods": "110", "nvidia.com/gpu": "64"}
    status = {"capacity": amounts, "allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]}
    api.patch(NODES.path(name=name, sub="status"), {"status": status}, Object)
    api.patch(NODES.path(name=name), {"spec": {"taints": None}}, Object)  # that it is new, which a controller would take away
