"""Which of several places gets a job at submit, and why not the others: one offer per cluster and tier, judged and put in order.

Tier is the outer loop, reserved before on-demand. Within a tier a place where the gang starts now comes first, then one whose nodes could
not be read (unknown is never zero), in the profile's order. Only where none of these is left does it wait: in a cluster that queues, then
a single-node job in the best cluster without a queue. A gang never waits without a queue, as it would hold what it got and start never;
neither does a Ray of one node whose head alone finds no room.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

import msgspec

from gpuctl.model.place import Footprint
from gpuctl.model.quota import Quota
from gpuctl.model.reason import Reason
from gpuctl.policy import placement, quota
from gpuctl.policy.away import AWAY
from gpuctl.policy.briefly import brief
from gpuctl.policy.line import later
from gpuctl.policy.placement import Placement
from gpuctl.policy.price import Cost
from gpuctl.policy.space import TIERS
from gpuctl.policy.values import NodeState, QueueJob, Snapshot
from gpuctl.policy.windows import edges
from gpuctl.policy.windows.opening import closed, cut_note


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
        team: whose jobs it takes mine for.
        keeps_fit: whether a job that has to end within its window may wait there.
        footprint: what the job takes there besides devices; None: what it asks for.
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
    team: str | None = None
    keeps_fit: bool = False
    footprint: Footprint | None = None


class Standing(IntEnum):
    """What a place can do for the job, the best first."""

    STARTS = 0
    UNKNOWN = 1
    QUEUES = 2
    WAITS = 3
    NO = 4


class Judged(NamedTuple):
    """An offer and what it is worth: ``reason`` says why the job would not start there now, ``missing`` how many GPUs were too few.

    ``at``: when windows would let it start; ``cut``: that and when one would end it, were it started now.
    """

    offer: Offer
    standing: Standing
    placement: Placement | None = None
    reason: Reason | None = None
    missing: int = 0
    at: datetime | None = None
    cut: Reason | None = None

    @property
    def never(self) -> bool:
        """Whether time alone would not bring the job there, were nobody else about."""
        if self.reason is None:
            return False
        return self.reason.code in NEVER or (self.offer.barred is not None and self.reason.code not in AWAY)


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
    job = _as_there(job, offer)
    over = quota.short_of(job, offer.quotas, tier=offer.tier, queue=queue)
    if over is not None and over[0].code == quota.NEVER:
        return Judged(offer, Standing.NO, reason=over[0], missing=over[1])
    found = _placed(job, offer, over)
    if not job.fit_window or offer.keeps_fit or found.standing is Standing.NO:
        return found
    if found.standing is Standing.STARTS and job.array is not None:
        return Judged(offer, Standing.NO, reason=Reason(code="window", sentence="some tasks of an array would wait", what="change"))
    return found if found.standing is Standing.STARTS else found._replace(standing=Standing.NO)


def _placed(job: QueueJob, offer: Offer, over: tuple[Reason, int] | None) -> Judged:
    if offer.unknown is not None:
        reason = Reason(code="unknown", sentence=offer.unknown, what="escalate", command="gpuctl doctor")
        return Judged(offer, Standing.UNKNOWN, reason=reason)
    outcome = placement.place(job, Snapshot(nodes=offer.nodes))
    waiting = Standing.QUEUES if offer.queues else Standing.WAITS
    if isinstance(outcome, Placement):
        if over is not None:
            return Judged(offer, waiting, reason=over[0], missing=over[1])
        return Judged(offer, Standing.STARTS, placement=outcome, cut=_cut(job, offer, outcome))
    refusal = placement.refusal_of(outcome)
    reason, opening = brief(job, offer.nodes, refusal.reason, headless=refusal.headless), None
    if reason.code in NEVER or placement.fits_ever(job, offer.nodes) is not None:
        return Judged(offer, Standing.NO, reason=reason, missing=refusal.missing)
    if refusal.headless and not offer.queues:  # its nodes would hold their devices, and wait for it
        return Judged(offer, Standing.NO, reason=reason)
    now = _now(offer)
    if reason.code == "window" and now is not None:
        reason, opening = closed(job, offer.nodes, now)
    return Judged(offer, waiting, reason=reason, missing=refusal.missing, at=opening)


def _as_there(job: QueueJob, offer: Offer) -> QueueJob:
    same = offer.team == job.team and offer.footprint == job.footprint
    return job if same else msgspec.structs.replace(job, team=offer.team, footprint=offer.footprint)


def _now(offer: Offer) -> datetime | None:
    return next((node.at for node in offer.nodes if node.at is not None), None)


def _cut(job: QueueJob, offer: Offer, found: Placement) -> Reason | None:
    """That a window will end the job if it starts there now."""
    used = {pod.node for pod in found.pods}
    nodes = [node for node in offer.nodes if node.name in used]
    now, edge = _now(offer), edges.first_edge(job, nodes)
    if now is None or edge is None:
        return None
    ends_by = later(now, job.time_limit) if job.time_limit is not None else None
    return cut_note(job, edge, now, nodes[0].zone, ends_by=ends_by)


def _best_packing(job: QueueJob, rivals: Sequence[Judged]) -> Judged:
    """Among clusters of one tier where it starts now: as ``policy.placement`` packs."""
    if len(rivals) == 1:
        return rivals[0]
    # Each place has taken its own footprint into account; where they are alike it counts again for the choice.
    alike = {each.offer.footprint for each in rivals}
    job = msgspec.structs.replace(job, footprint=alike.pop() if len(alike) == 1 else None)
    outcome = placement.place(job, Snapshot(nodes=tuple(node for each in rivals for node in _open_nodes(job, each.offer))))
    chosen = outcome.cluster if isinstance(outcome, Placement) else rivals[0].offer.cluster
    return next(each for each in rivals if each.offer.cluster == chosen)


def _open_nodes(job: QueueJob, offer: Offer) -> Iterable[NodeState]:
    """The nodes that windows leave to the job, as nobody's: its team may have another name in every cluster."""
    asked = _as_there(job, offer)
    return (
        msgspec.structs.replace(node, owner=None, spans=()) if node.owner is not None else node
        for node in offer.nodes
        if not edges.barred(asked, node)
    )


def _tier(offer: Offer) -> int:
    return TIERS.index(offer.tier) if offer.tier in TIERS else len(TIERS)
