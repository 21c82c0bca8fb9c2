"""The keeper: one at a time, gone when nothing waits, replaced when the store under it is another one."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from gpuctl.clusters.local import heal, processes
from gpuctl.clusters.local.launchplan import LaunchPlan
from gpuctl.clusters.local.rounds import listening
from gpuctl.model.ask import JobChange
from gpuctl.model.job import Job, State
from gpuctl.model.spec import ArraySpec
from tests.fakes.machine import LocalPlace

PATIENCE = 30.0


@pytest.fixture
def place(home: Path) -> Iterator[LocalPlace]:
    made = LocalPlace()
    yield made
    made.close()


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def keepers(place: LocalPlace) -> list[int]:
    """Pids of the processes that hold the keeper's FIFO open."""
    found = []
    for pid in processes.table():
        try:
            names = os.listdir(f"/proc/{pid}/fd")
            if any(os.readlink(f"/proc/{pid}/fd/{name}") == place.paths.wake for name in names):
                found.append(pid)
        except OSError:
            continue
    return found


def blocked(place: LocalPlace) -> tuple[Job, Job]:
    """One job on every slot, and one that waits behind it."""
    first = place.cluster.launch(place.submission("sleep", "60", gpus=2)).job
    second = place.cluster.launch(place.submission("true", gpus=2)).job
    until(lambda: listening(place.paths))
    return first, second


def test_there_is_one_while_something_waits_and_none_afterwards(place: LocalPlace) -> None:
    first, second = blocked(place)
    place.again().launch(place.submission("true", gpus=2))
    assert len(keepers(place)) == 1
    assert place.cluster.job(second.name).reason is not None
    place.cluster.stop(first.name, grace_seconds=0)
    (job,) = place.cluster.wait([second.name], stop=threading.Event(), timeout=PATIENCE)
    assert job.state is State.SUCCEEDED
    until(lambda: not keepers(place))


def test_a_cancelled_task_is_what_is_told_of(place: LocalPlace) -> None:
    array = place.cluster.launch(place.submission("true", hold=True, array=ArraySpec(last=9))).job
    one = place.cluster.stop(f"{array.name}_4")
    assert (one.job.name, one.job.state, one.already) == (f"{array.name}_4", State.CANCELLED, False)
    again = place.cluster.stop(f"{array.name}_4")
    assert (again.job.name, again.already) == (f"{array.name}_4", True)
    several = place.cluster.stop(f"{array.name}_6-8")
    assert (several.job.name, several.job.state) == (array.name, State.QUEUED)
    assert several.sentence == f"job/{array.name}: 3 tasks are being stopped"


def test_a_held_job_needs_none(place: LocalPlace) -> None:
    job = place.cluster.launch(place.submission("true", hold=True)).job
    assert keepers(place) == []
    place.cluster.update(job.name, JobChange(hold=False))
    (ended,) = place.cluster.wait([job.name], stop=threading.Event(), timeout=PATIENCE)
    assert ended.state is State.SUCCEEDED


def test_a_killed_one_is_replaced_by_the_next_command(place: LocalPlace) -> None:
    blocked(place)
    (old,) = keepers(place)
    os.kill(old, signal.SIGKILL)
    until(lambda: not keepers(place))
    place.cluster.job("-")
    until(lambda: keepers(place))


def test_its_own_environment_holds_no_token(place: LocalPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUCTL_TOKEN", "tok-3n")
    monkeypatch.setenv("WANDB_API_KEY", "k3y")
    blocked(place)
    (pid,) = keepers(place)
    env = processes.environment(pid)
    assert env
    assert not {"GPUCTL_TOKEN", "WANDB_API_KEY"} & env.keys()


def test_one_whose_store_a_newer_gpuctl_migrated_leaves_it_alone(place: LocalPlace) -> None:
    blocked(place)
    (old,) = keepers(place)
    connection = sqlite3.connect(place.paths.database)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute(f"PRAGMA user_version = {version + 1}")
    fd = os.open(place.paths.wake, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, b"\n")
    os.close(fd)
    until(lambda: old not in keepers(place))
    until(lambda: "state-newer" in Path(place.paths.keeper_log).read_text())
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def test_a_task_that_failed_is_tried_again_while_its_array_runs(place: LocalPlace) -> None:
    text = '[ "$GPUCTL_ARRAY_INDEX$GPUCTL_ATTEMPT" = 11 ] && exit 3; [ "$GPUCTL_ARRAY_INDEX" = 0 ] && sleep 60; exit 0'
    job = place.cluster.launch(place.submission("sh", "-c", text, gpus=1, retries=1, array=ArraySpec(first=0, last=1))).job
    until(lambda: keepers(place))  # its supervisor called one: no command has looked since

    def second() -> list[State]:
        return [attempt.state for attempt in place.cluster.job(job.name).attempts if (attempt.task, attempt.number) == (1, 2)]

    until(lambda: second() == [State.SUCCEEDED])
    now = place.cluster.job(job.name)
    assert now.state is State.RUNNING
    assert {attempt.task: attempt.state for attempt in now.attempts if attempt.number == 1} == {0: State.RUNNING, 1: State.FAILED}
    until(lambda: not keepers(place))
    place.cluster.stop(job.name, grace_seconds=0)
    (ended,) = place.cluster.wait([job.name], stop=threading.Event(), timeout=PATIENCE)
    assert ended.state is State.CANCELLED


def test_healing_removes_the_scratch_directory_of_a_dead_supervisor_only_if_it_is_ours(place: LocalPlace, tmp_path: Path) -> None:
    job = place.cluster.launch(place.submission("sleep", "60", gpus=1)).job
    until(lambda: place.cluster.job(job.name).state is State.RUNNING)
    plan_path = Path(place.paths.launch(job.id, 1)) / "plan.json"
    plan = msgspec.json.decode(plan_path.read_bytes(), type=LaunchPlan)
    (Path(plan.scratch) / "session").mkdir()
    (supervisor,) = [pid for pid in processes.table() if plan.directory in _command(pid)]
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: place.cluster.job(job.name).state is State.LOST)
    assert not os.path.exists(plan.scratch)

    precious = tmp_path / "precious"
    precious.mkdir()
    plan_path.write_bytes(msgspec.json.encode(msgspec.structs.replace(plan, scratch=str(precious))))
    heal._remove_scratch(str(plan_path))
    assert precious.is_dir()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
