"""How quotas look in a list. What could not be read is ``?``, never zero."""

from collections.abc import Sequence

from gpuctl.base import duration
from gpuctl.cli.out.columns import cells, windows
from gpuctl.cli.result import Column, Context
from gpuctl.model.quota import DEVICES, SHAPES, Quota


def name(row: Quota) -> str:
    """The ``-o name`` form: the cluster, what holds the quota, and the GPU type where it has one."""
    return f"quota/{row.cluster}/{row.name}" + (f"/{row.gpu_type}" if row.gpu_type else "")


_AWAY = "unread"


def unread(cluster: str) -> Quota:
    """The one row of a cluster whose quotas could not be read."""
    return Quota(cluster=cluster, name=cells.UNKNOWN, source=_AWAY)


def _grey(row: Quota) -> str | None:
    return "faint" if row.source == _AWAY else None


def _fact(row: Quota, value: str | None) -> str:
    """A word that a quota may lack; of a quota that could not be read nobody can say whether it does."""
    return cells.UNKNOWN if row.source == _AWAY else cells.present(value)


def _name(row: Quota) -> str:
    return cells.ABSENT if row.source == DEVICES else row.name


def _team(row: Quota) -> str:
    """Whose it is; where nobody says, what holds it, in parentheses."""
    if row.team is not None or row.source == _AWAY:
        return cells.known(row.team)
    return cells.ABSENT if row.source == DEVICES else f"({row.name})"


def _borrowed(row: Quota) -> str:
    return cells.ABSENT if row.source == DEVICES else cells.known(row.borrowed)


def _usable(row: Quota, size: int) -> str:
    """How many pods of this size would start now; ``-`` where no node is as large."""
    if not row.usable:
        return "0" if row.free == 0 else cells.UNKNOWN
    count = row.usable.get(str(size))
    return cells.ABSENT if count is None else str(count)


def _shape(size: int) -> Column:
    return Column(name=f"X{size}", cell=lambda row, _: _usable(row, size), right=True, key=lambda row, _: row.usable.get(str(size)))


COLUMNS = (
    Column(name="CLUSTER", cell=lambda row, _: row.cluster, shrink=True, style=_grey),
    Column(name="TIER", cell=lambda row, _: _fact(row, row.tier), style=_grey),
    Column(name="TEAM", cell=lambda row, _: _team(row), shrink=True, style=_grey),
    Column(name="TYPE", cell=lambda row, _: _fact(row, row.gpu_type), shrink=True, style=_grey),
    Column(name="QUOTA", cell=lambda row, _: cells.known(row.nominal), right=True, key=lambda row, _: row.nominal),
    Column(name="USED", cell=lambda row, _: cells.known(row.used), right=True, key=lambda row, _: row.used),
    Column(name="OVER", cell=lambda row, _: _borrowed(row), right=True, key=lambda row, _: row.borrowed),
    Column(
        name="FREE",
        cell=lambda row, _: cells.known(row.free),
        right=True,
        key=lambda row, _: row.free,
        style=lambda row: "good" if row.free else None,
    ),
    *(_shape(size) for size in SHAPES),
    Column(name="NAME", cell=lambda row, _: _name(row), wide=True),
    Column(
        name="BORROWABLE",
        cell=lambda row, _: cells.ABSENT if row.source == DEVICES else cells.known(row.borrowable),
        right=True,
        key=lambda row, _: row.borrowable,
        wide=True,
    ),
    Column(name="PENDING", cell=lambda row, _: cells.ABSENT if row.source == DEVICES else cells.known(row.pending), right=True, wide=True),
    Column(name="SOURCE", cell=lambda row, _: row.source, wide=True),
    Column(name="WINDOW", cell=lambda row, _: cells.present(row.window), right=True, key=lambda row, _: row.window, wide=True),
    Column(name="UNTIL", cell=lambda row, context: windows.local(row.until, context), key=lambda row, _: row.until, wide=True),
)
"""``gpuctl quota``. QUOTA is what is guaranteed, OVER what is held above it, borrowed from others.

X8 to X1: how many pods of so many GPUs would start now."""


def below(rows: Sequence[Quota], context: Context) -> str:
    """What windows give to the teams of these rows: ``vision has 32 H100 on res-a by a window until Tue 06:00 (in 5h20m)``."""
    lines = []
    for row in rows:
        if row.window:
            until = "with no end in sight"
            if row.until is not None:
                until = f"until {windows.local(row.until, context)} (in {duration.short((row.until - context.now).total_seconds())})"
            lines.append(f"{row.team} has {row.window} {row.gpu_type or 'GPUs'} on {row.cluster} by a window {until}\n")
    return "".join(["\n", *dict.fromkeys(lines)]) if lines else ""
