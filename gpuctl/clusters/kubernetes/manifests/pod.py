"""The pod template: what every engine's pods have in common."""

from collections.abc import Sequence
from typing import Any

from gpuctl.base.errors import InvalidInput, Problem
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.manifests import environment, storage
from gpuctl.clusters.kubernetes.manifests.given import MAIN
from gpuctl.clusters.kubernetes.manifests.job import Rendering
from gpuctl.clusters.kubernetes.manifests.patch import merge
from gpuctl.clusters.kubernetes.manifests.resources import amounts, resources
from gpuctl.clusters.kubernetes.manifests.scheduling import borrows, scheduling
from gpuctl.clusters.kubernetes.manifests.values import Engine

CODE_CONTAINER = "gpuctl-code"
GANG_CONTAINER = "gpuctl-gang"
INPUT_VOLUME = "gpuctl-in"
WORK_VOLUME = "gpuctl-work"
FILES_VOLUME = "gpuctl-files"
SHM_VOLUME = "shm"


def template(
    job: Rendering,
    *,
    container: str = MAIN,
    command: list[str],
    role: str = "node",
    gang: bool = False,
    gpus: bool = True,
    extra_env: environment.Variables | None = None,
) -> dict[str, Any]:
    """One pod template, patched by profile and flag.

    Args:
        job: the attempt.
        container: name of the container that runs the job; operators insist on their own.
        command: its whole command line.
        role: ``node``; of a Ray ``head`` or ``worker``.
        gang: whether it waits for its peers before it starts.
        gpus: whether it is one of those that the GPUs are for.
        extra_env: variables of this engine.

    Raises:
        InvalidInput: ``bad-pod-patch``.
    """
    env = environment.merged([*environment.variables(job, role=role), *(extra_env or [])])
    mounts = code_mounts(job)
    if job.engine is Engine.TRAINJOB:  # whose main container unpacks the code
        mounts += code_volume_mounts(job)
    main: dict[str, Any] = {
        "name": container,
        "image": job.image,
        "command": command,
        "env": env,
        "resources": _resources(job, gpus=gpus),
        "volumeMounts": [*mounts, *job.storage.mounts],
        # The end of the log, where the program left no message of its own: the pod and its log may soon be gone.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if job.code.brings:
        main["workingDir"] = f"{environment.BASE}/work/code/{job.code.cwd}".rstrip("/")
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": job.spec.grace_seconds,
        "enableServiceLinks": False,
        "initContainers": init_containers(job, gang=gang),
        "containers": [main],
        "volumes": [*pod_volumes(job), *job.storage.volumes],
        **scheduling(
            job.spec,
            team=job.who.team,
            facts=job.facts,
            settings=job.settings,
            placement=job.placement,
            gpus=gpus and job.spec.gpus > 0,
            head=not gpus,
            queued=job.queue is not None,
        ),
    }
    if job.spec.time_seconds is not None:
        # The pod's, not the Job's: that one counts while the job waits for room.
        spec["activeDeadlineSeconds"] = job.spec.time_seconds
    if job.settings.service_account is not None:
        spec["serviceAccountName"] = job.settings.service_account
    else:
        spec["automountServiceAccountToken"] = False
    if job.settings.pull_secret is not None:
        spec["imagePullSecrets"] = [{"name": job.settings.pull_secret}]
    stoppable = {names.PREEMPTIBLE: "true"} if borrows(job.spec, job.facts) else {}
    found: dict[str, Any] = {"metadata": {"labels": {**job.labels, names.PART: role, **stoppable}}, "spec": spec}
    if job.spec.signal is not None:
        warning = f"{job.spec.signal.name.upper().removeprefix('SIG')}@{job.spec.signal.before_seconds}"
        found["metadata"]["annotations"] = {names.SIGNAL: warning}
    for patch in job.patches:
        found = merge(found, _aimed(patch, container))
    if all(each["name"] != container for each in found["spec"]["containers"]):
        problem = Problem(
            field="spec.containers", message="the patch takes away the container that runs the job", allowed=f"a patch of {MAIN}"
        )
        raise InvalidInput("cannot apply the pod patch", [problem], code="bad-pod-patch")
    without = [each["name"] for each in found["spec"]["containers"] if not each.get("image")]
    if without:
        allowed = f"{MAIN}, for the container that runs the job; others with an image"
        problem = Problem(field="spec.containers", message="adds a container without an image", got=without[0], allowed=allowed)
        raise InvalidInput("cannot apply the pod patch", [problem], code="bad-pod-patch")
    if found["spec"].get("hostNetwork"):
        # Otherwise such pods ask the node's own name server, which knows no peers.
        found["spec"].setdefault("dnsPolicy", "ClusterFirstWithHostNet")
    # KubeRay takes the first container for Ray's, and kubectl for the one that is meant.
    found["spec"]["containers"].sort(key=lambda each: each["name"] != container)
    return found


