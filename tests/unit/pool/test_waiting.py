import threading

import pytest

from gpuctl.base.errors import NotFoundError, TimeoutReachedError, UnavailableError
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool, submission


def test_jobs_come_in_the_order_in_which_they_end_over_all_clusters() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    pool.submit(submission("one", cluster="east"))
    pool.submit(submission("two", cluster="west"))
    ended = iter(pool.wait(["one", "two"], stop=threading.Event(), timeout=20))
    west.start("two")
    west.finish("two")
    assert next(ended).base_name == "two"
    east.start("one")
    east.finish("one", {0: 3})
    last = next(ended)
    assert last.base_name == "one"
    assert last.exit is not None
    assert last.exit.status == 3
    assert list(ended) == []


def test_a_wrong_reference_is_told_before_the_wait() -> None:
    pool = fake_pool()
    pool.submit(submission())
    with pytest.raises(NotFoundError):
        list(pool.wait(["train", "nobody"], stop=threading.Event(), timeout=0))


def test_time_is_up_after_the_jobs_that_ended() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    pool.submit(submission("one", cluster="east"))
    pool.submit(submission("two", cluster="west"))
    east.start("one")
    east.finish("one")
    waiting = iter(pool.wait(["one", "two"], stop=threading.Event(), timeout=0.05))
    assert next(waiting).base_name == "one"
    with pytest.raises(TimeoutReachedError):
        next(waiting)


def test_a_lost_cluster_is_told_after_the_others_jobs() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    names = [pool.submit(submission(f"job-{name}", cluster=name)).job.name for name in ("east", "west")]
    east.start("job-east")
    waiting = iter(pool.wait(names, stop=threading.Event(), timeout=20))
    west.trouble = UnavailableError("cannot reach west")
    east.finish("job-east")
    assert next(waiting).base_name == "job-east"
    with pytest.raises(UnavailableError):
        next(waiting)


def test_stop_ends_the_wait_without_an_error() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    names = [pool.submit(submission(f"job-{name}", cluster=name)).job.name for name in ("east", "west")]
    stop = threading.Event()
    stop.set()
    assert list(pool.wait(names, stop=stop, timeout=None)) == []


def test_the_same_job_twice_is_waited_for_once() -> None:
    cluster = FakeCluster()
    pool = fake_pool(cluster)
    job = pool.submit(submission()).job
    cluster.start("train")
    cluster.finish("train")
    assert len(list(pool.wait([job.name, f"job/{job.name}"], stop=threading.Event(), timeout=5))) == 1
