"""A submission as the objects of one attempt."""

import base64
import secrets as randomness
from collections.abc import Mapping, Sequence
from typing import Any

from gpuctl.base.errors import InvalidInput, Problem, UsageError
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.code import parts
from gpuctl.clusters.kubernetes.code.parts import CodeParts
from gpuctl.clusters.kubernetes.manifests import batch, environment, given, kubeflow, metadata, rayjob
from gpuctl.clusters.kubernetes.manifests.job import Rendering
from gpuctl.clusters.kubernetes.manifests.storage import storage
from gpuctl.clusters.kubernetes.manifests.values import ClusterFacts, Engine, Settings
from gpuctl.model.ask import Submission
from gpuctl.model.spec import JobSpec
from gpuctl.policy.placement import Placement

PYTORCH_IMAGE = "pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime"
RAY_IMAGE = "rayproject/ray:2.52.0-py312-cu128"
"""The CUDA version by name, PyTorch's: ``-gpu`` is an alias of whichever Ray's release chose, 12.1 for this one (``PLATFORMS_RAY`` and
``GPU_PLATFORM`` in ci/ray_ci/docker_container.py of ray-project/ray)."""
PLAIN_IMAGE = "python:3.12-slim-bookworm"
"""What jobs run in that name no image, where the profile names none either: tags that are published, and pinned."""
GIT_IMAGE = "buildpack-deps:bookworm-scm"
"""What fetches the code of a job with ``--git`` whose image is one of ``WITHOUT_GIT``: an official image with git and ssh."""
WITHOUT_GIT = (PYTORCH_IMAGE, PLAIN_IMAGE)
"""Ray's has git (docker/base-deps of ray-project/ray); PyTorch's has it only while it is built (Dockerfile of pytorch/pytorch)."""

LARGEST_SECRET = 900 << 10

Objects = tuple[dict[str, Any], ...]


def default_image(spec: JobSpec) -> str:
    """The pinned image for a job that names none: PyTorch's, Ray's, or for a command without GPUs plain Python."""
    if spec.kind == "ray":
        return RAY_IMAGE
    return PLAIN_IMAGE if spec.kind == "command" and spec.gpus == 0 else PYTORCH_IMAGE


def render(
    submission: Submission,
    *,
    job_id: str,
    name: str,
    user: str,
    team: str | None,
    attempt: int = 1,
    engine: Engine,
    placement: Placement | None,
    cluster: ClusterFacts,
    code: CodeParts | None,
    settings: Settings,
    ray_token: str | None = None,
) -> Objects:
    """The objects of one attempt in the order of their creation: Secrets, the headless Service, last the object that is the job.

    Nothing is looked up and nothing random but the token of a Ray is made: the same arguments give the same objects.

    Args:
        submission: what was asked for; its environment stays at home, only ``spec.env`` and the secrets go.
        job_id: see ``names.job_id``.
        name: the job's name, see ``names.job_name``.
        user: whose job it is.
        team: None without one.
        attempt: 1 for the first.
        engine: see ``engines.choose``.
        placement: where policy placed it; None lets the cluster's queue decide.
        cluster: what was found there.
        code: what it runs; None when it brings no code.
        settings: the profile's.
        ray_token: for tests; a fresh random one by default.

    Raises:
        UsageError: the job cannot become objects (``spec-too-large``, ``array-too-long``, ``queue-unclear``, ...).
        InvalidInput: ``bad-pod-patch``, ``bad-array``.
    """
    spec = submission.spec
    _check(spec, name, engine)
    object_name = names.object_name(name, attempt)
    who = metadata.Identity(job_id=job_id, name=name, object_name=object_name, user=user, team=team, attempt=attempt, kind=spec.kind)
    packed = code or parts.entry_only(ray=spec.kind == "ray")
    labels = metadata.labels(who, submission)
    notes = metadata.annotations(who, submission, engine=engine, placement=placement, code=packed.digest if code is not None else None)
    if packed.volume is not None and packed.archive_digest is not None:
        notes[names.CODE_ARCHIVE] = names.code_archive(packed.archive_digest)
    image = spec.image or settings.image or default_image(spec)
    queue = queue_of(spec, name, cluster, settings)
    own_labels = labels
    if queue is not None and not spec.hold:
        own_labels = {**labels, names.KUEUE_QUEUE: queue}
    if spec.hold:
        notes |= {names.HELD: "true"} | ({names.QUEUE: queue} if queue is not None else {})
    job = Rendering(
        submission=submission,
        who=who,
        engine=engine,
        placement=placement,
        facts=cluster,
        settings=settings,
        code=packed,
        storage=storage(spec),
        image=image,
        git_image=settings.git_image or (GIT_IMAGE if image in WITHOUT_GIT else image),
        queue=queue,
        secret=object_name if _needs_secret(spec, engine) else None,
        labels=labels,
        annotations=notes,
        patches=given.patches(spec, settings),
    )
    workload = _ENGINES[engine](job)
    workload[-1]["metadata"]["labels"] = dict(own_labels)
    own = _secret(job, ray_token) if job.secret is not None else ()
    return (*parts.secrets(packed, namespace=cluster.namespace), *own, *workload)


_ENGINES = {
    Engine.JOB: batch.job_objects,
    Engine.JOBSET: batch.jobset_objects,
    Engine.TRAINJOB: kubeflow.trainjob_objects,
    Engine.PYTORCHJOB: kubeflow.pytorchjob_objects,
    Engine.RAYJOB: rayjob.rayjob_objects,
}


