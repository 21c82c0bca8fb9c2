"""DirectPool over this machine, next to a cluster that can be lost, keeps a pool's promises with real processes."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl import wiring
from gpuctl.base.errors import UnavailableError
from gpuctl.clusters.local.cluster import build
from gpuctl.model.ask import JobQuery, Submission
from gpuctl.model.job import Code, Job
from gpuctl.model.spec import JobSpec
from gpuctl.pool.direct import DirectPool
from gpuctl.pool.members import Member, Members
from gpuctl.port.capability import Capability
from tests.contract.pool_contract import PoolContract, World
from tests.fakes.cluster import FakeCluster

HELLO = "import os; print('hello from rank', os.environ.get('RANK', '0'))"


class Machine(World):
    """This machine as ``local``, and ``away`` in memory, whose jobs are younger than any clock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.away = FakeCluster("away", user=wiring.account(), capabilities=frozenset(Capability) - {Capability.NOTIFY})
        self.away.ticks = 10**9
        local = build("local", {"devices": "slots", "slots": "4"})
        self.pool = DirectPool(
            Members([Member(cluster=local, name="local"), Member(cluster=self.away, name="away")], deadline=30.0), user=wiring.account()
        )

    def submission(self, name: str, **spec: Any) -> Submission:
        where = {"cluster": "local", **spec}
        return Submission(
            spec=JobSpec(**{"command": (sys.executable, "-c", HELLO), "grace": "1s", **where}),
            base_name=name,
            request_id=f"request-{name}",
            environment={"PATH": "/usr/bin:/bin"},
            code=Code(workdir=str(self.directory)),
        )

    def run(self, job: Job) -> None:
        if job.cluster == "away":
            started = self.away.start(job.name)
            for rank in started.attempts[-1].pods[0].ranks:
                self.away.prints(job.name, rank, f"hello from rank {rank}")
            self.away.finish(job.name)
        else:
            assert len(list(self.pool.wait([job.name], stop=threading.Event(), timeout=60))) == 1

    def lose(self, cluster: str) -> None:
        assert cluster == "away"
        self.away.trouble = UnavailableError("cannot reach away", cause="connection refused")

    def clusters(self) -> tuple[str, ...]:
        return ("local", "away")

    def unkept(self) -> tuple[str, dict[str, Any]]:
        return "--notify", {"notify": "https://example.org/hook", "cluster": "away"}

    def end(self) -> None:
        """No job of the test goes on after it."""
        self.away.trouble = None
        for job in self.pool.jobs(JobQuery()).items:
            if not job.final and job.cluster != "away":
                self.pool.cancel(job.name, grace_seconds=0)
                self.run(job)
        self.pool.close()


class TestLocalPool(PoolContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        machine = Machine(tmp_path)
        yield machine
        machine.end()
