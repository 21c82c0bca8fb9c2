"""This machine as a cluster for tests: process slots, the state directory of the test's own HOME, and an end to all it started."""

import os
import secrets
import time
from pathlib import Path
from typing import Any

from gpuctl.clusters.local.cluster import LocalCluster, build
from gpuctl.clusters.local.paths import StatePaths, state_root
from gpuctl.clusters.local.rounds import listening
from gpuctl.model.ask import JobQuery, Submission
from gpuctl.model.job import FINAL, Code, State
from gpuctl.model.spec import JobSpec


def submission(*command: str, base_name: str = "job", workdir: str | None = None, **spec: Any) -> Submission:
    """A command job with a request id of its own."""
    return Submission(
        spec=JobSpec(kind="command", command=command, **spec),
        base_name=base_name,
        request_id=secrets.token_hex(8),
        environment={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
        code=Code(workdir=workdir or os.environ["HOME"]),
    )


class LocalPlace:
    """A machine of ``slots`` process slots."""

    def __init__(self, *, slots: int = 2) -> None:
        self.options = {"devices": "slots", "slots": str(slots)}
        self.cluster = build("local", self.options)
        self._others: list[LocalCluster] = []

    @property
    def paths(self) -> StatePaths:
        """Where its state lies."""
        return StatePaths(root=state_root(os.environ))

    def submission(self, *command: str, **spec: Any) -> Submission:
        """See :class:`tests.contract.cluster_contract.Place`."""
        return submission(*command, **spec)

    def again(self) -> LocalCluster:
        """Another object for the same machine."""
        self._others.append(build("local", self.options))
        return self._others[-1]

    def too_large(self) -> dict[str, Any]:
        """More than there is."""
        return {"nodes": 1000, "gpus": 8}

    def close(self) -> None:
        """Cancel everything, and see the keeper go."""
        unfinished = self.cluster.jobs(JobQuery(states=frozenset(State) - FINAL)).items
        for job in unfinished:
            self.cluster.stop(job.name, grace_seconds=0)
        deadline = time.monotonic() + 30
        while any(not job.final for job in self.cluster.jobs(JobQuery()).items) or listening(self.paths):
            assert time.monotonic() < deadline, "jobs or the keeper outlive the test"
            time.sleep(0.02)
        for cluster in [self.cluster, *self._others]:
            cluster.close()


def files_below(path: str) -> set[str]:
    """Every path below a directory, relative to it."""
    root = Path(path)
    return {str(each.relative_to(root)) for each in root.rglob("*")}
