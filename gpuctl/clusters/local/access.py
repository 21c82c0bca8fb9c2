"""Ways into a running job on this machine: a program in its environment, and its files."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from gpuctl.base.errors import ConflictError, NotFoundError
from gpuctl.base.exitcodes import of_signal
from gpuctl.clusters.local import processes, seal
from gpuctl.clusters.local.launchplan import LaunchPlan
from gpuctl.clusters.local.paths import StatePaths
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.clusters.local.supervisor import environment
from gpuctl.clusters.local.volumes import copy
from gpuctl.model import decoding
from gpuctl.model.ask import ExecTarget
from gpuctl.model.job import Code, Job

_NOT_EXECUTABLE = 126
_NOT_FOUND = 127


def run(paths: StatePaths, job: Job, launch: Launch, target: ExecTarget, argv: Sequence[str]) -> int:
    """Run ``argv`` on our own streams in the job's environment, directory and devices; the highest exit status.

    Raises:
        NotFoundError: no such rank or node.
    """
    plan = plan_of(paths, launch)
    status = 0
    for env in _environments(paths, job, plan, target):
        status = max(status, _run(argv, env=env, directory=plan.workdir))
    return status


def plan_of(paths: StatePaths, launch: Launch) -> LaunchPlan:
    """What the launch's supervisor was told."""
    try:
        with open(f"{paths.launch(launch.job, launch.number)}/plan.json", "rb") as file:
            return decoding.decode(file.read(), LaunchPlan)
    except OSError as error:
        raise NotFoundError(f"cannot enter {launch.job}: its plan is gone", code="plan-gone", cause=str(error)) from error


def _environments(paths: StatePaths, job: Job, plan: LaunchPlan, target: ExecTarget) -> list[dict[str, str]]:
    if target.rank is not None:
        return [_of_rank(job, plan, target.rank)]
    try:
        with open(paths.sealed(job.id), "rb") as file:
            content = seal.unseal(file.read(), key=seal.load_key(paths.key), job_id=job.id)
    except OSError as error:
        raise ConflictError(f"cannot enter {job.name}: it has ended", code="job-ended", hint=f"gpuctl logs {job.name}") from error
    task = next((task for task in plan.tasks if any(each.task == task.index for each in job.attempts)), plan.tasks[0])
    base = environment.of_task(plan, task, environment.of_launch(plan, content.merged()))
    pods = plan.slots[0].pods
    nodes = range(len(pods)) if target.all else (target.node or 0,)
    if nodes[-1] >= len(pods):
        raise NotFoundError(f"no node {nodes[-1]} in {job.name}: it has {len(pods)}", code="node-not-found", hint=f"gpuctl job {job.name}")
    return [environment.of_node(base, node, pods[node]) for node in nodes]


def _of_rank(job: Job, plan: LaunchPlan, rank: int) -> dict[str, str]:
    """The environment that the rank's own process was started with."""
    for process in sorted(processes.alive_processes(plan.job_id, plan.launch), key=lambda each: each.start):
        env = processes.environment(process.pid)
        if env.get("RANK", "0") == str(rank):
            return env
    last = plan.spec.nodes * plan.spec.procs_per_node - 1
    raise NotFoundError(f"no rank {rank} runs in {job.name}: ranks are 0-{last}", code="rank-not-found", hint=f"gpuctl job {job.name}")


def _run(argv: Sequence[str], *, env: Mapping[str, str], directory: str) -> int:
    before = signal.getsignal(signal.SIGINT)
    in_main = _set(signal.SIG_IGN)  # Ctrl-C reaches the child through the terminal; we wait for what it makes of it
    try:
        with subprocess.Popen(
            argv,
            env=dict(env),
            cwd=directory,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        ) as child:
            code = child.wait()
    except FileNotFoundError:
        return _refused(f"{argv[0]}: command not found" if os.path.isdir(directory) else f"{directory}: no such directory", _NOT_FOUND)
    except PermissionError:
        return _refused(f"{argv[0]}: permission denied", _NOT_EXECUTABLE)
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)
    return of_signal(-code) if code < 0 else code


def _refused(why: str, status: int) -> int:
    """The word of a shell that cannot start a program, where the program's own words would have stood, and its exit status."""
    os.write(2, f"{why}\n".encode(errors="backslashreplace"))
    return status


def _set(handler: signal.Handlers) -> bool:
    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:  # not the main thread: signals are not ours to set
        return False
    return True


def copy_out(code: Code, name: str, path: str, destination: str) -> int:
    """Copy out of the job's directory (``path`` is relative to it, or absolute as on any cluster); bytes written."""
    source = os.path.normpath(os.path.join(code.snapshot or code.workdir, path))
    if not os.path.lexists(source):
        raise NotFoundError(f"no {path} in {name}", code="path-not-found", cause=f"looked at {source}")
    if os.path.isdir(destination):
        destination = os.path.join(destination, os.path.basename(source))
    if os.path.realpath(source) == os.path.realpath(destination):
        raise ConflictError(f"cannot copy {path} of {name}: source and destination are one file", code="same-file")
    return copy(source, destination, what=f"copy {path} of {name}")
