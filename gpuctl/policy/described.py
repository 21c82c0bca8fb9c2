"""What jobs ask for and what nodes are, as the scheduler's values."""

from datetime import datetime

from gpuctl.model.place import Footprint, Node
from gpuctl.model.spec import JobSpec, Tier
from gpuctl.policy.values import ArrayProgress, NodeState, QueueJob


def queue_job(
    spec: JobSpec,
    *,
    job_id: str,
    name: str,
    submitted_at: datetime,
    user: str = "",
    team: str | None = None,
    tier: Tier = "any",
    footprint: Footprint | None = None,
) -> QueueJob:
    """A job with nothing but what its spec asks for. ``tier``: the one that it is limited to; ``footprint``: of the one place it is for."""
    return QueueJob(
        id=job_id,
        name=name,
        submitted_at=submitted_at,
        user=user,
        team=team,
        priority=spec.priority,
        pods=spec.nodes,
        gpus=spec.gpus,
        gpu_type=spec.gpu_type,
        cpu_millis=spec.cpu_millis or 0,
        memory=spec.memory_bytes or 0,
        footprint=footprint,
        devices=spec.devices,
        tier=tier,
        exclude=spec.exclude,
        time_limit=spec.time_seconds,
        fit_window=spec.fit_window,
        preemptible=spec.requeue,
        hold=spec.hold,
        retries=spec.retries,
        retries_left=spec.retries,
        requeue=spec.requeue,
        array=ArrayProgress(ready=spec.array.count, running=0, parallel=spec.array.parallel) if spec.array else None,
    )


def node_state(node: Node, *, cluster: str | None = None, tier: str | None = None) -> NodeState:
    """A node as its marks have it now, without what a schedule says of it.

    Unknown free devices count as none: who asks has to look at ``Node.gpus_free`` first.

    Args:
        node: as its cluster shows it.
        cluster: what the profile calls its cluster; the node's own word by default.
        tier: of nodes that say none themselves.
    """
    return NodeState(
        cluster=cluster if cluster is not None else node.cluster,
        name=node.name,
        tier=node.tier or tier,
        ready=node.ready and node.why is None,
        why=node.why,
        gpu_type=node.gpu_type,
        gpus=node.gpus or 0,
        gpus_free=node.gpus_free or 0,
        devices=tuple(device.index for device in node.devices),
        devices_free=tuple(device.index for device in node.devices if device.free),
        cpu_millis=node.cpu_millis,
        cpu_millis_free=node.cpu_millis_free,
        memory=node.memory,
        memory_free=node.memory_free,
        owner=node.owner,
        lends_idle=node.lends,
        closing=node.closing,
    )
