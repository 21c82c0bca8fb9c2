"""How clusters look in a list. What a cluster holds that cannot be read is unknown, never zero."""

from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Column
from gpuctl.model.place import ClusterStatus

_STYLE = {"healthy": "good", "suspect": "busy", "unreachable": "bad", "unauthorized": "bad", "forbidden": "bad", "lost": "bad"}


def name(cluster: ClusterStatus) -> str:
    """The ``-o name`` form."""
    return f"cluster/{cluster.name}"


def _away(cluster: ClusterStatus) -> bool:
    return cluster.health not in {"healthy", "suspect"}


def _unread(cluster: ClusterStatus) -> bool:
    """It answers, but not what nodes it has."""
    return cluster.nodes is None and cluster.same_as is None


def _free(cluster: ClusterStatus) -> str:
    """``12/16 h100`` for each type of GPU there."""
    if not cluster.total and (_away(cluster) or _unread(cluster)):
        return cells.UNKNOWN
    parts = [
        f"{cluster.free.get(kind, 0) if not _away(cluster) else cells.UNKNOWN}/{total} {kind}"
        for kind, total in sorted(cluster.total.items())
    ]
    return ", ".join(parts) or cells.ABSENT


def _shape(cluster: ClusterStatus) -> str:
    return cells.UNKNOWN if _away(cluster) or _unread(cluster) else cells.present(cluster.largest_shape)


def _nodes(cluster: ClusterStatus) -> str:
    return cells.ABSENT if cluster.same_as is not None else cells.known(cluster.nodes)


def _note(cluster: ClusterStatus) -> str:
    same = f"the same place as {cluster.same_as}, counted there" if cluster.same_as is not None else None
    return cells.present("; ".join(text for text in (cluster.error, same) if text))


def _grey(cluster: ClusterStatus) -> str | None:
    return "faint" if _away(cluster) or cluster.same_as is not None else None


COLUMNS = (
    Column(name="NAME", cell=lambda cluster, _: cluster.name, style=_grey),
    Column(name="KIND", cell=lambda cluster, _: cluster.kind, style=_grey),
    Column(name="TIER", cell=lambda cluster, _: cells.present(cluster.tier), style=_grey),
    Column(name="HEALTH", cell=lambda cluster, _: cluster.health, style=lambda cluster: _STYLE[cluster.health]),
    Column(name="NODES", cell=lambda cluster, _: _nodes(cluster), right=True, key=lambda cluster, _: cluster.nodes, style=_grey),
    Column(name="FREE", cell=lambda cluster, _: _free(cluster), key=lambda cluster, _: sum(cluster.free.values()), style=_grey),
    Column(name="FITS", cell=lambda cluster, _: _shape(cluster), style=_grey),
    Column(name="NOTE", cell=lambda cluster, _: _note(cluster), shrink=True, style=_grey),
    Column(name="VERSION", cell=lambda cluster, _: cells.known(cluster.version), wide=True),
    Column(name="ENGINES", cell=lambda cluster, _: ",".join(cluster.engines) or cells.ABSENT, wide=True),
    Column(name="UID", cell=lambda cluster, _: cells.known(cluster.uid), wide=True),
)
"""``gpuctl clusters``. FITS is the largest shape that would start now."""
