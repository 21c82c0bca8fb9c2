"""How schedules look in a list, and the changes of a week."""

from dataclasses import replace
from datetime import datetime, timezone

from gpuctl.base import duration
from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Column, Context
from gpuctl.model.schedule import OwnedSpan, PoolWindows


def name(pool: PoolWindows) -> str:
    """The ``-o name`` form."""
    return f"windows/{pool.name}"


def local(at: datetime | None, context: Context) -> str:
    """``Tue 06:00``, with the date where it is further than six days away; ``-`` when there is none."""
    if at is None:
        return cells.ABSENT
    return _short(context.local(at), near=abs((at - context.now).total_seconds()) < 6 * 86400)


def _short(at: datetime, *, near: bool) -> str:
    return f"{at:%a %H:%M}" if near else f"{at:%Y-%m-%d %H:%M}"


def utc(at: datetime | None) -> str:
    """``2026-03-03T05:00Z``; ``-`` when there is none."""
    return cells.ABSENT if at is None else f"{at.astimezone(timezone.utc):%Y-%m-%dT%H:%MZ}"


def _nodes(pool: PoolWindows) -> str:
    if pool.problems or (pool.node_count is None and not pool.nodes):
        return cells.UNKNOWN
    there = f"/{pool.node_count}" if pool.node_count is not None else ""
    return f"{len(pool.nodes)}{there}"


def _owner(pool: PoolWindows) -> str:
    """Whose the nodes are by the schedule; of one that is not obeyed nobody's."""
    return "not obeyed" if pool.problems else cells.known(pool.owner)


def _next_at(pool: PoolWindows) -> datetime | None:
    return pool.next.at if pool.next is not None else None


def _next_utc(pool: PoolWindows, context: Context) -> str:
    at = _next_at(pool)
    return cells.ABSENT if at is None else local(at.astimezone(timezone.utc), replace(context, zone=timezone.utc))


def _next_in(pool: PoolWindows) -> str:
    return cells.seconds((pool.next.at - pool.at).total_seconds() if pool.next is not None else None)


COLUMNS = (
    Column(name="NAME", cell=lambda pool, _: pool.name),
    Column(name="CLUSTER", cell=lambda pool, _: pool.cluster),
    Column(name="NODES", cell=lambda pool, _: _nodes(pool), right=True),
    Column(name="OWNER", cell=lambda pool, _: _owner(pool), shrink=True),
    Column(name="NEXT", cell=lambda pool, _: pool.next.owner if pool.next is not None else cells.ABSENT, shrink=True),
    Column(name="AT", cell=lambda pool, context: local(_next_at(pool), context)),
    Column(name="UTC", cell=_next_utc),
    Column(name="IN", cell=lambda pool, _: _next_in(pool), right=True),
    Column(name="UNTIL", cell=lambda pool, _: utc(_next_at(pool)), wide=True),
    Column(name="WINDOW", cell=lambda pool, _: cells.present(pool.window), wide=True),
    Column(name="LENDS", cell=lambda pool, _: "idle" if pool.lends else cells.ABSENT, wide=True),
    Column(name="ZONE", cell=lambda pool, _: cells.present(pool.time_zone), wide=True),
    Column(name="GPUS", cell=lambda pool, _: cells.known(pool.gpus), right=True, wide=True),
)
"""``gpuctl windows``."""

CHANGES = (
    Column(name="FROM", cell=lambda span, context: local(span.start, context)),
    Column(name="UTC", cell=lambda span, _: utc(span.start)),
    Column(name="FOR", cell=lambda span, _: _long(span), right=True),
    Column(name="OWNER", cell=lambda span, _: span.owner, shrink=True),
    Column(name="WINDOW", cell=lambda span, _: cells.present(span.window), shrink=True),
    Column(name="LENDS", cell=lambda span, _: "idle" if span.lends else cells.ABSENT),
)
"""Every span of a week, below ``windows --week``."""


def _long(span: OwnedSpan) -> str:
    return duration.short((span.end - span.start).total_seconds())
