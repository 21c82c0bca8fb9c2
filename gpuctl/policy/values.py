"""What the scheduler is told and what it answers: queued and running jobs, the snapshot of nodes, the actions.

Instants are UTC. GPUs are counted in whole devices; on a machine without GPUs a device is a process slot. CPU in thousandths of a
core, memory in bytes; None means "no limit known", never zero.
"""

from datetime import datetime

import msgspec

from gpuctl.model.job import Exit, State
from gpuctl.model.place import Footprint
from gpuctl.model.reason import Reason
from gpuctl.model.spec import AfterMode, Tier


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the scheduler's values."""


class After(Frozen, frozen=True, kw_only=True):
    """A dependency with the present state of the job it names; ``state`` None: that job does not exist (any more)."""

    job: str
    name: str
    mode: AfterMode
    state: State | None


class ArrayProgress(Frozen, frozen=True, kw_only=True):
    """How far an array is: tasks that may start now, tasks that run (or are about to), most at once (None: no limit)."""

    ready: int
    running: int
    parallel: int | None = None


class EndedAttempt(Frozen, frozen=True, kw_only=True):
    """The last attempt of a job, ended and not yet judged. ``infrastructure``: not the job's own fault (does not use up retries).

    ``began``: whether the job's own program ran at all (a process of it was started).
    """

    number: int
    state: State
    at: datetime
    exit: Exit | None = None
    infrastructure: bool = False
    began: bool = True


class QueueJob(Frozen, frozen=True, kw_only=True):
    """A job that waits, or whose last attempt has just ended.

    ``pods`` x ``gpus`` is the gang of one task. ``time_limit`` in seconds, None for no end. ``retries`` is what was asked for,
    ``retries_left`` what is left of it after the attempts that counted; ``attempts`` began so far. ``not_before`` comes from back-off.
    ``devices``: only these device indices may be used (``--devices``). ``footprint``: what it takes besides, by the place it is judged for.
    """

    id: str
    name: str
    submitted_at: datetime
    user: str = ""
    team: str | None = None
    priority: int = 0
    pods: int = 1
    gpus: int = 1
    gpu_type: str | None = None
    cpu_millis: int = 0
    memory: int = 0
    footprint: Footprint | None = None
    devices: tuple[int, ...] = ()
    tier: Tier = "any"
    cluster: str | None = None
    exclude: tuple[str, ...] = ()
    time_limit: int | None = None
    fit_window: bool = False
    preemptible: bool = False
    hold: bool = False
    after: tuple[After, ...] = ()
    not_before: datetime | None = None
    array: ArrayProgress | None = None
    ended: EndedAttempt | None = None
    retries: int = 0
    retries_left: int = 0
    requeue: bool = False
    attempts: int = 0


class PodPlace(Frozen, frozen=True, kw_only=True):
    """Where one pod of a gang goes. ``devices`` are indices on that node, empty where the place itself assigns them."""

    cluster: str
    node: str
    devices: tuple[int, ...] = ()
    gpus: int = 0


class Running(Frozen, frozen=True, kw_only=True):
    """A job that holds devices. ``slots`` holds one tuple of pods per task that may run at once (one slot for a job that is no array).

    ``ends_at``: the instant by which it must end (time limit), None when unknown. ``shrinking``: how many of the slots have been asked back
    already and are given back when their tasks end. ``reclaimed``: it borrows, and has been told to give its devices back.
    """

    id: str
    name: str
    submitted_at: datetime
    user: str = ""
    priority: int = 0
    slots: tuple[tuple[PodPlace, ...], ...] = ()
    ends_at: datetime | None = None
    array: ArrayProgress | None = None
    shrinking: int = 0
    pods: int = 1
    gpus: int = 1
    gpu_type: str | None = None
    devices: tuple[int, ...] = ()
    cpu_millis: int = 0
    memory: int = 0
    team: str | None = None
    tier: Tier = "any"
    cluster: str | None = None
    exclude: tuple[str, ...] = ()
    preemptible: bool = False
    time_limit: int | None = None
    fit_window: bool = False
    reclaimed: bool = False


