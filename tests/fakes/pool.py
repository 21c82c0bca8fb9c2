"""A Pool for tests of whoever stands above one: the real DirectPool over clusters in memory."""

from typing import Any

from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import JobSpec
from gpuctl.pool.direct import DirectPool
from gpuctl.pool.members import Member, Members
from tests.fakes.cluster import FakeCluster


def fake_pool(*clusters: FakeCluster, deadline: float = 5.0, user: str = "anna") -> DirectPool:
    """A pool of these clusters, or of a single one named ``local``."""
    members = [Member(cluster=cluster, name=cluster.name, kind="fake", tier=cluster.tier) for cluster in clusters or (FakeCluster(),)]
    return DirectPool(Members(members, deadline=deadline), user=user, profile="fake")


def submission(base_name: str = "train", *, request_id: str | None = None, best_effort: bool = False, **spec: Any) -> Submission:
    """A submission of ``true`` with these fields of the spec; its request id follows from the name."""
    return Submission(
        spec=JobSpec(**{"command": ("true",), **spec}),
        base_name=base_name,
        request_id=request_id or f"request-{base_name}",
        explicit_request_id=request_id is not None,
        environment={"PATH": "/usr/bin:/bin"},
        code=Code(workdir="/"),
        best_effort=best_effort,
    )
