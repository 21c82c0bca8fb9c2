"""What a controller writes into the status of a ``PoolSchedule``. The definition of the kind is made from these types, too."""

from datetime import datetime
from typing import Literal

import msgspec

ACCEPTED = "Accepted"
"""The condition that says whether a schedule is obeyed, with the reason if it is not."""
SWITCHED = "Switched"
"""The condition that says whether every node is its owner's, with what a switch waits for if not."""


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One aspect of an object, as all Kubernetes kinds tell it.

    Attributes:
        type: which aspect, such as Accepted.
        status: True, False or Unknown.
        reason: one word for machines.
        message: a sentence.
        last_transition_time: since when the status is what it is.
        observed_generation: of the object that this was said about.
    """

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    last_transition_time: datetime
    observed_generation: int | None = None


class PoolScheduleStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How the schedule stands in this cluster, as the window controller saw it last.

    Attributes:
        observed_generation: of the schedule that this is about.
        nodes: how many nodes of this cluster it is about.
        owner: whose they are now.
        next_owner: whose they are next.
        next_change: when that begins; absent where the owner does not change within 400 days.
        conditions: Accepted says whether the schedule is obeyed, and why not; Switched whether every node is its owner's.
    """

    observed_generation: int | None = None
    nodes: int | None = None
    owner: str | None = None
    next_owner: str | None = None
    next_change: datetime | None = None
    conditions: tuple[Condition, ...] = ()
