"""What is read out of the store: references, listings, usage; and what goes into it from journals."""

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from gpuctl.base.errors import ConflictError, NotFoundError
from gpuctl.clusters.local import heal, ingest, lookup, paths, usage, views
from gpuctl.clusters.local.journal import Journal
from gpuctl.clusters.local.launchplan import Lease, Slot
from gpuctl.clusters.local.store import Database, attempts, jobs, launches, tasks
from gpuctl.clusters.local.store.jobs import Accepted
from gpuctl.model.ask import JobQuery
from gpuctl.model.job import Exit, State, TaskCounts
from gpuctl.model.spec import ArraySpec
from tests.fakes.machine import submission

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc).timestamp()
ONE = Slot(pods=((Lease(index=4, uuid="slot-4", kind="slot", lock="/x"), Lease(index=5, uuid="slot-5", kind="slot", lock="/y")),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    opened = Database(paths.prepare(str(tmp_path / "state")))
    yield opened
    opened.close()


def accept(store: Database, job_id: str, name: str, *, at: float = NOON, base: str = "job", **spec: object) -> None:
    with store.write() as connection:
        asked = submission("true", base_name=base, **spec)
        jobs.insert(connection, Accepted(id=job_id, asked="x", name=name, user="anna", at=at, submission=asked))


def launch(store: Database, job_id: str, *, array: bool = False) -> Journal:
    Path(store.paths.launch(job_id, 1)).mkdir(parents=True)
    with store.write() as connection:
        launches.insert(connection, job_id, 1, boot="b", at=NOON, slots=(ONE,))
        if not array:
            attempts.begin(connection, job_id, -1, 1, launch=1, pods=(), at=None)
    return Journal(f"{store.paths.launch(job_id, 1)}/journal")


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    from gpuctl.clusters.local import journal

    monkeypatch.setattr(journal.time, "time", lambda: seconds)


# -- references -------------------------------------------------------------------------------------------------------------------


def test_references(store: Database) -> None:
    accept(store, "abc111", "job-a", at=NOON)
    accept(store, "abc222", "job-b", at=NOON + 1)
    accept(store, "def333", "sweep-c", at=NOON - 1, base="sweep", array=ArraySpec(first=0, last=9))
    with store.read() as connection:
        assert lookup.resolve(connection, "job").name == "job-b"
        assert lookup.resolve(connection, "-").name == "job-b"
        assert lookup.resolve(connection, "job/job-a").job_id == "abc111"
        assert lookup.resolve(connection, "abc1").job_id == "abc111"
        assert lookup.resolve(connection, "sweep_7") == ("def333", "sweep-c", (7,))
        assert lookup.resolve(connection, "sweep-c_3-5").tasks == (3, 4, 5)
        with pytest.raises(ConflictError, match="ambiguous") as ambiguous:
            lookup.resolve(connection, "abc")
        assert "job-a" in (ambiguous.value.cause or "")
        assert "job-b" in (ambiguous.value.cause or "")
        for wrong in ("sweep_10", "job-a_0", "ab", "nobody"):
            with pytest.raises(NotFoundError):
                lookup.resolve(connection, wrong)
        with pytest.raises(NotFoundError) as near:
            lookup.resolve(connection, "swep")
        assert near.value.cause == "the nearest name is sweep"


# -- journals ---------------------------------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_gives_no_negative_time(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(store, "one", "job-a", gpus=2)
    journal = launch(store, "one")
    at(monkeypatch, NOON + 100)
    journal.write("task-started", attempt=1, devices=[4, 5])
    at(monkeypatch, NOON - 5000)
    journal.write("rank-ended", attempt=1, rank=0, code=0)
    journal.write("task-ended", attempt=1, state="succeeded", code=0)
    journal.write("ended")
    assert ingest.ingest(store, node="here")
    with store.read() as connection:
        (attempt,) = attempts.of_job(connection, "one", cluster="local")
        assert attempt.started_at is not None
        assert attempt.ended_at == attempt.started_at
        assert attempt.exit == Exit(code=0)
        (end,) = attempts.unjudged(connection)
        assert end.state is State.SUCCEEDED


@pytest.mark.parametrize(("set_back", "kept"), [(0, True), (300, True), (7200, False)])
def test_a_clock_that_goes_back_does_not_prolong_the_pause_between_attempts(store: Database, set_back: float, kept: bool) -> None:
    accept(store, "one", "job-a")
    accept(store, "two", "sweep", array=ArraySpec(last=3))
    with store.write() as connection:
        jobs.requeue(connection, "one", at=NOON, not_before=NOON + 10, counts=True, reason=None)
        connection.execute("INSERT INTO tasks (job, task, state, attempts, not_before) VALUES ('two', 1, 'queued', 1, ?)", (NOON + 10,))
    assert not heal.heal(store, node="here", now=NOON - set_back)
    with store.read() as connection:
        (job,) = connection.execute("SELECT not_before FROM jobs WHERE id = 'one'").fetchone()
        (task,) = connection.execute("SELECT not_before FROM tasks WHERE job = 'two'").fetchone()
    assert (job, task) == ((NOON + 10, NOON + 10) if kept else (None, None))


def test_a_journal_is_ingested_once_and_in_pieces(store: Database) -> None:
    accept(store, "one", "job-a")
    journal = launch(store, "one")
    journal.write("task-started", attempt=1, devices=[4, 5])
    journal.write("evidence", attempt=1, rank=0, code="note", text="seen", data={"a": 1})
    assert ingest.ingest(store, node="here")
    assert not ingest.ingest(store, node="here")
    path = Path(f"{store.paths.launch('one', 1)}/journal")
    with path.open("ab") as file:
        file.write(b'{"seq":3,"at":1,"what":"no')  # torn by a crash
    ingest.ingest(store, node="here")
    with store.read() as connection:
        count = connection.execute("SELECT count(*) FROM evidence").fetchone()[0]
        assert count == 1
        assert jobs.state(connection, "one") is State.RUNNING
        assert attempts.of_job(connection, "one", cluster="local")[0].state is State.RUNNING


def test_a_launch_that_ends_without_a_word_about_its_attempt_lost_it(store: Database) -> None:
    accept(store, "one", "job-a")
    launch(store, "one").write("ended")
    ingest.ingest(store, node="here")
    with store.read() as connection:
        (end,) = attempts.unjudged(connection)
    assert (end.state, end.infrastructure, end.began) == (State.LOST, True, False)


def test_tasks_of_an_array(store: Database) -> None:
    accept(store, "arr", "sweep-a", array=ArraySpec(first=0, last=4))
    journal = launch(store, "arr", array=True)
    journal.write("task-started", task=0, attempt=1, devices=[4, 5])
    journal.write("task-ended", task=0, attempt=1, state="succeeded", code=0)
    journal.write("task-started", task=1, attempt=1, devices=[4, 5])
    journal.write("task-ended", task=1, attempt=1, state="failed", code=2)
    journal.write("task-started", task=2, attempt=1, devices=[4, 5])
    ingest.ingest(store, node="here")
    with store.read() as connection:
        assert tasks.counts(connection, {"arr": 5})["arr"] == TaskCounts(queued=2, running=2, succeeded=1)
        assert [(end.task, end.state) for end in attempts.unjudged(connection)] == [(1, State.FAILED)]
        rows = views.listing(connection, JobQuery(tasks=True), cluster="local")
    assert [(row.name, row.state) for row in rows][:3] == [
        ("sweep-a_0", State.SUCCEEDED),
        ("sweep-a_1", State.RUNNING),
        ("sweep-a_2", State.RUNNING),
    ]


# -- listings and usage -----------------------------------------------------------------------------------------------------------


def test_listing_filters(store: Database) -> None:
    for number in range(6):
        accept(store, f"id{number}", f"job-{number}", at=NOON + number)
    with store.write() as connection:
        for number in range(3):
            jobs.finish(connection, f"id{number}", State.FAILED, at=NOON + 10 * number, how=Exit(code=1), reason=None)

    def names(connection: sqlite3.Connection, now: float, query: JobQuery) -> list[str]:
        return [row[1] for row in jobs.select(connection, query, now=now)]

    with store.read() as connection:
        assert names(connection, NOON, JobQuery()) == ["job-5", "job-4", "job-3", "job-2", "job-1", "job-0"]
        assert names(connection, NOON + 25, JobQuery(recent_seconds=10)) == ["job-5", "job-4", "job-3", "job-2"]
        assert names(connection, NOON, JobQuery(name="job-[12]")) == ["job-2", "job-1"]
        assert names(connection, NOON, JobQuery(user="bert")) == []
        assert names(connection, NOON, JobQuery(states=frozenset({State.FAILED}), limit=2)) == ["job-2", "job-1"]
        since = datetime.fromtimestamp(NOON + 4, timezone.utc)
        assert names(connection, NOON, JobQuery(since=since)) == ["job-5", "job-4"]


def test_a_final_state_stays(store: Database) -> None:
    accept(store, "one", "job-a")
    with store.write() as connection:
        assert jobs.finish(connection, "one", State.FAILED, at=NOON + 1, how=Exit(code=1), reason=None)
        assert not jobs.finish(connection, "one", State.CANCELLED, at=NOON + 2, how=None, reason=None)
        assert jobs.state(connection, "one") is State.FAILED


def test_usage_is_split_at_midnight_and_adds_up(store: Database) -> None:
    accept(store, "one", "job-a", gpus=2)
    began, ended = NOON + 11.6 * 3600 + 0.7, NOON + 36.3 * 3600 + 0.9
    with store.write() as connection:
        launches.insert(connection, "one", 1, boot="b", at=NOON, slots=(ONE,))
        attempts.begin(connection, "one", -1, 1, launch=1, pods=(), at=began)
        attempts.end(connection, "one", -1, 1, state=State.SUCCEEDED, at=ended, how=Exit(code=0))
        rows = usage.rows(connection, JobQuery(), cluster="local")
    assert [row.day for row in rows] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert rows[1].gpu_seconds == 2 * 86400
    assert sum(row.gpu_seconds for row in rows) == 2 * (int(ended) - int(began))
    assert {row.user for row in rows} == {"anna"}


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (0, 0, [("1970-01-01", 0)]),
        (86399, 86401, [("1970-01-01", 1), ("1970-01-02", 1)]),
        (86399, 86400, [("1970-01-01", 1)]),
        (50, 10, [("1970-01-01", 0)]),
    ],
)
def test_days(begin: int, end: int, expected: list[tuple[str, int]]) -> None:
    assert list(usage.by_day(begin, end)) == expected
