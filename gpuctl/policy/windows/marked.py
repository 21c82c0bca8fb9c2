"""What a switch of nodes is told and what it answers: nodes with the marks on them, pods that hold their GPUs, the steps to take.

Instants are UTC, spans of time are seconds. A node's marks are all that is remembered between two looks: whoever looks again, after a
crash or on another machine, goes on where the last one ended.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from gpuctl.model.schedule import PoolSchedule
from gpuctl.policy.values import Frozen


class MarkedNode(Frozen, frozen=True, kw_only=True):
    """A node and the marks of its owner.

    Attributes:
        name: of the node.
        labels: by which schedules select it.
        devices: its GPUs by the name of their resource.
        schedule: by which it was handed over last; None: no schedule has it, and an owner is an administrator's word.
        owner: whose it is.
        taints_owner: whom its taint lets in, None without one.
        taints_lender: the same for the taint of a node that is lent.
        closing: the next owner while nothing new may start.
        closing_since: since when.
    """

    name: str
    labels: Mapping[str, str] = {}
    devices: Mapping[str, int] = {}
    schedule: str | None = None
    owner: str | None = None
    taints_owner: str | None = None
    taints_lender: str | None = None
    closing: str | None = None
    closing_since: datetime | None = None

    @property
    def gpus(self) -> int:
        """All its GPUs."""
        return sum(self.devices.values())


class Holding(Frozen, frozen=True, kw_only=True):
    """A pod on a node.

    Attributes:
        namespace: of the pod.
        name: of the pod.
        uid: of the pod: a step is about this very one.
        container: its first one, in which its program runs.
        node: where it runs.
        gang: what ends together with it.
        job: the id of the job of ours that it belongs to, with its attempt behind a slash; None for anybody else's pod.
        gpus: that it holds of the node; 0 for a member of a gang that needs none.
        team: whose it is, None where nobody says.
        preemptible: whether it may be stopped, and so may borrow.
        started: since when it is there, None where that is not known.
        grace: seconds that it takes between SIGTERM and its end.
        signal: that it wants before its end, None where its window's policy decides; ``signal_before``: so many seconds before.
        told: the end of its window that it was told of, None when it was not.
        signalled: the end of its window for which it got its signal.
        ends_at: when it is killed at the latest, None where nobody has asked it to end.
    """

    namespace: str
    name: str
    uid: str
    container: str = ""
    node: str
    gang: str
    job: str | None = None
    gpus: int = 0
    team: str | None = None
    preemptible: bool = False
    started: datetime | None = None
    grace: int = 30
    signal: str | None = None
    signal_before: int = 0
    told: datetime | None = None
    signalled: datetime | None = None
    ends_at: datetime | None = None


class Offered(Frozen, frozen=True, kw_only=True):
    """A schedule as it was found. ``schedule`` None: it says nonsense, ``problem`` what."""

    name: str
    created: datetime
    schedule: PoolSchedule | None = None
    problem: str | None = None


class Close(Frozen, frozen=True, kw_only=True):
    """Let nothing new start on the node: it goes to ``next`` soon."""

    node: str
    next: str
    window: str | None = None


class Own(Frozen, frozen=True, kw_only=True):
    """Mark the node as ``owner``'s, which it is by its schedule ``since`` then, and open it again; ``before``: whose it was."""

    node: str
    schedule: str
    owner: str
    lends: bool = False
    before: str | None = None
    since: datetime | None = None


class Release(Frozen, frozen=True, kw_only=True):
    """Take every mark off the node: no schedule is about it any more."""

    node: str


class GangEnd(Frozen, frozen=True, kw_only=True):
    """When and why a gang loses its nodes.

    Attributes:
        gang: which.
        window: that ends, None outside every window.
        at: the instant at which the nodes change hands.
        cut_at: when it is ended at the latest, None when it may go on.
        next: whose the nodes are then.
    """

    gang: str
    window: str | None
    at: datetime
    cut_at: datetime | None
    next: str


class Tell(Frozen, frozen=True, kw_only=True):
    """Tell the gang when its window ends."""

    end: GangEnd
    pods: tuple[Holding, ...]


class Warn(Frozen, frozen=True, kw_only=True):
    """Send the gang ``signal``, by which it writes a checkpoint."""

    end: GangEnd
    signal: str
    pods: tuple[Holding, ...]


class End(Frozen, frozen=True, kw_only=True):
    """End pods of a gang within ``grace`` seconds: ``evict`` asks, and what protects them may refuse; ``delete`` does not ask."""

    end: GangEnd
    how: Literal["evict", "delete"]
    pods: tuple[Holding, ...]
    grace: Mapping[str, int]
    """Seconds by the pod's uid."""


Step = Close | Own | Release | Tell | Warn | End


class Standing(Frozen, frozen=True, kw_only=True):
    """How a schedule stands.

    Attributes:
        name: of the schedule.
        accepted: whether it is obeyed; ``reason`` and ``message`` say why not.
        nodes: that it is about.
        owner: whose they are by it now.
        next_owner: whose next, and ``next_change`` when.
        behind: nodes that are not its owner's yet, and what they wait for.
    """

    name: str
    accepted: bool
    reason: str = "Accepted"
    message: str = ""
    nodes: tuple[str, ...] = ()
    owner: str | None = None
    next_owner: str | None = None
    next_change: datetime | None = None
    behind: Mapping[str, str] = {}


class SwitchPlan(Frozen, frozen=True, kw_only=True):
    """What to do now, in this order, and when time alone changes that. ``busy``: something is waited for that no clock tells."""

    steps: tuple[Step, ...] = ()
    standings: tuple[Standing, ...] = ()
    wake_at: datetime | None = None
    busy: bool = False
