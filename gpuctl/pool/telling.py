"""The sentence about an accepted job: where it went, what that costs, and why not to a place that comes before."""

from gpuctl.base import clock, duration
from gpuctl.model.ask import Submitted
from gpuctl.model.job import State
from gpuctl.policy import price
from gpuctl.policy.away import AWAY
from gpuctl.policy.offers import Judged, Standing
from gpuctl.policy.space import TIERS
from gpuctl.pool.refusing import reasons
from gpuctl.pool.submit import Choice

_UNTOLD = AWAY | {"same-place", "excluded", "tier", "after-elsewhere"}
"""Reasons that notes tell, or that the person's own words were."""


def sentence(choice: Choice, submitted: Submitted) -> str:
    """``submitted to res-b, reserved (res-a: 24 of 32 H100 free, but in pieces of 4)``."""
    chosen = choice.ranked[0].judged
    if submitted.existed:
        return submitted.sentence or f"job/{submitted.job.name} was submitted before, on {choice.member.name}"
    if chosen is None:
        return submitted.sentence
    offer = chosen.offer
    where = f"{offer.cluster}, {offer.tier}" if offer.tier else offer.cluster
    waits = chosen.standing in (Standing.QUEUES, Standing.WAITS) and submitted.job.state is State.QUEUED
    text = f"{'queued on' if waits else 'submitted to'} {where}"
    if offer.cost is not None and offer.cost.per_hour:
        limit = submitted.job.spec.time
        text += f", +{price.text(offer.cost.per_hour, offer.cost.at_limit, offer.cost.currency, limit=limit)}"
    if submitted.job.spec.hold and submitted.job.state is State.QUEUED:
        text += ", on hold"
    elif waits and chosen.reason is not None:
        text += f": {chosen.reason.sentence or chosen.reason.code}"
        text += f", in {duration.short((chosen.at - clock.now()).total_seconds())}" if chosen.at is not None else ""
    before = [ranked.judged for ranked in choice.ranked[1:] if ranked.judged is not None and _told(ranked.judged, chosen)]
    return f"{text} ({reasons(before, most=3, chosen=chosen)})" if before else text


def _told(other: Judged, chosen: Judged) -> bool:
    """Whether somebody would ask why it did not go there: a tier that is not dearer, and a reason."""
    if other.reason is None or other.reason.code in _UNTOLD or other.standing is Standing.UNKNOWN:
        return False
    return _rank(other) <= _rank(chosen)


def _rank(judged: Judged) -> int:
    tier = judged.offer.tier or "reserved"
    return TIERS.index(tier) if tier in TIERS else len(TIERS)


def cut_note(choice: Choice) -> str | None:
    """``will be cut at Tue 06:00 CET, in 5h20m: the node goes to platform; ...``, and what would change it; None when nothing cuts it."""
    chosen = choice.ranked[0].judged
    if chosen is None or chosen.cut is None:
        return None
    return "; ".join(part for part in (chosen.cut.sentence, chosen.cut.advice) if part)
