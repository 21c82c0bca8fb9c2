"""kill -9 of whoever decides, at every step: no accepted job is lost, none runs twice, no device is leased by the dead."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.clusters.local import keeper
from gpuctl.clusters.local.store import Database, launches
from gpuctl.model.ask import JobQuery, Submission
from gpuctl.model.job import Job, State
from gpuctl.model.spec import ArraySpec
from tests.crash.killing import run_until
from tests.fakes.machine import LocalPlace

PATIENCE = 60.0


@pytest.fixture
def place() -> Iterator[LocalPlace]:
    made = LocalPlace(slots=2)
    yield made
    made.close()


def tally(home: Path, number: int) -> Path:
    return home / f"ran-{number}"


def submission_that_tells(place: LocalPlace, home: Path, number: int) -> Submission:
    """A job that writes a line whenever it runs."""
    return place.submission("sh", "-c", f"echo $GPUCTL_JOB_ID >> {tally(home, number)}", gpus=2)


def end_of(place: LocalPlace, *names: str) -> list[Job]:
    return list(place.cluster.wait(names, stop=threading.Event(), timeout=PATIENCE))


def assert_erased(place: LocalPlace, job: Job) -> None:
    """Its environment goes right after the end is written down, by whoever wrote that; we may have read the end in between."""
    ends = time.monotonic() + PATIENCE
    while os.path.exists(place.paths.sealed(job.id)):
        assert time.monotonic() < ends, f"the environment of {job.name} is still there"
        time.sleep(0.02)


def assert_ran_once(place: LocalPlace, home: Path, number: int, job: Job) -> None:
    assert job.state is State.SUCCEEDED, (number, job)
    assert tally(home, number).read_text().split() == [job.id]
    assert [attempt.number for attempt in job.attempts] == [1]
    assert all(device.free for device in place.cluster.nodes().items[0].devices), number
    assert_erased(place, job)


def test_submit_killed_at_every_step(place: LocalPlace, home: Path) -> None:
    end_of(place, place.cluster.launch(place.submission("true")).job.name)  # the store is there
    step = 0
    whole = False
    while not whole:
        step += 1
        submission = submission_that_tells(place, home, step)
        whole = run_until(step, lambda asked=submission: place.again().launch(asked))  # type: ignore[misc]
        if step % 4 == 0 or whole:
            # Somebody submits the same again: it is that one job, whether or not it had been accepted.
            job = place.cluster.launch(submission).job
            (ended,) = end_of(place, job.name)
            assert_ran_once(place, home, step, ended)
            continue
        # Or nobody does: what was accepted runs, what was not never does.
        for job in end_of(place, *(each.name for each in place.cluster.jobs(JobQuery()).items if each.request_id == submission.request_id)):
            assert_ran_once(place, home, step, job)
    assert step > 40, "the harness saw no steps"


def test_keeper_killed_at_every_step(place: LocalPlace, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The end of a job starts a keeper where none is: it would do what the next one is to be killed at.
    monkeypatch.setattr(keeper, "argv", lambda **_: ("true",))
    step = 0
    whole = False
    while not whole:
        step += 1
        held = place.cluster.launch(place.submission("sh", "-c", f"echo $GPUCTL_JOB_ID >> {tally(home, step)}", gpus=2, hold=True)).job
        with Database(place.paths).write() as connection:  # a release whose process was killed before it told anybody
            connection.execute("UPDATE jobs SET hold = 0 WHERE id = ?", (held.id,))
        whole = run_until(step, lambda: place.again().keep())
        place.again().keep()  # another one, which finds what the first one has left
        (ended,) = end_of(place, held.name)
        assert_ran_once(place, home, step, ended)
    assert step > 20, "the harness saw no steps"


def test_cancel_killed_at_every_step_ends_or_changes_nothing(place: LocalPlace) -> None:
    step = 0
    whole = False
    while not whole:
        step += 1
        job = place.cluster.launch(place.submission("sleep", "60")).job
        whole = run_until(step, lambda name=job.name: place.again().stop(name, grace_seconds=0))  # type: ignore[misc]
        place.cluster.stop(job.name, grace_seconds=0)
        (ended,) = end_of(place, job.name)
        assert ended.state is State.CANCELLED
    assert step > 10, "the harness saw no steps"


def test_fifty_submits_at_once(place: LocalPlace, home: Path) -> None:
    children = []
    for number in range(50):
        submission = place.submission("sh", "-c", f"echo $GPUCTL_JOB_ID >> {tally(home, number)}")
        pid = os.fork()
        if pid == 0:
            try:
                place.again().launch(submission)
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    jobs = place.cluster.jobs(JobQuery()).items
    assert len({job.name for job in jobs}) == 50
    ended = end_of(place, *(job.name for job in jobs))
    assert {job.state for job in ended} == {State.SUCCEEDED}
    ran = [tally(home, number).read_text().split() for number in range(50)]
    assert sorted(line for lines in ran for line in lines) == sorted(job.id for job in jobs)
    assert all(len(lines) == 1 for lines in ran)


def supervisor_of(place: LocalPlace, job: Job) -> int:
    """The pid of a job's supervisor, once it has said it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        place.cluster.job(job.name)
        with Database(place.paths).read() as connection:
            launch = launches.last(connection, job.id)
        if launch is not None and launch.pid is not None and place.cluster.job(job.name).state is State.RUNNING:
            return launch.pid
        time.sleep(0.02)
    raise AssertionError("no supervisor")


