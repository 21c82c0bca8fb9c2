"""Which nodes a schedule is about.

``count`` of the selected nodes are chosen by a hash of schedule and node (rendezvous hashing): whoever asks gets the same ones, and a node
that comes or goes changes at most one place among the others.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gpuctl.model.schedule import PoolSchedule


class PoolNode(NamedTuple):
    """A node as a schedule sees it."""

    cluster: str
    name: str
    labels: Mapping[str, str] = {}

    @property
    def key(self) -> tuple[str, str]:
        """Cluster and name."""
        return self.cluster, self.name


def selects(schedule: PoolSchedule, node: PoolNode) -> bool:
    """Whether cluster and labels of the node are those that the schedule asks for."""
    pool = schedule.spec.pool
    if pool.clusters and node.cluster not in pool.clusters:
        return False
    return pool.node_selector.items() <= node.labels.items()


def chosen(schedule: PoolSchedule, fleet: Iterable[PoolNode]) -> frozenset[tuple[str, str]]:
    """Cluster and name of every node of ``fleet`` that the schedule is about."""
    selected = {node.key for node in fleet if selects(schedule, node)}
    count = schedule.spec.pool.count
    if count is None or len(selected) <= count:
        return frozenset(selected)
    name = schedule.metadata.name
    return frozenset(sorted(selected, key=lambda key: (_weight(name, key), key))[:count])


def _weight(schedule: str, key: tuple[str, str]) -> bytes:
    return hashlib.sha256("\0".join((schedule, *key)).encode()).digest()
