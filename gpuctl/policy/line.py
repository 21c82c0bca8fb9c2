"""The line: who stands in it, in which order, what each may still see, and what is held for its heads.

A *head* is the first job in line that cannot start on some set of nodes. Devices are held for it (:class:`Hold`): all it will need, of
those that are free now. Others pass on devices that are not held, or end before the head starts. A second line begins where the first
head's nodes end, so that a job waiting for one cluster does not let the others' heads starve.
"""

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from gpuctl.policy.placement import Placement, asks_for, barred, place
from gpuctl.policy.space import Room, Space
from gpuctl.policy.values import Claim, PodPlace, QueueJob, Running

Key = tuple[str, str]
"""A node: cluster and name."""


class Entry(NamedTuple):
    """One place in line: a waiting job, or a running array (``grows``) that could use ``wanted`` further slots."""

    job: QueueJob
    wanted: int
    grows: bool = False

    @property
    def rank(self) -> tuple[int, datetime, str]:
        """Priority, then age, then id."""
        return rank(self.job)


class Release(NamedTuple):
    """Devices that come back: by ``at``, or nobody knows when. ``array``: the running array that could be asked for this slot."""

    at: datetime | None
    pods: tuple[PodPlace, ...]
    cpu: int
    memory: int
    array: str | None = None


class Share(NamedTuple):
    """What is held on one node: devices by index (or by number where the place only counts), CPU, memory."""

    devices: tuple[int, ...]
    number: int
    cpu: int
    memory: int


class Hold(NamedTuple):
    """What is held for a head, until it can start at the latest (None: nobody knows when, so nothing may pass on it)."""

    job: str
    until: datetime | None
    shares: Mapping[Key, Share]


def rank(job: QueueJob | Running) -> tuple[int, datetime, str]:
    """The order of the line: priority descending, then age, then id."""
    return -job.priority, job.submitted_at, job.id


def later(now: datetime, seconds: float) -> datetime | None:
    """The instant so many seconds after ``now``; None (never) where the calendar ends."""
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return None


def as_job(running: Running) -> QueueJob:
    """A running array as a job that asks for one more slot."""
    return QueueJob(
        id=running.id,
        name=running.name,
        submitted_at=running.submitted_at,
        user=running.user,
        team=running.team,
        priority=running.priority,
        pods=running.pods,
        gpus=running.gpus,
        gpu_type=running.gpu_type,
        cpu_millis=running.cpu_millis,
        memory=running.memory,
        devices=running.devices,
        tier=running.tier,
        cluster=running.cluster,
        exclude=running.exclude,
        preemptible=running.preemptible,
        time_limit=running.time_limit,
        fit_window=running.fit_window,
        array=running.array,
    )


def older(claims: Iterable[Claim], job: QueueJob) -> tuple[Claim, ...]:
    """Claims that are served before ``job``."""
    return tuple(claim for claim in claims if claim.since < job.submitted_at)


def visible(job: QueueJob, space: Space, holds: Sequence[Hold], claims: Sequence[Claim], now: datetime) -> Space:
    """What of ``space`` the job may use: without what is held for heads (unless it ends in time) and for older claims."""
    ends = later(now, job.time_limit) if job.time_limit is not None and job.array is None else None
    closed = [hold for hold in holds if hold.job != job.id and (hold.until is None or ends is None or ends > hold.until)]
    claimed = sum(claim.gpus for claim in older(claims, job))
    if not closed and not claimed:
        return space
    view = space.copy()
    for hold in closed:
        for key, share in hold.shares.items():
            room = view.rooms[key]
            room.remove(share.devices, share.number, share.cpu, share.memory)
    for room in view.rooms.values():
        if claimed <= 0:
            break
        # Everybody takes the lowest indices first, so these are the ones the older job will find.
        count = min(claimed, room.free)
        room.remove((room.devices or ())[:count], count)
        claimed -= count
    return view


def nodes_for(job: QueueJob, space: Space) -> set[Key]:
    """The nodes on which the job could ever start, as they are owned and ready now."""
    return {key for key, room in space.rooms.items() if asks_for(job, room.node) and barred(job, room.node) is None}


def restricted(space: Space, keys: set[Key]) -> Space:
    """An independent space of these nodes only."""
    return Space({key: room.copy() for key, room in space.rooms.items() if key in keys})


class Fit(NamedTuple):
    """The first point of a sequence of releases at which a job fits: how many of them it takes, where, and what is free then."""

    releases: int
    placement: Placement
    space: Space


def first_fit(job: QueueJob, space: Space, releases: Sequence[Release]) -> Fit | None:
    """How many releases, in their order, have to happen until ``job`` fits; None when it does not fit after all of them.

    More free devices never make a fit impossible, so the number is found by bisection: a dozen packings for a thousand running jobs.
    """

    def after(count: int) -> Space:
        then = space.copy()
        for release in releases[:count]:
            then.give(release.pods, cpu=release.cpu, memory=release.memory)
        return then

    fits: Callable[[int], bool] = lambda count: isinstance(place(job, after(count)), Placement)  # noqa: E731
    count = bisect.bisect_left(range(len(releases) + 1), True, key=fits)
    if count > len(releases):
        return None
    then = after(count)
    placement = place(job, then)
    return Fit(count, placement, then) if isinstance(placement, Placement) else None


def hold(job: QueueJob, fit: Fit, space: Space, *, until: datetime | None) -> tuple[Hold, dict[Key, Share]]:
    """What has to be held of what is free now so that ``job`` can start at ``fit``, and all that it will use there.

    When the instant is known, devices that come back by then are used first, so that the least is held; when it is not, free devices
    are used first: any of the running jobs may be the one that never ends.
    """
    pods: dict[Key, int] = {}
    for pod in fit.placement.pods:
        pods[pod.cluster, pod.node] = pods.get((pod.cluster, pod.node), 0) + 1
    held: dict[Key, Share] = {}
    used: dict[Key, Share] = {}
    for key, count in pods.items():
        present, then = space.rooms[key], fit.space.rooms[key]
        needed = Share((), count * job.gpus, count * job.cpu_millis, count * job.memory)
        devices, held_count = _choice(job, present, then, needed.number, known=until is not None)
        now_free = set(present.devices or ())
        held[key] = Share(
            tuple(index for index in devices if index in now_free),
            held_count,
            _part(needed.cpu, present.cpu, then.cpu, known=until is not None),
            _part(needed.memory, present.memory, then.memory, known=until is not None),
        )
        used[key] = needed._replace(devices=devices)
    return Hold(job.id, until, held), used


def _choice(job: QueueJob, present: Room, then: Room, count: int, *, known: bool) -> tuple[tuple[int, ...], int]:
    if then.devices is None:
        released = then.free - present.free
        return (), max(0, count - released) if known else min(count, present.free)
    free = set(present.devices or ())
    usable = [index for index in then.devices if not job.devices or index in job.devices]
    # Of the free ones the highest are held: those who pass take the lowest.
    usable.sort(key=lambda index: ((index in free) == known, -index))
    chosen = tuple(sorted(usable[:count]))
    return chosen, len(free.intersection(chosen))


def _part(needed: int, present: int | None, then: int | None, *, known: bool) -> int:
    if present is None or then is None:
        return 0
    return max(0, needed - (then - present)) if known else max(0, min(needed, present))
