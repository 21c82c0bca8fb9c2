"""Starting one launch: its directory, its plan, the transaction, its supervisor. See ``apply`` for what a crash in between leaves."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from gpuctl.clusters.local import alive, spawn, volumes
from gpuctl.clusters.local.ingest import place_of, pods_of
from gpuctl.clusters.local.inventory import boot_id
from gpuctl.clusters.local.launchplan import LOG_LIMIT, SCRATCH_PREFIX, LaunchPlan, Lease, Slot, Task, WindowEnd
from gpuctl.clusters.local.leases import Leases
from gpuctl.clusters.local.paths import StatePaths
from gpuctl.clusters.local.seal import Secrets
from gpuctl.clusters.local.snapshot import Standing
from gpuctl.clusters.local.store import Database, attempts, jobs, launches, tasks
from gpuctl.clusters.local.store.rows import NO_TASK, encode
from gpuctl.model.job import Code, State
from gpuctl.model.spec import ArraySpec, JobSpec
from gpuctl.policy.values import PodPlace

SUPERVISOR = "gpuctl.clusters.local.supervisor"
_SCRATCH_LONGEST = 40
"""Bytes: Ray puts sockets below it, and AF_UNIX allows 107 in all."""


class Surroundings(NamedTuple):
    """What every start of this machine shares. ``log_limit``: bytes of log kept per rank, None for the usual."""

    database: Database
    cluster: str
    node: str
    environ: Mapping[str, str]
    keeper_argv: tuple[str, ...]
    volume_root: str
    log_limit: int | None = None


def start(
    around: Surroundings,
    job: Standing,
    places: Sequence[Sequence[PodPlace]],
    held: Leases,
    *,
    code: Code,
    interpreter: str | None,
    content: Secrets,
    now: datetime,
    window: WindowEnd | None = None,
) -> None:
    """Start the supervisor of a job on devices that are held already. The caller closes ``held`` afterwards.

    Raises:
        OSError: the directory or the process could not be made; the job is in line again then.
    """
    database, paths = around.database, around.database.paths
    with database.read() as connection:
        number = launches.next_number(connection, job.job_id)
        chosen = _tasks(job, tasks.touched(connection, job.job_id), now=now)
    items = iter(held.items)
    slots = tuple(slots_of(places, lambda _: next(items)))
    directory = paths.launch(job.job_id, number)
    if os.path.lexists(directory):  # of a start that was killed before its transaction
        shutil.rmtree(directory)
    os.mkdir(directory, 0o700)
    alive_fd = alive.make(alive.path_of(paths, job.job_id, number))
    parcel = spawn.Parcel(content.merged())
    scratch = tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=_scratch_parent())
    plan_path = f"{directory}/plan.json"
    plan = _plan(
        around,
        job,
        number=number,
        slots=slots,
        chosen=chosen,
        code=code,
        interpreter=interpreter,
        scratch=scratch,
        env_fd=parcel.fd,
        alive_fd=alive_fd,
        window=window,
    )
    try:
        with open(plan_path, "xb", opener=_private) as file:
            file.write(encode(plan))
        if not _store(around, job, number, slots, chosen, now=now, window=window):
            shutil.rmtree(directory)
            raise Overtaken
        spawn.start(
            spawn.python_argv(SUPERVISOR, plan_path),
            environ=around.environ,
            log=f"{directory}/supervisor.log",
            inherit=(parcel.fd, alive_fd, *held.fds),
        )
    except BaseException:
        parcel.drop()
        os.rmdir(scratch)
        raise
    else:
        parcel.send()
    finally:
        os.close(alive_fd)


class Overtaken(Exception):
    """Somebody else started or ended the job first."""


def _store(
    around: Surroundings,
    job: Standing,
    number: int,
    slots: tuple[Slot, ...],
    chosen: tuple[Task, ...],
    *,
    now: datetime,
    window: WindowEnd | None,
) -> bool:
    at = now.timestamp()
    bare = tuple(Slot(pods=tuple(tuple(_bare(lease) for lease in pod) for pod in slot.pods)) for slot in slots)
    with around.database.write(durable=True) as connection:
        state = jobs.state(connection, job.job_id)
        # An array goes on running between two launches (tasks that are tried again); any other job is in line.
        ready = state is State.QUEUED or (job.spec.array is not None and state is not None and not state.final)
        if not ready or launches.next_number(connection, job.job_id) != number:
            return False
        launches.insert(connection, job.job_id, number, boot=boot_id(), at=at, slots=bare)
        connection.execute(
            "UPDATE jobs SET state = CASE WHEN state = 'queued' THEN ? ELSE state END, place = ?, reason = NULL,"
            " expected_start = NULL, not_before = NULL, attempt_count = max(attempt_count, ?) WHERE id = ?",
            (State.STARTING.value, place_of(bare, cluster=around.cluster), max(task.attempt for task in chosen), job.job_id),
        )
        if window is not None or job.window is not None:
            jobs.enter_window(connection, job.job_id, window)
        if job.spec.array is None:
            pods = pods_of(job.spec, bare[0], node=around.node)
            attempts.begin(connection, job.job_id, NO_TASK, chosen[0].attempt, launch=number, pods=pods, at=None)
        jobs.event(connection, job.job_id, "starting", at=at, attempt=chosen[0].attempt if job.spec.array is None else None)
    return True


def _tasks(job: Standing, touched: dict[int, tasks.Task], *, now: datetime) -> tuple[Task, ...]:
    array = job.spec.array
    if array is None:
        return (Task(attempt=job.attempts + 1),)
    return tasks_of(array, tasks.ready(array, touched, now=now.timestamp()))


def tasks_of(array: ArraySpec, numbers: Iterable[tuple[int, int]]) -> tuple[Task, ...]:
    """Tasks of an array with their own arguments, by index and attempt."""
    position = {index: at for at, index in enumerate(array.indices)} if array.args else {}
    return tuple(Task(index=index, attempt=attempt, args=array.args[position[index]] if array.args else None) for index, attempt in numbers)


def _plan(
    around: Surroundings,
    job: Standing,
    *,
    number: int,
    slots: tuple[Slot, ...],
    chosen: tuple[Task, ...],
    code: Code,
    interpreter: str | None,
    scratch: str,
    env_fd: int,
    alive_fd: int,
    window: WindowEnd | None,
) -> LaunchPlan:
    paths: StatePaths = around.database.paths
    spec = job.spec
    there = volumes.known(around.volume_root)
    names = {mount.name for mount in spec.volumes} | ({spec.checkpoint.volume} if spec.checkpoint else set())
    return LaunchPlan(
        job_id=job.job_id,
        name=job.name,
        launch=number,
        user=job.user,
        node=around.node,
        spec=spec,
        workdir=code.snapshot or code.workdir,
        directory=paths.launch(job.job_id, number),
        logs=paths.logs(job.job_id),
        scratch=scratch,
        slots=slots,
        tasks=chosen,
        env_fd=env_fd,
        alive_fd=alive_fd,
        interpreter=interpreter,
        time_limit=spec.time_seconds,
        grace=spec.grace_seconds,
        volumes={name: there[name] for name in sorted(names) if name in there},
        checkpoint=_checkpoint(spec, there),
        log_limit=around.log_limit if around.log_limit is not None else LOG_LIMIT,
        window=window,
        wake=paths.wake,
        keeper_argv=around.keeper_argv,
    )


def _checkpoint(spec: JobSpec, there: Mapping[str, str]) -> str | None:
    if spec.checkpoint is None or spec.checkpoint.volume not in there:
        return None
    return volumes.inside(there[spec.checkpoint.volume], spec.checkpoint.dir, what=f"volume {spec.checkpoint.volume}")


def slots_of(places: Iterable[Sequence[PodPlace]], lease: Callable[[int], Lease]) -> Iterator[Slot]:
    """The scheduler's places as slots of leases, device by device in order."""
    for slot in places:
        yield Slot(pods=tuple(tuple(lease(index) for index in pod.devices) for pod in slot))


def _bare(lease: Lease) -> Lease:
    return msgspec.structs.replace(lease, fd=None)


def _scratch_parent() -> str:
    """A directory short enough for sockets. TMPDIR is often deep below a home directory."""
    parent = tempfile.gettempdir()
    return parent if len(os.fsencode(parent)) + len(f"/{SCRATCH_PREFIX}12345678") <= _SCRATCH_LONGEST else "/tmp"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
