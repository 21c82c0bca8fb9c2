"""Which of several clusters gets a job at submit: ``policy.placement`` over what their inventories say now."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpuctl.base import clock
from gpuctl.base.errors import GpuctlError
from gpuctl.model.ask import Submission
from gpuctl.model.place import Node
from gpuctl.model.reason import Reason
from gpuctl.policy import placement
from gpuctl.policy.values import NodeState, QueueJob, Snapshot
from gpuctl.pool.members import Member, Members
from gpuctl.port.capability import Capability


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A cluster the job may go to, and why it would not start there now (None: it would, or nobody had to ask)."""

    member: Member
    reason: Reason | None = None


def rank(
    members: Members, candidates: Sequence[Member], submission: Submission
) -> tuple[tuple[Ranked, ...], tuple[tuple[Member, GpuctlError], ...]]:
    """The candidates that could be read, the best first, and those that could not.

    Best is where it starts now; then where it can wait and would fit an idle cluster, the least missing first; then the profile's order.
    """
    answers = members.ask(lambda cluster: cluster.nodes(), among=candidates)
    nodes = {answer.member.name: _states(answer.member, answer.value.items) for answer in answers.given}
    job = _queue_job(submission)
    outcome = placement.place(job, Snapshot(nodes=tuple(node for states in nodes.values() for node in states)))
    if isinstance(outcome, placement.Placement):
        starts, reasons, missing = outcome.cluster, {}, {}
    else:
        starts = None
        reasons = {refusal.cluster: refusal.reason for refusal in outcome}
        missing = {refusal.cluster: refusal.missing for refusal in outcome}
    order = {member.name: position for position, member in enumerate(candidates)}

    def key(member: Member) -> tuple[bool, bool, bool, int, int]:
        return (
            member.name != starts,
            placement.fits_ever(job, nodes[member.name]) is not None,
            Capability.WAIT_GANG not in member.cluster.capabilities,
            missing.get(member.name, 0),
            order[member.name],
        )

    read = sorted((answer.member for answer in answers.given), key=key)
    return tuple(Ranked(member=member, reason=reasons.get(member.name)) for member in read), answers.failed


def _queue_job(submission: Submission) -> QueueJob:
    spec = submission.spec
    return QueueJob(
        id=submission.request_id,
        name=submission.base_name,
        submitted_at=clock.now(),
        priority=spec.priority,
        pods=spec.nodes,
        gpus=spec.gpus,
        gpu_type=spec.gpu_type,
        cpu_millis=spec.cpu_millis or 0,
        memory=spec.memory_bytes or 0,
        devices=spec.devices,
        tier=spec.tier,
        cluster=spec.cluster,
        exclude=spec.exclude,
        time_limit=spec.time_seconds,
        preemptible=spec.requeue,
    )


def _states(member: Member, nodes: Sequence[Node]) -> tuple[NodeState, ...]:
    """A cluster's nodes as placement reads them, under the profile's name for the cluster and with its tier."""
    return tuple(
        NodeState(
            cluster=member.name,
            name=node.name,
            tier=node.tier or member.tier,
            ready=node.ready,
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
        )
        for node in nodes
    )
