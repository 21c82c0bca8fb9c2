"""``doctor --rbac`` over the clusters of a profile."""

import pytest

from gpuctl.base.errors import NotKeptHere
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool


class Administered(FakeCluster):
    """A cluster with administrators."""

    rules = "kind: Role\n"

    def rbac(self) -> str:
        return self.rules


def test_every_cluster_that_has_administrators_once_by_its_rules() -> None:
    first, second, third = Administered("first"), Administered("second"), Administered("third")
    third.rules = "kind: Other\n"
    text = fake_pool(FakeCluster("desk"), first, second, third).rbac()
    assert text == "# for first, second\nkind: Role\n# for third\nkind: Other\n"


def test_where_nobody_has_to_allow_anything() -> None:
    with pytest.raises(NotKeptHere):
        fake_pool(FakeCluster("desk")).rbac()
