"""Clusters that are dead, slow, forbidden or half-configured: a row each, named, and nobody else waits for them."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuctl.base.errors import AuthError, InvalidInput, NotAllowedError, Problem, UnavailableError
from gpuctl.model.ask import JobQuery
from gpuctl.model.job import State
from gpuctl.pool.broken import BrokenCluster
from gpuctl.pool.direct import DirectPool
from gpuctl.pool.members import Member, Members
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool, stateless, submission

LISTS: dict[str, Callable[[DirectPool], object]] = {
    "jobs": lambda pool: pool.jobs(JobQuery()),
    "history": lambda pool: pool.history(JobQuery()),
    "nodes": lambda pool: pool.nodes(),
    "clusters": lambda pool: pool.clusters(),
    "quota": lambda pool: pool.quota(),
    "usage": lambda pool: pool.usage(JobQuery()),
    "volumes": lambda pool: pool.volumes(),
    "top": lambda pool: pool.top(None),
}


class Hanging(FakeCluster):
    """It accepts every call and never answers."""

    released = threading.Event()

    def _gate(self, method: str) -> None:
        self.calls.append(method)
        self.released.wait(60)


@pytest.mark.parametrize("verb", LISTS)
def test_a_cluster_that_hangs_is_named_and_costs_its_deadline_once(verb: str) -> None:
    Hanging.released = threading.Event()
    pool = fake_pool(Hanging("first"), stateless("good"), Hanging("third"), deadline=0.3)
    began = time.monotonic()
    listing = LISTS[verb](pool)
    took = time.monotonic() - began
    Hanging.released.set()
    assert set(listing.incomplete) == {"first", "third"}  # type: ignore[attr-defined]
    assert all("did not answer in 0.3 s" in why for why in listing.incomplete.values())  # type: ignore[attr-defined]
    assert took < 5, "two hanging clusters must not be waited for one after the other for long, nor for ever"


@pytest.mark.parametrize("verb", LISTS)
@pytest.mark.parametrize(
    "trouble",
    [
        UnavailableError("cannot reach it"),
        AuthError("the token has expired"),
        NotAllowedError("forbidden", cause="the verb list is missing"),
    ],
)
def test_a_cluster_in_trouble_is_named_and_the_others_are_there(verb: str, trouble: Exception) -> None:
    bad, good = stateless("bad"), stateless("good")
    pool = fake_pool(bad, good)
    pool.submit(submission(cluster="good"))
    bad.trouble = trouble  # type: ignore[assignment]
    listing = LISTS[verb](pool)
    assert list(listing.incomplete) == ["bad"]  # type: ignore[attr-defined]
    if verb not in {"volumes", "top"}:  # there is nothing of these
        assert listing.items  # type: ignore[attr-defined]


@pytest.fixture
def remembered(tmp_path: Path) -> tuple[DirectPool, FakeCluster]:
    """A pool whose ``bad`` cluster went away after it got a job that waits and one that ended."""
    bad, good = stateless("bad"), stateless("good")
    pool = fake_pool(bad, good, record_at=tmp_path)
    pool.submit(submission("waits", cluster="bad", time="1h"))
    pool.submit(submission("elsewhere", cluster="good"))
    ended = pool.submit(submission("ended", cluster="bad")).job
    bad.start(ended.name)
    bad.finish(ended.name)
    pool.jobs(JobQuery())
    bad.trouble = UnavailableError("cannot reach bad", cause="connection refused")
    return pool, bad


def states(pool: DirectPool, query: JobQuery) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {job.base_name: (job.state.value, job.unknown) for job in pool.jobs(query).items}


def test_my_jobs_on_a_cluster_that_is_away_are_listed_as_unknown(remembered: tuple[DirectPool, FakeCluster]) -> None:
    pool, bad = remembered
    listing = pool.jobs(JobQuery())
    rows = {job.base_name: job for job in listing.items}
    assert set(rows) == {"waits", "elsewhere", "ended"}
    assert (rows["waits"].unknown, rows["elsewhere"].unknown, rows["ended"].unknown) == (("state",), (), ())
    assert rows["ended"].state.value == "succeeded"  # what has ended stays so
    reason = rows["waits"].reason
    assert reason is not None
    assert (reason.code, reason.sentence) == ("unreachable", "cannot reach bad (connection refused)")
    assert list(listing.incomplete) == ["bad"]
    assert [(job.base_name, job.unknown) for job in pool.history(JobQuery()).items if job.cluster == "bad"] == [
        ("ended", ()),
        ("waits", ("state",)),
    ]
    with pytest.raises(UnavailableError):
        pool.job(rows["waits"].name)
    bad.trouble = None
    assert states(pool, JobQuery())["waits"] == ("queued", ())


@pytest.mark.parametrize(
    ("trouble", "word", "what"),
    [
        (AuthError("the token has expired"), "unauthorized", "change"),
        (NotAllowedError("anna may not list jobs"), "forbidden", "escalate"),
        (UnavailableError("cannot reach bad"), "unreachable", "wait"),
    ],
)
def test_who_refuses_us_is_not_called_unreachable(
    remembered: tuple[DirectPool, FakeCluster], trouble: AuthError | NotAllowedError | UnavailableError, word: str, what: str
) -> None:
    pool, bad = remembered
    bad.trouble = trouble
    for listing in (pool.jobs(JobQuery()), pool.history(JobQuery())):
        (reason,) = (job.reason for job in listing.items if job.unknown)
        assert reason is not None
        assert (reason.code, reason.what, reason.sentence) == (word, what, trouble.message)
    assert {row.name: row.health for row in pool.clusters().items} == {"bad": word, "good": "healthy"}
    (option,) = pool.plan(submission(cluster="bad")).options
    if word != "forbidden":  # it may still be able to run jobs
        assert option.reason is not None
        assert option.reason.code == word


def test_what_is_asked_for_narrows_the_unknown_ones_too(remembered: tuple[DirectPool, FakeCluster]) -> None:
    pool, _ = remembered
    assert set(states(pool, JobQuery(name="w*"))) == {"waits"}
    assert states(pool, JobQuery(user="bert")) == {}
    assert set(states(pool, JobQuery(states=frozenset({State.SUCCEEDED})))) == {"ended"}
    assert set(states(pool, JobQuery(recent_seconds=10**10))) == {"waits", "elsewhere", "ended"}
    assert set(states(pool, JobQuery(recent_seconds=0))) == {"waits", "elsewhere"}
    assert len(pool.jobs(JobQuery(limit=2)).items) == 2


def test_a_job_that_another_context_shows_is_known(tmp_path: Path) -> None:
    first, second = stateless("first"), stateless("second")
    pool = fake_pool(first, second, record_at=tmp_path)
    job = pool.submit(submission("train", cluster="first")).job
    second.jobs_by_id, second.submissions = first.jobs_by_id, first.submissions
    first.trouble = UnavailableError("cannot reach first")
    (row,) = pool.jobs(JobQuery()).items
    assert (row.id, row.unknown) == (job.id, ())


def test_slow_clusters_are_asked_at_once_and_not_one_after_the_other() -> None:
    clusters = [stateless(f"slow-{number}") for number in range(8)]
    for cluster in clusters:
        cluster.delay = 0.3
    began = time.monotonic()
    listing = fake_pool(*clusters, deadline=30.0).jobs(JobQuery())
    took = time.monotonic() - began
    assert listing.incomplete == {}
    assert took < 1.8, "eight answers of 0.3 s one after the other would take 2.4 s"


def test_placement_waits_for_a_hanging_cluster_only_its_deadline() -> None:
    Hanging.released = threading.Event()
    good = stateless("good")
    began = time.monotonic()
    submitted = fake_pool(Hanging("bad", tier="reserved"), good, deadline=0.3).submit(submission())
    took = time.monotonic() - began
    Hanging.released.set()
    assert submitted.job.cluster == "good"
    assert submitted.notes == ("cluster bad was left out: cluster bad did not answer in 0.3 s",)
    assert took < 5


def broken_pool(error: InvalidInput | UnavailableError) -> tuple[DirectPool, FakeCluster]:
    good = stateless("good")
    broken = Member(cluster=BrokenCluster("half", error), name="half", kind="kubernetes", tier="reserved")  # type: ignore[arg-type]
    pool = DirectPool(Members([broken, Member(cluster=good, name="good", tier="reserved")], deadline=5.0), user="anna")
    return pool, good


WRONG = InvalidInput("cannot use cluster half", [Problem(field="engine", message="unknown engine", got="jobsett", nearest="jobset")])


@pytest.mark.parametrize("verb", LISTS)
def test_a_cluster_that_cannot_be_built_is_a_row_with_its_reason(verb: str) -> None:
    pool, _ = broken_pool(WRONG)
    listing = LISTS[verb](pool)
    (why,) = listing.incomplete.values()  # type: ignore[attr-defined]
    assert "engine: unknown engine, got jobsett; did you mean jobset?" in why


def test_a_cluster_that_cannot_be_built_keeps_nobody_from_submitting() -> None:
    pool, good = broken_pool(WRONG)
    submitted = pool.submit(submission())
    assert submitted.job.cluster == "good"
    assert submitted.notes[0].startswith("cluster half was left out: cluster half cannot be used")
    rows = {row.name: row for row in pool.clusters().items}
    assert (rows["half"].health, rows["half"].tier, rows["good"].health) == ("unreachable", "reserved", "healthy")
    with pytest.raises(UnavailableError):
        pool.job("never-heard-of")  # it might be there
    with pytest.raises(UnavailableError):
        pool.submit(submission("there", cluster="half"))
    assert pool.checks()[-1].verdict == "problem"
    assert pool.capabilities == good.capabilities
    pool.close()
    assert good.closed
