from pathlib import Path

import pytest

from gpuctl.base.errors import ConflictError, InvalidInput, NotFoundError, NotKeptHere, UnavailableError
from gpuctl.pool.direct import DirectPool
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool, stateless, submission


def create(pool: DirectPool, name: str, cluster: str | None = None) -> str:
    return pool.create_volume(name, cluster=cluster, size=None, access=None, storage_class=None).home


def test_a_volume_is_made_on_the_first_cluster_that_keeps_volumes() -> None:
    pool = fake_pool(FakeCluster("east", capabilities=()), FakeCluster("west"))
    assert create(pool, "data") == "west"
    with pytest.raises(NotKeptHere):
        create(fake_pool(FakeCluster(capabilities=())), "data")


def test_files_go_to_and_come_from_its_home(tmp_path: Path) -> None:
    pool = fake_pool(FakeCluster("east"), FakeCluster("west"))
    create(pool, "data", "west")
    (tmp_path / "in").write_bytes(b"12345")
    assert pool.put_file("data", str(tmp_path / "in"), "/x", cluster=None) == 5
    assert [file.path for file in pool.volume_files("data", "/", cluster=None).items] == ["/x"]
    assert pool.get_file("data", "/x", str(tmp_path / "out"), cluster=None) == 5
    assert pool.delete_volume("data", cluster=None).home == "west"
    assert pool.volumes().items == ()


def test_a_name_with_two_homes_has_to_be_told_apart() -> None:
    pool = fake_pool(FakeCluster("east"), FakeCluster("west"))
    create(pool, "data", "east")
    create(pool, "data", "west")
    with pytest.raises(ConflictError, match="east, west"):
        pool.delete_volume("data", cluster=None)
    assert pool.delete_volume("data", cluster="west").home == "west"


def test_a_missing_volume_is_missing_only_when_all_were_read() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    create(pool, "models")
    with pytest.raises(NotFoundError) as caught:
        pool.volume_files("model", "/", cluster=None)
    assert caught.value.hint == "did you mean models?"
    west.trouble = UnavailableError("cannot reach west")
    with pytest.raises(UnavailableError):
        pool.volume_files("model", "/", cluster=None)


def test_code_by_a_volume_goes_where_the_volume_is() -> None:
    east, west = stateless("east"), stateless("west")
    pool = fake_pool(east, west)
    create(pool, "code", "west")
    assert pool.submit(submission("first", code_volume="code")).job.cluster == "west"
    create(pool, "code", "east")
    assert pool.submit(submission("second", code_volume="code")).job.cluster == "east", "whichever is chosen gets the code"
    with pytest.raises(InvalidInput) as caught:
        pool.submit(submission("third", code_volume="cod"))
    assert (caught.value.code, caught.value.problems[0].nearest) == ("volume-home", "code")