def test_a_killed_supervisor_is_a_lost_attempt_and_frees_its_devices(place: LocalPlace) -> None:
    job = place.cluster.launch(place.submission("sleep", "60", gpus=2)).job
    os.kill(supervisor_of(place, job), signal.SIGKILL)
    (ended,) = end_of(place, job.name)
    assert ended.state is State.LOST
    assert place.cluster.explain(job.name).reason.code == "supervisor-died"
    assert all(device.free for device in place.cluster.nodes().items[0].devices)
    (after,) = end_of(place, place.cluster.launch(place.submission("true", gpus=2)).job.name)
    assert after.state is State.SUCCEEDED


def test_what_waited_behind_a_killed_supervisor_starts(place: LocalPlace) -> None:
    first = place.cluster.launch(place.submission("sleep", "60", gpus=2)).job
    second = place.cluster.launch(place.submission("true", gpus=2)).job
    assert second.state is State.QUEUED
    pid = supervisor_of(place, first)
    os.kill(pid, signal.SIGKILL)
    # Only the keeper is left to notice: nothing here looks until the job has had its time.
    final = "SELECT ended_at IS NOT NULL FROM jobs WHERE id = ?"
    deadline = time.monotonic() + PATIENCE
    database = Database(place.paths)
    done = False
    while not done and time.monotonic() < deadline:
        time.sleep(0.05)
        with database.read() as connection:
            done = bool(connection.execute(final, (second.id,)).fetchone()[0])
    database.close()
    assert done
    assert place.cluster.job(second.name).state is State.SUCCEEDED


def test_a_killed_supervisor_of_an_array_repeats_only_what_was_running(place: LocalPlace, home: Path) -> None:
    script = f"echo $GPUCTL_ARRAY_INDEX.$GPUCTL_ATTEMPT >> {home}/tasks; test $GPUCTL_ARRAY_INDEX$GPUCTL_ATTEMPT != 21 || sleep 60"
    array = ArraySpec(first=0, last=5, parallel=1)
    job = place.cluster.launch(place.submission("sh", "-c", script, array=array, requeue=True)).job
    deadline = time.monotonic() + PATIENCE
    while not (home / "tasks").exists() or "2.1" not in (home / "tasks").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(supervisor_of(place, job), signal.SIGKILL)
    (ended,) = end_of(place, job.name)
    assert ended.state is State.SUCCEEDED
    assert ended.tasks is not None
    assert ended.tasks.succeeded == 6
    assert sorted((home / "tasks").read_text().split()) == ["0.1", "1.1", "2.1", "2.2", "3.1", "4.1", "5.1"]
