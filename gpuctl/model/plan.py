"""Where a job could go: one option per cluster and tier, as ``--plan`` shows them and as an accepted job remembers them."""

from datetime import datetime

import msgspec

from gpuctl.model.reason import Reason


class PlanOption(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One place a job could go: now, at a known time, or not, with the reason. Costs in ``currency``; None where nobody named a price.

    Attributes:
        cost_per_hour: of the whole gang.
        cost_at_limit: when it runs to its time limit; None without a limit.
        reason: why not now; ``sentence`` is short, as cluster and tier stand beside it (``24 of 32 H100 free, but in pieces of 4``).
        missing: how many GPUs too few were free, 0 where numbers were not the reason.
    """

    cluster: str
    tier: str | None = None
    now: bool = False
    at: datetime | None = None
    where: str | None = None
    cost_per_hour: float | None = None
    cost_at_limit: float | None = None
    currency: str | None = None
    reason: Reason | None = None
    missing: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What ``--plan`` answers: every option, the chosen first. ``time_limit`` in seconds."""

    options: tuple[PlanOption, ...]
    notes: tuple[str, ...] = ()
    time_limit: int | None = None
