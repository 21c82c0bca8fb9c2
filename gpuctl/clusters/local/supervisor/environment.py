"""The environment of a job's processes: what was submitted, without what belongs to another run, with what this one sets."""

import os
import re
from collections.abc import Iterable, Mapping

from gpuctl.clusters.local import processes
from gpuctl.clusters.local.launchplan import LaunchPlan, Lease, Task

_OTHER_RUN = re.compile(
    r"(GPUCTL_(TOKEN.*|JOB|JOB_ID|LAUNCH|ATTEMPT|ARRAY_INDEX|RESUME_FROM|CHECKPOINT_DIR|NODE_RANK|NODEFILE|VOLUME_.*|RESIDENT)"
    r"|RANK|LOCAL_RANK|GROUP_RANK|ROLE_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|GROUP_WORLD_SIZE|ROLE_WORLD_SIZE|ROLE_NAME"
    r"|MASTER_ADDR|MASTER_PORT|NODE_RANK|PET_.*|TORCHELASTIC_.*|RAY_ADDRESS|RAY_AUTH_.*|RAY_JOB_.*)\Z"
)
_NEVER = re.compile(r"GPUCTL_(TOKEN.*|RESIDENT)\Z")


def of_launch(plan: LaunchPlan, submitted: Mapping[str, str]) -> dict[str, str]:
    """What every process of the launch gets.

    ``submitted`` may have been inherited from within another job: that job's ranks and addresses are dropped, unless the job file itself
    sets them. Credentials of gpuctl's own never pass.
    """
    asked = plan.spec.env
    env = {name: value for name, value in submitted.items() if not _OTHER_RUN.match(name) or (name in asked and not _NEVER.match(name))}
    env.update(
        GPUCTL_JOB=plan.name,
        PYTHONUNBUFFERED="1",
        # setproctitle (Ray, many trainers) overwrites the environment that /proc shows, by which a dead supervisor's orphans are found.
        SPT_NOENV="1",
    )
    env[processes.JOB_ID] = plan.job_id
    env[processes.LAUNCH] = str(plan.launch)
    for name, directory in plan.volumes.items():
        env["GPUCTL_VOLUME_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()] = directory
    if plan.checkpoint is not None:
        env["GPUCTL_CHECKPOINT_DIR"] = plan.checkpoint
    return env


def of_task(plan: LaunchPlan, task: Task, launch_env: Mapping[str, str]) -> dict[str, str]:
    """What every process of one task gets."""
    env = dict(launch_env)
    env["GPUCTL_ATTEMPT"] = str(task.attempt)
    if task.index is not None:
        env["GPUCTL_ARRAY_INDEX"] = str(task.index)
    if plan.checkpoint is not None and task.attempt > 1:
        env["GPUCTL_RESUME_FROM"] = plan.checkpoint
    return env


def of_node(task_env: Mapping[str, str], node: int, leases: Iterable[Lease], *, shown: bool = True) -> dict[str, str]:
    """What every process on one node of a task gets: the node's rank, and exactly its devices; none of them unless ``shown``."""
    env = dict(task_env)
    env["GPUCTL_NODE_RANK"] = str(node)
    held = list(leases)
    _show_devices(env, held if shown else [lease for lease in held if lease.kind == "slot"])
    return env


def _show_devices(env: dict[str, str], held: list[Lease]) -> None:
    """Restrict ``env`` to these devices, in place. No lease at all on a machine with GPUs shows none; slots change nothing."""
    nvidia = [lease.uuid or str(lease.index) for lease in held if lease.kind == "nvidia"]
    amd = [lease.uuid if lease.uuid.startswith("GPU-") else str(lease.index) for lease in held if lease.kind == "amd"]
    if nvidia:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(nvidia)
    if amd:
        env["ROCR_VISIBLE_DEVICES"] = ",".join(amd)
        # These two number what ROCR shows, so values from outside would pick others or none.
        env.pop("HIP_VISIBLE_DEVICES", None)
        env.pop("CUDA_VISIBLE_DEVICES", None)
    if not held:
        if os.path.exists("/dev/nvidiactl"):
            env["CUDA_VISIBLE_DEVICES"] = ""
        if os.path.exists("/dev/kfd"):
            env["ROCR_VISIBLE_DEVICES"] = ""
