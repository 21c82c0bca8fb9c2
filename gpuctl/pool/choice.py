"""From clusters as they were seen to the options of a job, in the order in which ``policy.offers`` would take them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from gpuctl.base import clock
from gpuctl.model.ask import PlanOption, Submission
from gpuctl.model.place import Node
from gpuctl.model.reason import Reason
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.model.spec import JobSpec
from gpuctl.policy import away, offers, placement, price
from gpuctl.policy.described import node_state, queue_job
from gpuctl.policy.offers import Judged, Offer, Standing
from gpuctl.policy.values import NodeState, QueueJob
from gpuctl.policy.wording import SLOT_TYPES
from gpuctl.pool.members import Member
from gpuctl.pool.survey import Seen
from gpuctl.port.capability import Capability


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One option: a tier of a cluster, and what it is worth (None: nobody had to ask)."""

    member: Member
    judged: Judged | None = None

    @property
    def option(self) -> PlanOption:
        """As it is shown and remembered."""
        if self.judged is None:
            return PlanOption(cluster=self.member.name, tier=self.member.tier)
        offer = self.judged.offer
        cost = offer.cost
        return PlanOption(
            cluster=offer.cluster,
            tier=offer.tier,
            now=self.judged.standing is Standing.STARTS,
            where=_where(self.judged),
            cost_per_hour=float(cost.per_hour) if cost is not None else None,
            cost_at_limit=float(cost.at_limit) if cost is not None and cost.at_limit is not None else None,
            currency=cost.currency if cost is not None else None,
            reason=self.judged.reason if self.judged.reason is not None else self.judged.cut,
            at=self.judged.at if self.judged.standing is not Standing.STARTS else None,
            missing=self.judged.missing,
        )


def rank(seen: Sequence[Seen], submission: Submission, *, barred: Mapping[str, Reason]) -> tuple[Ranked, ...]:
    """Every tier of every cluster, the one to take first.

    Args:
        seen: the clusters, in the profile's order.
        submission: the job.
        barred: by cluster, why it may not go there whatever is free.
    """
    spec = submission.spec
    # Its cluster is one of those that --cluster leaves.
    job = queue_job(spec, job_id=submission.request_id, name=submission.base_name, submitted_at=clock.now(), tier=spec.tier)
    members = {one.member.name: one.member for one in seen}
    found = [offer for order, one in enumerate(seen) for offer in _offers(job, spec, one, order, barred.get(one.member.name))]
    judged = offers.judge(job, found, queue=spec.queue)
    return tuple(Ranked(member=members[each.offer.cluster], judged=each) for each in judged)


def _offers(job: QueueJob, spec: JobSpec, seen: Seen, order: int, barred: Reason | None) -> Iterable[Offer]:
    """One offer for each tier that the cluster has nodes of, or that the profile says it is.

    A tier of nodes without GPUs is none to a job that asks for some, where another one has them.
    """
    member = seen.member
    own = member.tier or ("reserved" if seen.unknown is not None or not seen.nodes else None)
    if seen.error is not None:
        barred = away.reason(away.health(seen.error), seen.error.line)
    by_tier: dict[str | None, list[NodeState]] = {}
    uncounted: set[str | None] = set()
    for node, state in zip(seen.nodes, described(member, seen.nodes, seen.schedules), strict=True):
        tier = node.tier or member.tier
        by_tier.setdefault(tier, []).append(state)
        if node.gpus_free is None and node.gpus and not node.devices:
            uncounted.add(tier)
    useful = [tier for tier, nodes in by_tier.items() if not job.gpus or any(node.gpus for node in nodes)]
    for tier in useful or list(by_tier) or [own]:
        nodes = by_tier.get(tier, [])
        wanted = tuple(node for node in nodes if placement.asks_for(job, node))
        reason = barred
        if reason is None and job.tier not in ("any", tier or "reserved"):
            reason = Reason(code="tier", sentence=f"--tier {job.tier}", what="change")
        if reason is None and nodes and not wanted:
            reason = Reason(code="excluded", sentence="excluded", what="change")
        unknown = seen.unknown or ("what is free on its nodes could not be read" if tier in uncounted else None)
        cost = _cost(spec, member, wanted)
        yield Offer(
            cluster=member.name,
            tier=tier,
            order=order,
            nodes=wanted,
            unknown=unknown,
            barred=reason or _over_budget(spec, cost) or _no_such_queue(spec, seen),
            queues=Capability.WAIT_GANG in (seen.capabilities or frozenset()),
            quotas=seen.quotas,
            cost=cost,
            team=seen.team,
            keeps_fit=Capability.FIT_WINDOW_WAIT in (seen.capabilities or frozenset()),
            footprint=seen.footprint,
        )


