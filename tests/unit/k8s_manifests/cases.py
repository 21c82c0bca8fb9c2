"""Jobs of every kind on every engine, rendered the same way every time: for golden files and for a real API server."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gpuctl.clusters.kubernetes.code.parts import CodeParts
from gpuctl.clusters.kubernetes.manifests import ClusterFacts, Engine, Runtime, Settings, render
from gpuctl.clusters.kubernetes.manifests.engines import API
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.place import Node
from gpuctl.model.spec import ArraySpec, Checkpoint, GitSource, JobSpec, SignalBefore, VolumeMount
from gpuctl.policy.placement import Placement
from gpuctl.policy.values import PodPlace

PRODUCT = "NVIDIA-H100-80GB-HBM3"
ENTRY = b"#!/bin/sh\n"
CODE = CodeParts(digest="c0de" * 16, entry=ENTRY, parts=(b"first", b"second"), archive_digest="abcd" * 16, cwd="src", files=2, size=11)
WITH_RAY = msgspec.structs.replace(CODE, ray=b"# ray\n")
BY_VOLUME = CodeParts(digest="c0de" * 16, entry=ENTRY, archive_digest="abcd" * 16, cwd="src", volume="data")
SOURCE = GitSource(url="https://git.example/team/code", ref="main")
FETCHED = CodeParts(digest="c0de" * 16, entry=ENTRY, fetch=b"# fetch\n", git=SOURCE, commit="0123456789" * 4, cwd="sub")
GIT = JobSpec(command=("true",), git=SOURCE, workdir="sub", secrets=("GIT_TOKEN", "WANDB_API_KEY"), env={"GIT_USERNAME": "bot"})
RESERVED = Placement(
    "res-a", "reserved", (PodPlace(cluster="res-a", node="gpu-1", gpus=8), PodPlace(cluster="res-a", node="gpu-2", gpus=8))
)


def facts(**changes: Any) -> ClusterFacts:
    """A cluster with every operator, eight-GPU nodes, and labels for tier and product."""
    nodes = tuple(
        Node(name=f"gpu-{index}", cluster="res-a", tier="reserved", gpu_type="H100", gpus=8, cpu_millis=96000, memory=1000 << 30)
        for index in (1, 2)
    )
    given: dict[str, Any] = {
        "name": "res-a",
        "namespace": "lab",
        "served": frozenset(API.values()),
        "runtimes": (Runtime(name="deepspeed-distributed", framework="deepspeed"), Runtime(name="torch-distributed", framework="torch")),
        "nodes": nodes,
        "products": (PRODUCT, "NVIDIA-A100-SXM4-40GB"),
        "tier_labels": True,
    }
    return ClusterFacts(**{**given, **changes})


def submission(spec: JobSpec, **changes: Any) -> Submission:
    """A submission of ``spec`` by request ``request-1``."""
    given: dict[str, Any] = {
        "spec": spec,
        "base_name": "llama",
        "request_id": "request-1",
        "environment": {"HOME": "/home/anna", "LEAKED": "from the submitter's shell"},
        "code": Code(workdir="/home/anna/lab/src", commit="0123456789abcdef0123456789abcdef01234567", branch="main", dirty=True),
        "secrets": {name: f"value of {name}" for name in spec.secrets},
        "labels": {"project": "world-model"},
    }
    return Submission(**{**given, **changes})


def rendered(spec: JobSpec, engine: Engine, **changes: Any) -> tuple[dict[str, Any], ...]:
    """The objects of ``spec`` on ``engine``; changes are arguments of ``render``, or of the submission."""
    given: dict[str, Any] = {
        "job_id": "0123456789ab",
        "name": "llama-k3f9",
        "user": "anna@lab.example",
        "team": "team-a",
        "attempt": 1,
        "engine": engine,
        "placement": RESERVED,
        "cluster": facts(),
        "code": CODE,
        "settings": Settings(),
        "ray_token": "f" * 64,
    }
    asked = changes.pop("submission", None) or submission(spec)
    return render(asked, **{**given, **changes})


def the(objects: tuple[dict[str, Any], ...], kind: str) -> dict[str, Any]:
    """The one object of this kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def templates(value: Any) -> list[dict[str, Any]]:
    """Every pod template anywhere in an object."""
    found: list[dict[str, Any]] = []
    if isinstance(value, Mapping):
        spec = value.get("spec")
        if isinstance(spec, Mapping) and isinstance(spec.get("containers"), list) and "resources" in spec["containers"][0]:
            found.append(dict(value))
        for each in value.values():
            found += templates(each)
    elif isinstance(value, list):
        for each in value:
            found += templates(each)
    return found