def queue_of(spec: JobSpec, name: str, cluster: ClusterFacts, settings: Settings) -> str | None:
    """The Kueue queue of the job: asked for, the profile's, the namespace's ``default``, its only one; None where there is none.

    Raises:
        UsageError: ``queue-missing``, ``queue-unclear``.
    """
    there = sorted(cluster.queues)
    wanted = spec.queue or usual_queue(there, settings.queue)
    if wanted is not None:
        if wanted in there:
            return wanted
        raise UsageError(
            f"cannot submit {name}: no queue {wanted} in namespace {cluster.namespace} of {cluster.name}",
            code="queue-missing",
            cause=f"queues there: {', '.join(there) or 'none'}",
            hint=f"gpuctl submit --queue {there[0]} ..." if there else "gpuctl submit without --queue",
        )
    if not there:
        return None
    raise UsageError(
        f"cannot submit {name}: namespace {cluster.namespace} of {cluster.name} has {len(there)} queues and none is the default",
        code="queue-unclear",
        cause=f"queues there: {', '.join(there)}",
        hint=f"gpuctl submit --queue {there[0]} ...    or: queue={there[0]} in the profile",
    )


def usual_queue(there: Sequence[str], profile: str | None) -> str | None:
    """The queue of a job that names none: the profile's, ``default``, the only one; None where there is none or it has to be named."""
    if profile is not None:
        return profile
    if "default" in there:
        return "default"
    return there[0] if len(there) == 1 else None


def owner_reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """What makes an object go when ``owner`` (as the API server answered its creation) goes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": False,
        "blockOwnerDeletion": False,
    }


def owned_by(objects: Sequence[Mapping[str, Any]], owner: Mapping[str, Any]) -> Objects:
    """The objects beside the job's own, with ``owner`` among their owners: code keeps the jobs that used it before."""
    found = []
    reference = owner_reference(owner)
    for each in objects:
        if (each["kind"], each["metadata"]["name"]) == (owner["kind"], owner["metadata"]["name"]):
            continue
        before = [known for known in each["metadata"].get("ownerReferences", []) if known["uid"] != reference["uid"]]
        found.append({**each, "metadata": {**each["metadata"], "ownerReferences": [*before, reference]}})
    return tuple(found)


def owner_patch(owner: Mapping[str, Any]) -> dict[str, Any]:
    """A strategic merge patch that adds ``owner`` to the owners an object has already."""
    return {"metadata": {"ownerReferences": [owner_reference(owner)]}}


def _check(spec: JobSpec, name: str, engine: Engine) -> None:
    array = spec.array
    if array is None:
        return
    if spec.nodes > 1:
        problem = Problem(field="spec.nodes", message="tasks of an array have one node each on a cluster", got=str(spec.nodes), allowed="1")
        raise InvalidInput(f"cannot submit {name}", [problem], code="bad-array")
    if spec.kind == "ray":
        problem = Problem(field="spec.kind", message="an array of Rays cannot be one object", got="ray", allowed="pytorch, command")
        raise InvalidInput(f"cannot submit {name}", [problem], code="bad-array")
    if engine is not Engine.JOB:
        raise ValueError(f"an array is rendered as {Engine.JOB.value}, not {engine.value}")
    if array.count > batch.MOST_INDICES:
        raise UsageError(
            f"cannot submit {name}: {array.count} tasks, Kubernetes takes {batch.MOST_INDICES} at once",
            code="array-too-long",
            hint=f"gpuctl submit --array {array.first}-{array.first + batch.MOST_INDICES - 1} ...",
        )


def _needs_secret(spec: JobSpec, engine: Engine) -> bool:
    tasks = spec.array is not None and spec.array.args
    token = spec.kind == "ray" and engine is not Engine.RAYJOB
    return bool(spec.secrets or spec.stdin_script is not None or tasks or token)


def _secret(job: Rendering, ray_token: str | None) -> Objects:
    """The job's own Secret: values of its secrets, and what its containers read as files."""
    data = {name: job.submission.secrets[name] for name in job.spec.secrets}
    if job.spec.stdin_script is not None:
        data[environment.SCRIPT_KEY] = job.spec.stdin_script
    tasks = environment.task_lines(job)
    if tasks:
        data[environment.TASKS_KEY] = tasks
    if job.spec.kind == "ray" and job.engine is not Engine.RAYJOB:
        data[environment.RAY_TOKEN_KEY] = ray_token or randomness.token_hex(32)
    encoded = {key: value.encode("utf-8", "surrogateescape") for key, value in data.items()}
    size = sum(len(value) for value in encoded.values())
    if size > LARGEST_SECRET:
        raise UsageError(
            f"cannot submit {job.who.name}: {size >> 10} KiB of secrets, script and task arguments, {LARGEST_SECRET >> 10} KiB is the most",
            code="spec-too-large",
            cause=f"the largest is {max(encoded, key=lambda key: len(encoded[key]))}",
            hint="put it into a file of the working directory",
        )
    return (
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": job.secret, "namespace": job.facts.namespace, "labels": dict(job.labels)},
            "type": "Opaque",
            "immutable": True,
            "data": {key: base64.b64encode(value).decode() for key, value in encoded.items()},
        },
    )
