"""Which schedules are obeyed, and by which of them each node is switched.

Two schedules over one node would be two owners. The older one keeps what it selects, and a later one that selects any of it is refused as
a whole: half a pool would surprise its author more than none. Refusing one, for that or because it says nonsense, changes nothing: nodes
that it was given stay as they are, and nobody else gets them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gpuctl.model.schedule import PoolSchedule
from gpuctl.policy.windows import selection
from gpuctl.policy.windows.marked import MarkedNode, Offered
from gpuctl.policy.windows.selection import PoolNode

_SHOWN = 3


class Refusal(NamedTuple):
    """Why a schedule is not obeyed: a word for machines and a sentence."""

    reason: str
    message: str


class Accepted(NamedTuple):
    """The schedules that are obeyed, by name, with their nodes; the refused ones; nodes that stay as they are."""

    schedules: Mapping[str, PoolSchedule]
    nodes: Mapping[str, str]
    refused: Mapping[str, Refusal]
    frozen: frozenset[str]


def accept(offered: Sequence[Offered], fleet: Sequence[MarkedNode], *, cluster: str) -> Accepted:
    """Sort out schedules and nodes.

    Args:
        offered: every schedule there is.
        fleet: every node there is.
        cluster: what the cluster is called in schedules.
    """
    usable: dict[str, PoolSchedule] = {}
    refused: dict[str, Refusal] = {}
    nodes: dict[str, str] = {}
    broken = {each.name for each in offered if each.schedule is None}
    frozen = frozenset(node.name for node in fleet if node.schedule in broken)
    seen = [PoolNode(cluster, node.name, node.labels) for node in fleet if node.name not in frozen and (node.gpus or node.schedule)]
    for each in sorted(offered, key=lambda one: (one.created, one.name)):
        if each.schedule is None:
            refused[each.name] = Refusal("Invalid", each.problem or "cannot be read")
            continue
        chosen = sorted(name for _, name in selection.chosen(each.schedule, seen))
        taken = [name for name in chosen if name in nodes]
        if taken:
            others = sorted({nodes[name] for name in taken})
            shown = ", ".join(taken[:_SHOWN]) + (f" and {len(taken) - _SHOWN} more" if len(taken) > _SHOWN else "")
            refused[each.name] = Refusal("Overlaps", f"selects nodes of {', '.join(others)}: {shown}")
            continue
        usable[each.name] = each.schedule
        nodes |= dict.fromkeys(chosen, each.name)
    frozen |= {node.name for node in fleet if node.schedule in refused}
    return Accepted(usable, {name: by for name, by in nodes.items() if name not in frozen}, refused, frozen)
