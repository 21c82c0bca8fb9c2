"""How quotas follow nodes: each team's share of a flavor is what it owns of the flavor's nodes, beside a base that no window moves.

A node that is being closed is nobody's, so what one team loses is gone before another gets it, and the shares together are never more than
the nodes. Only flavors with nodes that a schedule has are moved.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from gpuctl.policy.values import Frozen
from gpuctl.policy.windows.marked import MarkedNode


class Share(Frozen, frozen=True, kw_only=True):
    """What a queue holds of one resource in one flavor.

    Attributes:
        queue: its name.
        team: whose it is.
        flavor: and ``resource``: of what.
        labels: which nodes the flavor is.
        nominal: devices it holds now.
        base: devices it holds beside those of windows.
    """

    queue: str
    team: str
    flavor: str
    resource: str
    labels: dict[str, str]
    nominal: int
    base: int = 0


class Move(Frozen, frozen=True, kw_only=True):
    """Set a share to ``nominal`` devices."""

    share: Share
    nominal: int


class Moves(Frozen, frozen=True, kw_only=True):
    """What to lower first, and what to raise once all of that is done."""

    lower: tuple[Move, ...] = ()
    raised: tuple[Move, ...] = ()
    unclear: tuple[str, ...] = ()
    """Queues with shares in the same devices as another share of their team: nobody can say which of them the devices are."""


def moves(shares: Iterable[Share], nodes: Sequence[MarkedNode]) -> Moves:
    """The moves that make the shares what the nodes' marks say."""
    lower: list[Move] = []
    raised: list[Move] = []
    switched = [node for node in nodes if node.schedule is not None]
    every = [(share, _nodes_of(share, switched)) for share in shares]
    claimed = Counter((node.name, share.resource, share.team) for share, own in every for node in own)
    unclear: set[str] = set()
    for share, of_flavor in every:
        if any(claimed[node.name, share.resource, share.team] > 1 for node in of_flavor):
            unclear.add(share.queue)
            continue
        if not of_flavor:
            continue
        owned = (node.devices.get(share.resource, 0) for node in of_flavor if node.owner == share.team and node.closing is None)
        wanted = share.base + sum(owned)
        if wanted != share.nominal:
            (lower if wanted < share.nominal else raised).append(Move(share=share, nominal=wanted))
    return Moves(lower=tuple(lower), raised=tuple(raised), unclear=tuple(sorted(unclear)))


def _nodes_of(share: Share, nodes: Sequence[MarkedNode]) -> list[MarkedNode]:
    return [node for node in nodes if node.devices.get(share.resource) and share.labels.items() <= node.labels.items()]
