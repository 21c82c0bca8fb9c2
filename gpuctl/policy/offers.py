"""Which of several places gets a job at submit, and why not the others: one offer per cluster and tier, judged and put in order.

Tier is the outer loop, reserved before on-demand. Within a tier a place where the gang starts now comes first, then one whose nodes could
not be read (unknown is never zero), in the profile's order. Only where none of these is left does it wait: in a cluster that queues, then
a single-node job in the best cluster without a queue. A gang never waits without a queue, as it would hold what it got and start never.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from gpuctl.model.quota import Quota
from gpuctl.model.reason import Reason
from gpuctl.policy import placement, quota
from gpuctl.policy.briefly import brief
from gpuctl.policy.placement import Placement
from gpuctl.policy.price import Cost
from gpuctl.policy.space import TIERS
from gpuctl.policy.values import NodeState, QueueJob, Snapshot


class Offer(NamedTuple):
    """One tier of one cluster.

    Attributes:
        cluster: its name.
        tier: of its nodes; None is a place without tiers.
        order: its position in the profile.
        nodes: with what is free now.
        unknown: why it is not known what is free (a 403), None when it is.
        barred: why the job may not go there whatever is free (a volume's home, its cost, a cluster that does not answer).
        queues: whether a job of any shape may wait there.
        quotas: those that were read.
        cost: of the job, where a price is known.
    """

    cluster: str
    tier: str | None
    order: int
    nodes: tuple[NodeState, ...] = ()
    unknown: str | None = None
    barred: Reason | None = None
    queues: bool = False
    quotas: tuple[Quota, ...] = ()
    cost: Cost | None = None


class Standing(IntEnum):
    """What a place can do for the job, the best first."""

    STARTS = 0
    UNKNOWN = 1
    QUEUES = 2
    WAITS = 3
    NO = 4


class Judged(NamedTuple):
    """An offer and what it is worth: ``reason`` says why the job would not start there now, ``missing`` how many GPUs were too few."""

    offer: Offer
    standing: Standing
    placement: Placement | None = None
    reason: Reason | None = None
    missing: int = 0
    at: datetime | None = None

    @property
    def never(self) -> bool:
        """Whether time alone would not bring the job there, were nobody else about."""
        if self.reason is None:
            return False
        return self.reason.code in NEVER or (self.offer.barred is not None and self.reason.code != "unreachable")


NEVER = frozenset({"never-fits", "no-such-gpu", quota.NEVER})


def judge(job: QueueJob, offers: Iterable[Offer], *, queue: str | None = None) -> tuple[Judged, ...]:
    """Every offer, the one to take first. It may be taken unless its standing is ``NO``.

    Args:
        job: one gang of it (one task of an array).
        offers: where it may go.
        queue: the queue it asked for.
    """
    judged = [_one(job, offer, queue) for offer in offers]
    starting = [each for each in judged if each.standing is Standing.STARTS]
    if starting:
        best = min(starting, key=lambda each: _tier(each.offer))
        rivals = [each for each in starting if _tier(each.offer) == _tier(best.offer)]
        best = _best_packing(job, rivals)
    else:
        best = None
    gang = job.pods > 1

    def key(each: Judged) -> tuple[bool, int, int, bool, int, int]:
        offer = each.offer
        now = each.standing in (Standing.STARTS, Standing.UNKNOWN)
        return (
            each.standing is Standing.NO or (gang and each.standing is Standing.WAITS),
            0 if now else int(each.standing),
            _tier(offer),
            each is not best,
            int(each.standing) * 1_000_000 + each.missing,
            offer.order,
        )

    ordered = sorted(judged, key=key)
    return tuple(each._replace(standing=Standing.NO) if gang and each.standing is Standing.WAITS else each for each in ordered)


def _one(job: QueueJob, offer: Offer, queue: str | None) -> Judged:
    if offer.barred is not None:
        return Judged(offer, Standing.NO, reason=offer.barred)
    over = quota.short_of(job, offer.quotas, tier=offer.tier, queue=queue)
    if over is not None and over[0].code == quota.NEVER:
        return Judged(offer, Standing.NO, reason=over[0], missing=over[1])
    if offer.unknown is not None:
        reason = Reason(code="unknown", sentence=offer.unknown, what="escalate", command="gpuctl doctor")
        return Judged(offer, Standing.UNKNOWN, reason=reason)
    outcome = placement.place(job, Snapshot(nodes=offer.nodes))
    waiting = Standing.QUEUES if offer.queues else Standing.WAITS
    if isinstance(outcome, Placement):
        if over is not None:
            return Judged(offer, waiting, reason=over[0], missing=over[1])
        return Judged(offer, Standing.STARTS, placement=outcome)
    refusal = placement.refusal_of(outcome)
    reason = brief(job, offer.nodes, refusal.reason)
    if reason.code in NEVER or placement.fits_ever(job, offer.nodes) is not None:
        return Judged(offer, Standing.NO, reason=reason, missing=refusal.missing)
    return Judged(offer, waiting, reason=reason, missing=refusal.missing)


def _best_packing(job: QueueJob, rivals: Sequence[Judged]) -> Judged:
    """Among clusters of one tier where it starts now: as ``policy.placement`` packs."""
    if len(rivals) == 1:
        return rivals[0]
    outcome = placement.place(job, Snapshot(nodes=tuple(node for each in rivals for node in each.offer.nodes)))
    chosen = outcome.cluster if isinstance(outcome, Placement) else rivals[0].offer.cluster
    return next(each for each in rivals if each.offer.cluster == chosen)


def _tier(offer: Offer) -> int:
    return TIERS.index(offer.tier) if offer.tier in TIERS else len(TIERS)