class OwnerSpan(Frozen, frozen=True, kw_only=True):
    """A node is ``owner``'s from ``start`` until ``until`` (None: as far as anybody looked), by ``window`` (None outside every window).

    ``lends``: what stands idle, to jobs that may be stopped. How jobs make room at its end: ``policy`` as in a schedule, ``notify``,
    ``lead``, ``grace`` and ``max_overrun`` in seconds (None: no limit), the name of a ``signal``.
    """

    owner: str
    start: datetime
    until: datetime | None = None
    lends: bool = False
    window: str | None = None
    policy: str = "Evict"
    notify: int = 2700
    lead: int = 1800
    grace: int = 600
    max_overrun: int | None = None
    signal: str | None = None


class NodeState(Frozen, frozen=True, kw_only=True):
    """One node with what is free on it now.

    ``devices_free`` are indices (empty with ``gpus_free`` set where the place counts only). ``busy`` tells who holds the others, for
    sentences: ``"held by anna, pid 4242"`` by device index; only foreign processes, not our own jobs. ``gpu_type`` None or ``slot``: the
    devices are process slots. ``spans``: whose it is and will be, the present one first; ``at``: the instant that the node describes;
    ``zone``: the time zone in which people of the place read instants; ``closing``: the next owner, while nothing starts here until the
    node has changed hands.
    """

    cluster: str
    name: str
    tier: str | None = None
    ready: bool = True
    why: str | None = None
    gpu_type: str | None = None
    gpus: int = 0
    gpus_free: int = 0
    devices: tuple[int, ...] = ()
    devices_free: tuple[int, ...] = ()
    busy: dict[int, str] = {}
    cpu_millis: int | None = None
    cpu_millis_free: int | None = None
    memory: int | None = None
    memory_free: int | None = None
    owner: str | None = None
    owner_until: datetime | None = None
    lends_idle: bool = False
    spans: tuple[OwnerSpan, ...] = ()
    at: datetime | None = None
    zone: str | None = None
    closing: str | None = None


class Claim(Frozen, frozen=True, kw_only=True):
    """Somebody else's older job that waits for the same devices (another user's keeper on one workstation): served before ours."""

    user: str
    since: datetime
    gpus: int
    name: str | None = None


class Snapshot(Frozen, frozen=True, kw_only=True):
    """What is there, at one instant. ``unreachable`` names clusters that could not be read."""

    nodes: tuple[NodeState, ...]
    running: tuple[Running, ...] = ()
    claims: tuple[Claim, ...] = ()
    unreachable: tuple[str, ...] = ()


class Start(Frozen, frozen=True, kw_only=True):
    """Start ``job`` now with these slots (one for a job that is no array; up to the array's width else)."""

    job: str
    slots: tuple[tuple[PodPlace, ...], ...]


class Grow(Frozen, frozen=True, kw_only=True):
    """Give a running array further slots."""

    job: str
    slots: tuple[tuple[PodPlace, ...], ...]


class Shrink(Frozen, frozen=True, kw_only=True):
    """A running array gives back so many slots, each when its present task ends."""

    job: str
    slots: int


class Reclaim(Frozen, frozen=True, kw_only=True):
    """``job`` borrows from ``owner`` and is stopped, so that the owner's job of the name ``to`` can start."""

    job: str
    owner: str
    to: str


class Wait(Frozen, frozen=True, kw_only=True):
    """``job`` stays in line, for this reason; ``expected_start`` only when every job ahead has an end."""

    job: str
    reason: Reason
    expected_start: datetime | None = None
    ahead: int = 0


class Retry(Frozen, frozen=True, kw_only=True):
    """The ended attempt is followed by another one, not before the instant. ``counts``: it uses up one of the user's retries."""

    job: str
    not_before: datetime
    counts: bool
    reason: Reason


class Finish(Frozen, frozen=True, kw_only=True):
    """``job`` ends in this state (its last attempt was judged final, or a dependency can never be satisfied)."""

    job: str
    state: State
    reason: Reason | None = None
    exit: Exit | None = None


Action = Start | Grow | Shrink | Reclaim | Wait | Retry | Finish


class Decision(Frozen, frozen=True, kw_only=True):
    """Every waiting job appears in exactly one action. ``wake_at``: when time alone changes the answer (back-off, window edge)."""

    actions: tuple[Action, ...]
    wake_at: datetime | None = None
