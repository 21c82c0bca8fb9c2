"""A Pool for tests of whoever stands above one: the real DirectPool over clusters in memory."""

from collections.abc import Mapping
from typing import Any

from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import JobSpec
from gpuctl.policy import price
from gpuctl.pool.direct import DirectPool
from gpuctl.pool.members import Member, Members
from gpuctl.port.capability import Capability
from tests.fakes.cluster import FakeCluster

STATELESS = frozenset(Capability) - {
    Capability.SCHEDULES,
    Capability.WAIT_GANG,
    Capability.RETRIES,
    Capability.REQUEUE,
    Capability.AFTER,
    Capability.NOTIFY,
    Capability.MAX_COST,
    Capability.FIT_WINDOW_WAIT,
    Capability.QUOTA,
}
"""What a cluster keeps that nobody queues for and nothing of gpuctl is resident on."""


def fake_pool(
    *clusters: FakeCluster,
    deadline: float = 5.0,
    strict: bool = False,
    user: str = "anna",
    prices: Mapping[str, str] | None = None,
    record_at: Any = None,
) -> DirectPool:
    """A pool of these clusters, or of a single one named ``local``.

    Args:
        clusters: in the profile's order.
        deadline: seconds for each; ``strict``: also for a single one.
        user: whose jobs are mine.
        prices: price lists by cluster, as a profile writes them.
        record_at: the directory of a record; with it, every cluster is one that forgets.
    """
    listed = {name: price.parse(text) for name, text in (prices or {}).items()}
    members = [
        Member(
            cluster=cluster,
            name=cluster.name,
            kind="fake",
            tier=cluster.tier,
            prices=listed.get(cluster.name),
            forgets=record_at is not None,
        )
        for cluster in clusters or (FakeCluster(),)
    ]
    return DirectPool(
        Members(members, deadline=deadline, strict=strict),
        user=user,
        profile="fake",
        record_at=None if record_at is None else str(record_at),
    )


def stateless(name: str, *, tier: str | None = "reserved", **settings: Any) -> FakeCluster:
    """A cluster as a kubeconfig context without a queue is one: two nodes of eight GPUs by default."""
    return FakeCluster(name, tier=tier, capabilities=STATELESS, **{"nodes": 2, **settings})


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
