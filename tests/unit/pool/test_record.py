"""My own record: what I ran is known after its cluster has forgotten it."""

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from gpuctl.base import clock
from gpuctl.base.errors import ConflictError, NotFoundError, UnavailableError
from gpuctl.cli import outcome
from gpuctl.model.ask import ExecTarget, JobChange, JobQuery, LogQuery
from gpuctl.model.job import State
from gpuctl.pool import remembering
from gpuctl.pool.direct import DirectPool
from gpuctl.pool.record import Record
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool, stateless, submission

MINE = JobQuery()


def forget(cluster: FakeCluster) -> None:
    """What a time to live does to ended jobs, and an administrator to others."""
    cluster.jobs_by_id.clear()
    cluster.submissions.clear()


@pytest.fixture
def cluster() -> FakeCluster:
    return stateless("res-a")


@pytest.fixture
def pool(cluster: FakeCluster, tmp_path: Path) -> DirectPool:
    return fake_pool(cluster, stateless("res-b"), record_at=tmp_path / "record")


def ran(pool: DirectPool, cluster: FakeCluster, name: str = "train") -> str:
    job = pool.submit(submission(name, cluster="res-a")).job
    cluster.start(job.name)
    cluster.finish(job.name)
    return job.name


@pytest.mark.parametrize("seen_by", ["jobs", "job", "history", "wait"])
def test_an_end_that_was_seen_is_remembered(pool: DirectPool, cluster: FakeCluster, seen_by: str) -> None:
    name = ran(pool, cluster)
    {
        "jobs": lambda: pool.jobs(JobQuery()),
        "job": lambda: pool.job(name),
        "history": lambda: pool.history(MINE),
        "wait": lambda: list(pool.wait([name], stop=threading.Event(), timeout=5)),
    }[seen_by]()
    forget(cluster)
    (job,) = pool.history(MINE).items
    assert (job.name, job.state, job.exit and job.exit.status) == (name, State.SUCCEEDED, 0)
    assert job.placement[0].cluster == "res-a"  # what only the submit knew is kept
    assert pool.job(name).state is State.SUCCEEDED
    assert pool.job("train").id == pool.job(f"job/{name}").id == pool.job(None).id == job.id
    with pytest.raises(NotFoundError):
        pool.job("something-else")
    assert pool.jobs(JobQuery()).items == ()  # a list of what is there, not of what was


def test_history_needs_no_cluster(cluster: FakeCluster, tmp_path: Path) -> None:
    pool = fake_pool(cluster, record_at=tmp_path / "record")
    name = ran(pool, cluster)
    pool.jobs(JobQuery())
    cluster.trouble = NotFoundError("there is no context res-a", code="no-such-context", hint="did you mean res-b?")
    listing = pool.history(MINE)
    assert [(job.name, job.state) for job in listing.items] == [(name, State.SUCCEEDED)]
    assert listing.incomplete == {"res-a": "there is no context res-a; did you mean res-b?"}
    with pytest.raises(NotFoundError):
        pool.jobs(JobQuery())


def test_an_end_that_nobody_saw_is_not_invented(pool: DirectPool, cluster: FakeCluster) -> None:
    name = ran(pool, cluster)
    forget(cluster)
    job = pool.job(name)
    assert job.state is State.LOST
    assert job.reason is not None
    assert job.reason.sentence == "res-a does not know it any more; it was queued when it was last seen"


