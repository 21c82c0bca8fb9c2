import msgspec
import pytest

from gpuctl.base.errors import AuthError, ConflictError, InvalidInput, NotFoundError, UnavailableError
from gpuctl.model.ask import JobChange
from gpuctl.pool import resolve
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool, submission

DEAD = UnavailableError("cannot reach west")


@pytest.mark.parametrize("ref", ["", "  ", "job/", "a b", "a/b", "job/a/b", "a\x00", "-"])
def test_what_is_no_reference(ref: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        fake_pool().cancel(ref)
    assert caught.value.code == "bad-reference"


def test_a_reference_is_taken_with_and_without_its_kind() -> None:
    assert resolve.plain(" job/llama-k3f9 ") == "llama-k3f9"
    assert resolve.plain("llama_7") == "llama_7"


def test_a_whole_name_counts_whoever_is_away() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    job = pool.submit(submission(cluster="east")).job
    west.trouble = DEAD
    assert pool.job(job.name).id == job.id
    assert pool.cancel(job.name).job.id == job.id


def test_a_base_name_is_read_but_not_ended_while_a_cluster_is_away() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    job = pool.submit(submission(cluster="east")).job
    west.trouble = DEAD
    assert pool.job("train").id == job.id
    with pytest.raises(UnavailableError) as caught:
        pool.cancel("train")
    assert job.name in str(caught.value.hint)
    assert not pool.job(job.name).final


def test_a_missing_job_with_a_forbidden_cluster_is_about_the_credentials() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    west.trouble = AuthError("the token for west has expired")
    with pytest.raises(AuthError):
        fake_pool(east, west).job("train")


def test_the_newest_of_a_base_name_over_all_clusters() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    west.ticks = 100
    pool = fake_pool(east, west)
    newer = pool.submit(submission(cluster="west", request_id=None)).job
    pool.submit(msgspec.structs.replace(submission(cluster="east"), request_id="other"))
    assert pool.job("train").id == newer.id
    assert pool.cancel("train").job.id == newer.id


def test_one_prefix_on_two_clusters_is_ambiguous() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    first = pool.submit(submission("one", cluster="east")).job
    second = pool.submit(submission("two", cluster="west")).job
    prefix = first.id[:3]
    assert second.id.startswith(prefix)
    with pytest.raises(ConflictError) as caught:
        pool.job(prefix)
    assert first.name in caught.value.message
    assert second.name in caught.value.message


def test_an_ambiguity_on_one_cluster_is_told() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    jobs = [pool.submit(submission(name, cluster="east")).job for name in ("one", "two")]
    for number, job in enumerate(jobs):
        del east.jobs_by_id[job.id]
        east.jobs_by_id[f"abc{number}"] = msgspec.structs.replace(job, id=f"abc{number}")
    with pytest.raises(ConflictError):
        pool.job("abc")


def test_my_latest_is_mine_and_found_beyond_a_day() -> None:
    cluster = FakeCluster()  # its clock stands in the past
    pool = fake_pool(cluster)
    mine = pool.submit(submission("mine")).job
    cluster.user = "bob"
    pool.submit(submission("theirs"))
    assert pool.job(None).id == mine.id
    assert pool.explain("-").reason.code == "queued"


def test_my_latest_is_not_changed_while_a_cluster_is_away() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    job = pool.submit(submission(cluster="east")).job
    west.trouble = DEAD
    assert pool.job(None).id == job.id
    with pytest.raises(UnavailableError):
        pool.update("-", JobChange(priority=5))
    west.trouble = None
    assert pool.update("-", JobChange(priority=5)).job.spec.priority == 5


def test_my_latest_with_nothing_readable_is_unavailable() -> None:
    cluster = FakeCluster()
    pool = fake_pool(cluster)
    cluster.trouble = DEAD
    with pytest.raises(UnavailableError):
        pool.job(None)


def test_no_jobs_yet() -> None:
    with pytest.raises(NotFoundError) as caught:
        fake_pool().job("-")
    assert caught.value.code == "no-jobs"
