"""What a team may hold of a kind of GPU, and what it holds."""

from datetime import datetime

import msgspec

from gpuctl.model.place import Seen

SHAPES = (8, 4, 2, 1)
"""GPUs per pod for which ``Quota.usable`` counts."""

DEVICES = "devices"
"""``name`` and ``source`` of a row of a place without quotas: the devices as they are."""


class Quota(Seen, frozen=True, kw_only=True):
    """One row of ``gpuctl quota``: GPUs of one type that one team (or queue) may hold on one cluster.

    None means unknown, never zero.

    Attributes:
        cluster: where.
        name: the queue, or the namespace's quota object; ``devices`` on a place without quotas.
        team: whose it is, None where that is not known.
        tier: reserved or on-demand, None where it holds for both.
        gpu_type: the type, None where it holds for every type together.
        nominal: its own share.
        borrowed: how much of ``used`` is other teams'.
        borrowable: how much more than ``nominal`` it may hold at most; None: no limit but the others' idle share.
        used: what it holds now.
        free: what is left of ``nominal``.
        pending: jobs that wait for it.
        source: ``kueue``, ``resource-quota`` or ``devices``.
        queues: the queues of a job (``--queue``) that draw from it; empty where every job does.
        default: whether a job that names no queue draws from it; None where that depends on more than the queue.
        usable: how many pods of 8, 4, 2 and 1 GPUs would start now, by that number as text; a size is absent where no node is as large,
            all are where nothing is known.
        window: GPUs of nodes that are the team's by a window now; None: nobody knows of any.
        until: when the first of these changes hands, None where none does.
    """

    cluster: str
    name: str
    team: str | None = None
    tier: str | None = None
    gpu_type: str | None = None
    nominal: int | None = None
    borrowed: int | None = None
    borrowable: int | None = None
    used: int | None = None
    free: int | None = None
    pending: int | None = None
    source: str = "kueue"
    queues: tuple[str, ...] = ()
    default: bool | None = None
    usable: dict[str, int] = msgspec.field(default_factory=dict)
    window: int | None = None
    until: datetime | None = None