def main_env(objects: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Variables of the main container of the last object's first pod template: values, or where they come from."""
    spec = objects[-1]["spec"]
    container = spec["trainer"] if "trainer" in spec else templates(objects[-1])[0]["spec"]["containers"][0]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


EVERYTHING = JobSpec(
    kind="pytorch",
    nodes=2,
    gpus=8,
    script="train.py",
    args=("--lr", "3e-4", "$(HOME)", "a b"),
    env={"LR": "3e-4", "PRICE": "$$5 $(PATH)"},
    secrets=("WANDB_API_KEY",),
    setup="pip install -r requirements.txt",
    image="registry.example/team/train:1",
    gpu_type="h100",
    tier="reserved",
    exclude=("gpu-7", "res-a/gpu-9", "res-b/gpu-1"),
    priority=50,
    time="6h",
    grace="2m",
    signal=SignalBefore(name="SIGUSR1", before="10m"),
    retries=2,
    requeue=True,
    checkpoint=Checkpoint(volume="runs", dir="/llama"),
    volumes=(VolumeMount(name="data", path="/data", read_only=True), VolumeMount(name="runs")),
    logs_to="runs:/logs",
    queue="gpus",
    pod_patch="spec:\n  containers:\n  - name: main\n    env: [{name: NCCL_DEBUG, value: INFO}]\n    resources: {limits: {rdma/ib: 1}}\n",
)

WITH_QUEUE = {"cluster": facts(queues=("gpus", "spare")), "settings": Settings(priority_classes={0: "normal", 100: "urgent"})}

CASES: dict[str, tuple[JobSpec, Engine, dict[str, Any]]] = {
    "pytorch-jobset": (JobSpec(kind="pytorch", nodes=2, gpus=8, script="train.py"), Engine.JOBSET, {}),
    "pytorch-job": (JobSpec(kind="pytorch", nodes=2, gpus=8, script="train.py"), Engine.JOB, {}),
    "pytorch-job-one-node": (JobSpec(kind="pytorch", gpus=4, script="train.py"), Engine.JOB, {"placement": None}),
    "pytorch-trainjob": (JobSpec(kind="pytorch", nodes=2, gpus=8, script="train.py", time="1h"), Engine.TRAINJOB, {}),
    "pytorch-pytorchjob": (JobSpec(kind="pytorch", nodes=2, gpus=8, script="train.py"), Engine.PYTORCHJOB, {}),
    "pytorch-pytorchjob-one-node": (JobSpec(kind="pytorch", gpus=1, script="train.py"), Engine.PYTORCHJOB, {}),
    "everything-jobset": (EVERYTHING, Engine.JOBSET, WITH_QUEUE),
    "everything-job": (EVERYTHING, Engine.JOB, WITH_QUEUE),
    "everything-pytorchjob": (EVERYTHING, Engine.PYTORCHJOB, WITH_QUEUE),
    "queue-trainjob": (JobSpec(kind="pytorch", nodes=2, gpus=8, script="train.py", queue="gpus"), Engine.TRAINJOB, WITH_QUEUE),
    "command-job": (JobSpec(command=("nvidia-smi", "-L"), gpus=1), Engine.JOB, {}),
    "command-job-no-gpu": (JobSpec(command=("make", "data"), gpus=0, cpus="4", memory="16Gi"), Engine.JOB, {"placement": None}),
    "command-jobset-per-gpu": (JobSpec(command=("./serve",), nodes=2, gpus=4, per="gpu"), Engine.JOBSET, {}),
    "command-job-no-code": (JobSpec(command=("true",)), Engine.JOB, {"code": CodeParts(digest="e" * 64, entry=ENTRY)}),
    "held-job": (JobSpec(command=("true",), hold=True, queue="gpus"), Engine.JOB, WITH_QUEUE),
    "second-attempt": (
        JobSpec(kind="pytorch", script="train.py", checkpoint=Checkpoint(volume="runs")),
        Engine.JOB,
        {"attempt": 2},
    ),
    "stdin-job": (JobSpec(stdin_script="#!/bin/sh\necho hello\n"), Engine.JOB, {}),
    "array-job": (JobSpec(script="sweep.py", array=ArraySpec(first=5, last=24, parallel=8), requeue=True), Engine.JOB, {}),
    "array-args": (
        JobSpec(script="sweep.py", array=ArraySpec(last=2, only=(0, 2), args=(("--lr", "1"), ("--lr", "2"), ("it's", "two\nlines")))),
        Engine.JOB,
        {},
    ),
    "git-job": (GIT, Engine.JOB, {"code": FETCHED}),
    "git-trainjob": (msgspec.structs.replace(GIT, kind="pytorch", script="train.py", command=()), Engine.TRAINJOB, {"code": FETCHED}),
    "code-volume-job": (
        JobSpec(command=("true",), code_volume="data", volumes=(VolumeMount(name="data", path="/data"),)),
        Engine.JOB,
        {"code": BY_VOLUME},
    ),
    "code-volume-trainjob": (
        JobSpec(kind="pytorch", script="train.py", code_volume="shared"),
        Engine.TRAINJOB,
        {"code": msgspec.structs.replace(BY_VOLUME, volume="shared")},
    ),
    "ray-rayjob": (
        JobSpec(kind="ray", nodes=4, gpus=8, script="tune.py", args=("it's",), setup="pip install x", time="2h"),
        Engine.RAYJOB,
        {"code": WITH_RAY},
    ),
    "ray-rayjob-queue": (
        JobSpec(kind="ray", nodes=2, gpus=8, command=("python", "-m", "tune"), queue="gpus"),
        Engine.RAYJOB,
        {**WITH_QUEUE, "code": WITH_RAY},
    ),
    "ray-jobset": (JobSpec(kind="ray", nodes=4, gpus=8, script="tune.py"), Engine.JOBSET, {"code": WITH_RAY}),
    "ray-job": (JobSpec(kind="ray", nodes=2, gpus=8, script="tune.py"), Engine.JOB, {"code": WITH_RAY}),
}
