"""This machine keeps a cluster's promises."""

from collections.abc import Iterator

import pytest

from tests.contract.cluster_contract import ClusterContract
from tests.fakes.machine import LocalPlace


class TestLocalCluster(ClusterContract):
    """Real supervisors and a real keeper."""

    @pytest.fixture
    def place(self) -> Iterator[LocalPlace]:
        made = LocalPlace()
        yield made
        made.close()