def test_a_job_that_vanished_is_listed_as_lost_for_a_day(pool: DirectPool, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    recent = JobQuery(user="anna", recent_seconds=86400)
    gone, there = (pool.submit(submission(name, cluster="res-a")).job for name in ("gone", "there"))
    cluster.start(gone.name)
    assert {job.name for job in pool.jobs(recent).items} == {gone.name, there.name}
    del cluster.jobs_by_id[gone.id]
    for _ in range(2):
        first, second = pool.jobs(recent).items
        assert (first.name, second.name, second.state, second.final) == (there.name, gone.name, State.LOST, True)
    assert [job.name for job in pool.jobs(JobQuery(states=frozenset({State.LOST}))).items] == [gone.name]
    assert pool.jobs(JobQuery(states=frozenset({State.RUNNING}))).items == ()
    assert pool.jobs(JobQuery(user="bob")).items == ()
    why = pool.explain(gone.name).reason
    assert (why.code, why.sentence) == ("lost", "res-a does not know it any more; it was queued when it was last seen")
    assert pool.cancel(gone.name).already
    later = clock.now() + timedelta(days=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert [job.name for job in pool.jobs(recent).items] == [there.name]
    assert {job.state for job in pool.history(JobQuery(name="gone*")).items} == {State.LOST}


@pytest.mark.parametrize("several", [True, False])
def test_a_wait_ends_for_a_job_that_vanished(cluster: FakeCluster, tmp_path: Path, several: bool) -> None:
    others = [stateless("res-b")] if several else []
    pool = fake_pool(cluster, *others, record_at=tmp_path / "record")
    gone, there = (pool.submit(submission(name, cluster="res-a")).job for name in ("gone", "there"))
    del cluster.jobs_by_id[gone.id]
    ended = iter(pool.wait([there.name, gone.name, gone.id], stop=threading.Event(), timeout=20))
    first = next(ended)
    assert (first.name, first.state, outcome.code_of(first)) == (gone.name, State.LOST, 125)
    cluster.start(there.name)
    cluster.finish(there.name)
    assert [(job.name, job.state) for job in ended] == [(there.name, State.SUCCEEDED)]
    assert [job.state for job in pool.wait([gone.name], stop=threading.Event(), timeout=0)] == [State.LOST]
    assert {job.name for job in pool.jobs(JobQuery(recent_seconds=86400)).items} == {there.name, gone.name}  # still listed
    for refs in (["nobody"], [gone.name, "nobody"]):
        with pytest.raises(NotFoundError) as caught:
            list(pool.wait(refs, stop=threading.Event(), timeout=0))
        assert caught.value.code == "job-not-found"


def test_of_a_job_that_vanished_no_log_is_left(pool: DirectPool, cluster: FakeCluster) -> None:
    plain = pool.submit(submission("plain", cluster="res-a")).job
    kept = pool.submit(submission("kept", cluster="res-a")).job
    found = pool.submit(submission("there", cluster="res-a")).job
    del cluster.jobs_by_id[plain.id]
    with pytest.raises(NotFoundError) as caught:
        pool.logs(plain.name, LogQuery(), stop=threading.Event())
    assert (caught.value.code, caught.value.hint) == ("log-gone", f"gpuctl rerun {plain.name} --logs-to VOLUME")
    assert caught.value.message == f"nothing is left of the log of job/{plain.name}: res-a does not know the job any more"
    assert list(pool.logs(found.name, LogQuery(), stop=threading.Event())) == []
    with pytest.raises(NotFoundError) as caught:
        pool.logs("nobody", LogQuery(), stop=threading.Event())
    assert caught.value.code == "job-not-found"
    on_volume = msgspec.structs.replace(kept, spec=msgspec.structs.replace(kept.spec, logs_to="data:/logs/"))
    assert remembering.log_gone(on_volume).hint == "gpuctl volumes files data logs"


ENTER: dict[str, Callable[[DirectPool, str], object]] = {
    "enter": lambda pool, ref: pool.exec(ref, ExecTarget(), ["true"], tty=False),
    "copy out of": lambda pool, ref: pool.copy_out(ref, "x", "x"),
    "forward a port of": lambda pool, ref: list(pool.forward(ref, remote="80", local_port=None, stop=threading.Event())),
    "look into": lambda pool, ref: pool.top(ref),
    "update": lambda pool, ref: pool.update(ref, JobChange(priority=1)),
}


@pytest.mark.parametrize("what", ENTER)
def test_who_wants_something_of_a_job_that_is_gone_is_told_what_became_of_it(
    pool: DirectPool, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    gone = pool.submit(submission("gone", cluster="res-a")).job
    ended = ran(pool, cluster, "ended")
    pool.jobs(MINE)
    forget(cluster)
    with pytest.raises(ConflictError) as caught:
        ENTER[what](pool, gone.name)
    assert (caught.value.code, caught.value.message) == ("not-running", f"cannot {what} {gone.name}: it was lost")
    assert caught.value.cause == "res-a does not know it any more; it was queued when it was last seen"
    assert caught.value.hint == f"gpuctl why {gone.name}    or: gpuctl rerun {gone.name}"
    noticed = {job.name: job.ended_at for job in pool.jobs(MINE).items}[gone.name]
    assert noticed is not None
    later = noticed + timedelta(minutes=5)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(ConflictError) as caught:
        ENTER[what](pool, gone.name)
    assert str(caught.value.cause).endswith("; that was noticed 5m00s ago")
    with pytest.raises(ConflictError) as caught:
        ENTER[what](pool, ended)
    assert (caught.value.message, caught.value.cause) == (f"cannot {what} {ended}: it has succeeded", "res-a does not know it any more")
    with pytest.raises(NotFoundError) as missing:
        ENTER[what](pool, "nobody")
    assert missing.value.code == "job-not-found"


def test_a_job_on_a_cluster_that_is_away_has_not_vanished(pool: DirectPool, cluster: FakeCluster) -> None:
    pool.submit(submission(cluster="res-a"))
    cluster.trouble = UnavailableError("cannot reach res-a")
    (job,) = pool.jobs(JobQuery()).items
    assert (job.state, job.unknown) == (State.QUEUED, ("state",))


def test_a_cluster_that_does_not_answer_has_forgotten_nothing(pool: DirectPool, cluster: FakeCluster) -> None:
    name = ran(pool, cluster)
    cluster.trouble = UnavailableError("cannot reach res-a")
    listing = pool.history(MINE)
    assert [(job.name, job.state) for job in listing.items] == [(name, State.QUEUED)]
    assert list(listing.incomplete) == ["res-a"]
    with pytest.raises(UnavailableError):
        pool.job(name)


def test_what_the_cluster_says_wins_and_nothing_is_told_twice(pool: DirectPool, cluster: FakeCluster) -> None:
    first, second = ran(pool, cluster, "first"), pool.submit(submission("second", cluster="res-b")).job.name
    by_name = {job.name: job.state for job in pool.history(MINE).items}
    assert by_name == {first: State.SUCCEEDED, second: State.QUEUED}


def test_filters_and_limits_hold_for_what_is_remembered(pool: DirectPool, cluster: FakeCluster) -> None:
    names = [ran(pool, cluster, name) for name in ("llama", "llama-eval", "prep")]
    pool.history(MINE)
    forget(cluster)
    assert {job.name for job in pool.history(JobQuery(name="llama*")).items} == set(names[:2])
    assert pool.history(JobQuery(states=frozenset({State.FAILED}))).items == ()
    assert [job.name for job in pool.history(JobQuery(limit=1)).items] == [names[2]]
    assert pool.history(JobQuery(labels={"team": "x"})).items == ()


def test_a_job_in_another_state_by_now_is_not_taken_for_a_forgotten_one(pool: DirectPool, cluster: FakeCluster) -> None:
    job = pool.submit(submission(cluster="res-a")).job
    cluster.start(job.name)
    assert pool.history(JobQuery(states=frozenset({State.QUEUED, State.LOST}))).items == ()


def test_nothing_is_written_twice_where_a_machine_keeps_its_own_store(tmp_path: Path) -> None:
    pool = fake_pool(FakeCluster(), record_at=None)
    pool.submit(submission())
    pool.history(MINE)
    assert list(tmp_path.iterdir()) == []


def test_the_record_is_private(pool: DirectPool, cluster: FakeCluster, tmp_path: Path) -> None:
    ran(pool, cluster)
    pool.history(MINE)
    pool.submit(submission("second"))
    files = [path for path in (tmp_path / "record").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "record" / "open").stat().st_mode & 0o777 == 0o700


def test_torn_and_strange_lines_are_skipped_and_closed(pool: DirectPool, cluster: FakeCluster, tmp_path: Path) -> None:
    ran(pool, cluster, "first")
    pool.history(MINE)
    ended = tmp_path / "record" / "ended.jsonl"
    ended.write_bytes(b'\xff\xfe\n{"id": 3}\n' + ended.read_bytes() + b'{"id": "torn by a full di')
    (tmp_path / "record" / "open" / "strange.json").write_bytes(b"{")
    ran(pool, cluster, "second")
    pool.history(MINE)
    forget(cluster)
    assert {job.base_name for job in pool.history(MINE).items} == {"first", "second"}


def test_a_crash_between_line_and_removal_leaves_one_job(pool: DirectPool, cluster: FakeCluster, tmp_path: Path) -> None:
    name = ran(pool, cluster)
    kept = {path: path.read_bytes() for path in (tmp_path / "record" / "open").iterdir()}
    pool.history(MINE)
    for path, content in kept.items():
        path.write_bytes(content)
    forget(cluster)
    assert [(job.name, job.state) for job in pool.history(MINE).items] == [(name, State.SUCCEEDED)]


def test_a_record_that_cannot_be_written_costs_a_note_not_the_job(cluster: FakeCluster, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    pool = fake_pool(cluster, record_at=blocked / "record")
    submitted = pool.submit(submission())
    assert len(cluster.jobs_by_id) == 1
    (note,) = submitted.notes
    assert note.startswith("the job is not in your own record")
    assert len(pool.jobs(JobQuery()).items) == 1
    assert len(pool.history(MINE).items) == 1


def test_settling_at_once_from_several_processes_keeps_whole_lines(cluster: FakeCluster, tmp_path: Path) -> None:
    directory = str(tmp_path / "record")
    jobs = []
    for number in range(40):
        job = fake_pool(cluster).submit(submission(f"job-{number}")).job
        jobs.append(msgspec.structs.replace(job, state=State.SUCCEEDED, labels={"long": "x" * 5000}))
        Record(directory).submitted(job)
    threads = [threading.Thread(target=lambda part=jobs[start::4]: Record(directory).saw(part)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {job.id for job in Record(directory).jobs().values() if job.final} == {job.id for job in jobs}
    assert os.listdir(f"{directory}/open") == []


def test_ids_that_are_no_file_names(cluster: FakeCluster, tmp_path: Path) -> None:
    job = msgspec.structs.replace(fake_pool(cluster).submit(submission()).job, id="../../etc/passwd")
    record = Record(str(tmp_path / "record"))
    assert record.submitted(job) is None
    assert list(record.jobs()) == [job.id]
    record.saw([msgspec.structs.replace(job, state=State.FAILED)])
    assert record.jobs()[job.id].state is State.FAILED
    assert {path.name for path in tmp_path.iterdir()} == {"record"}