def described(member: Member, nodes: Sequence[Node], schedules: Sequence[ScheduleStatus]) -> tuple[NodeState, ...]:
    """A cluster's nodes as placement reads them, under the profile's name for the cluster and with its tier and its windows."""
    now = clock.now() + timedelta(seconds=max((each.clock_ahead for each in schedules), default=0.0, key=abs))
    plain = [node_state(node, cluster=member.name, tier=member.tier) for node in nodes]
    if not schedules:
        return tuple(msgspec.structs.replace(each, at=now) if each.owner is not None else each for each in plain)
    from gpuctl.policy.windows import ownership  # only a place with schedules pays for cronsim

    return ownership.applied(plain, ownership.lines(schedules, now), now)


def _cost(spec: JobSpec, member: Member, nodes: Iterable[NodeState]) -> price.Cost | None:
    """What the job costs there: by the type it asks for, else by the dearest that it could get."""
    if member.prices is None:
        return None
    kinds: set[str | None] = {node.gpu_type for node in nodes if node.gpu_type not in SLOT_TYPES}
    asked = {kind for kind in kinds if spec.gpu_type is None or placement.same_type(spec.gpu_type, kind)} or {spec.gpu_type}
    tasks = spec.array.count if spec.array is not None else 1
    at_once = min(tasks, spec.array.parallel or tasks) if spec.array is not None else 1
    seconds = spec.time_seconds
    costs = [
        price.cost(
            member.prices,
            gpu_type=kind,
            gpus=spec.total_gpus * at_once,
            gpu_seconds=spec.total_gpus * tasks * seconds if seconds is not None else None,
        )
        for kind in asked
    ]
    return max((cost for cost in costs if cost is not None), key=lambda cost: cost.per_hour, default=None)


def _over_budget(spec: JobSpec, cost: price.Cost | None) -> Reason | None:
    if spec.max_cost is None or cost is None or not cost.per_hour:
        return None
    hourly = price.money(cost.per_hour, cost.currency)
    if cost.at_limit is None:
        return Reason(code="budget", sentence=f"{hourly}/h without an end: --max-cost needs --time", what="change")
    if cost.at_limit <= spec.max_cost:
        return None
    total, limit = price.money(cost.at_limit, cost.currency), price.money(spec.max_cost, cost.currency)
    return Reason(code="budget", sentence=f"{total} at {spec.time}, over --max-cost {limit}", what="change")


def _no_such_queue(spec: JobSpec, seen: Seen) -> Reason | None:
    """Only where its queues were read: an unknown queue is the cluster's to refuse."""
    known = sorted({queue for row in seen.quotas for queue in row.queues})
    if spec.queue is None or spec.queue in known or seen.capabilities is None:
        return None
    if not known and Capability.QUOTA in seen.capabilities:
        return None
    return Reason(code="no-such-queue", sentence=f"no queue {spec.queue}" + (f", only {', '.join(known)}" if known else ""), what="change")


_FEW = 3


def _where(judged: Judged) -> str | None:
    if judged.placement is None:
        return None
    nodes = list(dict.fromkeys(pod.node for pod in judged.placement.pods))
    return ",".join(nodes) if len(nodes) <= _FEW else f"{nodes[0]} and {len(nodes) - 1} more"