def init_containers(job: Rendering, *, gang: bool) -> list[dict[str, Any]]:
    """What comes before the job in its pod: unpacking the code; waiting for the peers of a gang."""
    small = amounts(100, 64 << 20, limit_memory=False)
    found: list[dict[str, Any]] = []

    def container(
        name: str, verb: str, env: environment.Variables, mounts: Sequence[dict[str, Any]] = (), image: str = job.image
    ) -> dict[str, Any]:
        return {
            "name": name,
            "image": image,
            "command": environment.arguments(job, verb),
            "env": env,
            "resources": small,
            "volumeMounts": [*code_mounts(job), *mounts],
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }

    if job.code.brings:
        image = job.git_image if job.code.git is not None else job.image
        found.append(container(CODE_CONTAINER, "unpack", environment.for_unpacking(job), mounts=code_volume_mounts(job), image=image))
    if gang:
        wait = {
            "GPUCTL_POD_PEERS": environment.peers(job),
            "GPUCTL_POD_NODES": str(job.pods),
            "GPUCTL_POD_WAIT": str(job.settings.gang_seconds),
        }
        found.append(container(GANG_CONTAINER, "gang", [{"name": key, "value": value} for key, value in wait.items()]))
    return found


def code_mounts(job: Rendering) -> list[dict[str, Any]]:
    """Where a container sees the in-pod program, the working directory, the job's files, and shared memory."""
    found: list[dict[str, Any]] = [
        {"name": INPUT_VOLUME, "mountPath": f"{environment.BASE}/in", "readOnly": True},
        {"name": WORK_VOLUME, "mountPath": f"{environment.BASE}/work"},
        {"name": SHM_VOLUME, "mountPath": "/dev/shm"},
    ]
    if file_items(job):
        found.append({"name": FILES_VOLUME, "mountPath": f"{environment.BASE}/files", "readOnly": True})
    return found


def code_volume_mounts(job: Rendering) -> list[dict[str, Any]]:
    """Where the container that unpacks the code sees the archive, if that is on a volume: only the directory of archives."""
    if job.code.volume is None:
        return []
    volume = storage.volume_name(job.code.volume)
    return [{"name": volume, "mountPath": environment.CODE_VOLUME, "subPath": names.CODE_DIRECTORY, "readOnly": True}]


def pod_volumes(job: Rendering) -> list[dict[str, Any]]:
    """The volumes behind :func:`code_mounts`."""
    sources = []
    for number, name in enumerate(job.code.secret_names):
        items = [{"key": each, "path": each} for each in job.code.programs] if number == 0 else []
        if number < len(job.code.parts):
            items.append({"key": "part", "path": f"part.{number}"})
        sources.append({"secret": {"name": name, "items": items}})
    found: list[dict[str, Any]] = [
        {"name": INPUT_VOLUME, "projected": {"sources": sources}},
        {"name": WORK_VOLUME, "emptyDir": {}},
        {"name": SHM_VOLUME, "emptyDir": {"medium": "Memory"}},
    ]
    items = file_items(job)
    if items:
        found.append({"name": FILES_VOLUME, "secret": {"secretName": job.secret, "items": items}})
    return found


def file_items(job: Rendering) -> list[dict[str, str]]:
    """The files of the job's own Secret that its containers see."""
    found = []
    if job.spec.stdin_script is not None:
        found.append({"key": environment.SCRIPT_KEY, "path": "script"})
    if job.spec.array is not None and job.spec.array.args:
        found.append({"key": environment.TASKS_KEY, "path": "tasks"})
    return found


def _resources(job: Rendering, *, gpus: bool) -> dict[str, Any]:
    if gpus:
        return resources(job.spec, job.facts, job.settings, job.placement, job.engine)
    return amounts(job.settings.head_cpu_millis, job.settings.head_memory)


def _aimed(patch: Any, container: str) -> Any:
    """A patch whose container ``main`` means the one that runs the job, whatever its engine calls it."""
    spec = patch.get("spec") if isinstance(patch, dict) else None
    if not isinstance(spec, dict) or not isinstance(spec.get("containers"), list):
        return patch
    containers = [
        {**each, "name": container} if isinstance(each, dict) and each.get("name") == MAIN else each for each in spec["containers"]
    ]
    return {**patch, "spec": {**spec, "containers": containers}}
