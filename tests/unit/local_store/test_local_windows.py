"""The local pool under a schedule: what waits says until when, what runs knows its end, a file that became wrong ends nothing."""

import os
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from gpuctl.base.errors import GpuctlError, InvalidInput, UsageError
from gpuctl.clusters.local.cluster import LocalCluster, build
from gpuctl.model.job import State
from tests.fakes.machine import LocalPlace

SCHEDULE = """
apiVersion: gpuctl.io/v1alpha1
kind: PoolSchedule
metadata: {{name: ws}}
spec:
  pool: {{clusters: [{cluster}]}}
  timeZone: UTC
  defaultOwner: platform
  windows:
  - {{name: shift, owner: {owner}, start: "{start:%M %H} * * *", end: "{end:%M %H} * * *",
     drain: {{lead: 0s, grace: 5s, policy: {policy}}}}}
"""


class Shifts:
    """A machine with a schedule file whose one window lies around now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = datetime.now(timezone.utc)
        self.end = (self.now + timedelta(hours=2)).replace(second=0, microsecond=0)
        self.place = LocalPlace()

    def write(self, *, owner: str = "team-a", policy: str = "Evict", cluster: str = "local") -> None:
        start = self.now - timedelta(hours=1)
        draft = self.path.with_suffix(".new")
        draft.write_text(SCHEDULE.format(owner=owner, policy=policy, cluster=cluster, start=start, end=self.end))
        os.replace(draft, self.path)

    def cluster(self, team: str | None = "team-a") -> LocalCluster:
        options = {**self.place.options, "schedule": str(self.path), **({"team": team} if team else {})}
        return build("local", options)


@pytest.fixture
def shifts(home: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Shifts(tmp_path / "shifts.yaml")
    made.write()
    yield made
    made.place.close()


def settled(cluster: LocalCluster, name: str, state: State) -> None:
    deadline = time.monotonic() + 20
    while cluster.job(name).state is not state:
        assert time.monotonic() < deadline, cluster.job(name)
        time.sleep(0.05)


def test_a_job_of_the_owner_starts_and_knows_when_it_is_cut(shifts: Shifts) -> None:
    cluster = shifts.cluster()
    submitted = cluster.launch(shifts.place.submission("sleep", "60"))
    settled(cluster, submitted.job.name, State.RUNNING)
    job = cluster.job(submitted.job.name)
    assert (job.team, job.ends_by) == ("team-a", shifts.end)
    assert submitted.notes[0].startswith("will be cut at ")
    assert "--requeue puts it back in line then" in submitted.notes[0]
    assert [note.code for note in cluster.explain(job.name).also] == ["window"]
    cluster.close()


def test_a_time_limit_that_ends_before_is_what_ends_it(shifts: Shifts) -> None:
    cluster = shifts.cluster()
    submitted = cluster.launch(shifts.place.submission("sleep", "60", time="10m"))
    assert submitted.notes == ()
    settled(cluster, submitted.job.name, State.RUNNING)
    job = cluster.job(submitted.job.name)
    assert job.started_at is not None
    assert job.ends_by == job.started_at + timedelta(minutes=10)
    cluster.close()


def test_a_job_of_others_waits_and_says_until_when(shifts: Shifts) -> None:
    cluster = shifts.cluster("platform")
    job = cluster.launch(shifts.place.submission("true")).job
    deadline = time.monotonic() + 10
    while (found := cluster.job(job.name)).reason is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (found.state, found.reason.code, found.expected_start) == (State.QUEUED, "window", shifts.end)
    assert "belongs to team-a" in cluster.explain(job.name).reason.sentence
    cluster.close()


def test_plan_says_both(shifts: Shifts) -> None:
    mine, theirs = shifts.cluster(), shifts.cluster("platform")
    option = mine.plan(shifts.place.submission("true")).options[0]
    assert option.now
    assert option.reason is not None
    assert option.reason.sentence.startswith("will be cut at ")
    waits = theirs.plan(shifts.place.submission("true")).options[0]
    assert (waits.now, waits.at) == (False, shifts.end)
    for cluster in (mine, theirs):
        cluster.close()


def test_an_edited_schedule_reaches_what_runs(shifts: Shifts) -> None:
    cluster = shifts.cluster()
    job = cluster.launch(shifts.place.submission("sleep", "60")).job
    settled(cluster, job.name, State.RUNNING)
    shifts.write(policy="Never")
    assert [status.nodes for status in cluster.schedules().items] == [(cluster.nodes().items[0].name,)]
    deadline = time.monotonic() + 10
    while cluster.job(job.name).ends_by is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cluster.close()


def test_a_file_that_became_wrong_ends_nothing_and_is_told(shifts: Shifts) -> None:
    cluster = shifts.cluster()
    job = cluster.launch(shifts.place.submission("sleep", "60")).job
    settled(cluster, job.name, State.RUNNING)
    shifts.path.write_text("kind: nonsense\n")
    with pytest.raises(InvalidInput) as error:
        cluster.schedules()
    assert error.value.code == "bad-schedule"
    assert cluster.job(job.name).ends_by == shifts.end
    assert cluster.nodes().items[0].owner == "team-a"
    fresh = shifts.cluster()
    node = fresh.nodes().items[0]
    assert not node.ready
    assert node.why is not None
    assert "cannot use schedule" in node.why
    for each in (cluster, fresh):
        each.close()


def test_a_file_that_is_not_there(shifts: Shifts) -> None:
    shifts.path.unlink()
    cluster = shifts.cluster()
    with pytest.raises(UsageError):
        cluster.schedules()
    assert not cluster.nodes().items[0].ready
    cluster.close()


def test_a_schedule_about_other_machines_changes_nothing(shifts: Shifts) -> None:
    shifts.write(cluster="elsewhere")
    cluster = shifts.cluster(None)
    assert cluster.nodes().items[0].owner is None
    assert cluster.schedules().items[0].nodes == ()
    job = cluster.launch(shifts.place.submission("true")).job
    settled(cluster, job.name, State.SUCCEEDED)
    cluster.close()


def test_options_are_checked(home: Path) -> None:
    with pytest.raises(GpuctlError) as error:
        build("local", {"schedule": "relative.yaml", "team": "Team A"})
    assert isinstance(error.value, InvalidInput)
    assert {problem.field for problem in error.value.problems} == {"schedule", "team"}
