import threading
import time

import msgspec
import pytest

from gpuctl.base.errors import AuthError, InvalidInput, UnavailableError, UsageError
from gpuctl.model.ask import JobQuery, Listing
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool, submission

DEAD = UnavailableError("cannot reach west", cause="connection refused")


def two() -> tuple[FakeCluster, FakeCluster]:
    return FakeCluster("east"), FakeCluster("west")


def test_a_lone_cluster_is_asked_in_the_callers_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading, "Thread", forbidden)
    pool = fake_pool()
    pool.submit(submission())
    assert len(pool.jobs(JobQuery()).items) == 1


def test_a_slow_cluster_does_not_delay_the_others_past_its_deadline() -> None:
    east, west = two()
    pool = fake_pool(east, west, deadline=0.2)
    job = pool.submit(submission(cluster="east")).job
    west.delay = 3.0
    start = time.monotonic()
    listing = pool.jobs(JobQuery())
    assert time.monotonic() - start < 2.0
    assert [each.id for each in listing.items] == [job.id]
    assert listing.incomplete == {"west": "cluster west did not answer in 0.2 s"}


def test_a_deadline_that_was_named_holds_for_a_single_cluster_too() -> None:
    west = FakeCluster("west")
    west.delay = 3.0
    start = time.monotonic()
    listing = fake_pool(west, deadline=0.2, strict=True).jobs(JobQuery())
    assert time.monotonic() - start < 2.0
    assert listing.incomplete == {"west": "cluster west did not answer in 0.2 s"}


def test_clusters_are_asked_at_the_same_time() -> None:
    pool = fake_pool(*two(), deadline=5.0)
    together = threading.Barrier(2, timeout=5.0)
    answers = pool.members.ask(lambda cluster: (together.wait(), cluster.name)[1])
    assert [answer.value for answer in answers.given] == ["east", "west"]


def test_a_forbidden_cluster_greys_out_its_rows() -> None:
    east, west = two()
    pool = fake_pool(east, west)
    west.trouble = AuthError("the token for west has expired")
    assert pool.jobs(JobQuery()).incomplete == {"west": "the token for west has expired"}
    assert pool.usage(JobQuery()).incomplete == {"west": "the token for west has expired"}


def test_when_nobody_answers_only_want_of_reach_is_an_empty_list() -> None:
    cluster = FakeCluster()
    pool = fake_pool(cluster)
    cluster.trouble = DEAD
    assert pool.jobs(JobQuery()).incomplete == {"local": "cannot reach west (connection refused)"}
    cluster.trouble = UsageError("the store is newer than this gpuctl", code="newer-store")
    with pytest.raises(UsageError):
        pool.jobs(JobQuery())


def test_a_bug_in_a_cluster_is_not_hidden() -> None:
    def broken(_: object) -> int:
        raise ZeroDivisionError

    for pool in (fake_pool(), fake_pool(*two())):
        with pytest.raises(ZeroDivisionError):
            pool.members.ask(broken)


def test_an_unknown_cluster_names_the_nearest() -> None:
    pool = fake_pool(*two())
    with pytest.raises(InvalidInput) as caught:
        pool.submit(submission(cluster="eats"))
    assert caught.value.problems[0].nearest == "east"


def test_a_job_that_two_names_of_one_place_show_is_one_row() -> None:
    east, west = two()
    pool = fake_pool(east, west)
    pool.submit(submission(cluster="east"))
    west.jobs_by_id = east.jobs_by_id
    assert len(pool.jobs(JobQuery()).items) == 1


def test_the_tasks_of_an_array_are_rows_though_they_share_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    east, west = two()
    pool = fake_pool(east, west)
    array = pool.submit(submission(cluster="east")).job
    tasks = tuple(msgspec.structs.replace(array, name=f"{array.name}_{index}") for index in range(3))
    monkeypatch.setattr(east, "jobs", lambda query: Listing(items=tasks))
    assert {job.name for job in pool.jobs(JobQuery(tasks=True)).items} == {task.name for task in tasks}


def test_tiers_of_the_profile_reach_nodes_and_clusters() -> None:
    east, west = FakeCluster("east", tier="reserved"), FakeCluster("west", tier="on-demand")
    pool = fake_pool(east, west)
    east.tier = west.tier = None
    assert [row.tier for row in pool.clusters().items] == ["reserved", "on-demand"]
    assert [node.tier for node in pool.nodes().items] == ["reserved", "on-demand"]


def test_doctor_has_a_line_for_a_cluster_that_does_not_answer() -> None:
    east, west = two()
    west.trouble = DEAD
    (line,) = fake_pool(east, west).checks()
    assert (line.cluster, line.name, line.verdict) == ("west", "cluster", "problem")


def test_closing_closes_every_cluster() -> None:
    east, west = two()
    fake_pool(east, west).close()
    assert east.closed
    assert west.closed
