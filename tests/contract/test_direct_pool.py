"""DirectPool over clusters in memory keeps a pool's promises."""

from typing import Any

import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.model.ask import Submission
from gpuctl.model.job import Job
from gpuctl.port.capability import Capability
from tests.contract.pool_contract import PoolContract, World
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool, submission


class Fakes(World):
    def __init__(self) -> None:
        kept = frozenset(Capability) - {Capability.NOTIFY}
        self.members = {name: FakeCluster(name, capabilities=kept) for name in ("east", "west")}
        self.members["west"].ticks = 1000  # its jobs are younger
        self.pool = fake_pool(*self.members.values())

    def submission(self, name: str, **spec: Any) -> Submission:
        return submission(name, **spec)

    def run(self, job: Job) -> None:
        assert job.cluster is not None
        cluster = self.members[job.cluster]
        started = cluster.start(job.name)
        for rank in started.attempts[-1].pods[0].ranks:
            cluster.prints(job.name, rank, f"hello from rank {rank}", at=rank)
        cluster.finish(job.name)

    def lose(self, cluster: str) -> None:
        self.members[cluster].trouble = UnavailableError(f"cannot reach {cluster}", cause="connection refused")

    def clusters(self) -> tuple[str, ...]:
        return tuple(self.members)

    def unkept(self) -> tuple[str, dict[str, Any]]:
        return "--notify", {"notify": "https://example.org/hook"}


class TestDirectPool(PoolContract):
    @pytest.fixture
    def world(self) -> World:
        return Fakes()
