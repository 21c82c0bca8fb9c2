"""``doctor --rbac`` over the clusters of a profile."""

import pytest

from gpuctl.base.errors import NotFoundError, NotKeptHere
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


def test_a_cluster_that_cannot_say_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Administered("first"), Administered("second")

    def refuse() -> str:
        raise NotFoundError("there is no kubeconfig", code="no-kubeconfig")

    monkeypatch.setattr(first, "rbac", refuse)
    assert fake_pool(first, second).rbac() == "# not for first: there is no kubeconfig\n# for second\nkind: Role\n"
    monkeypatch.setattr(second, "rbac", refuse)
    with pytest.raises(NotFoundError):
        fake_pool(first, second).rbac()


def test_where_nobody_has_to_allow_anything() -> None:
    with pytest.raises(NotKeptHere):
        fake_pool(FakeCluster("desk")).rbac()
