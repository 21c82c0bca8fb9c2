"""How the pods on a node make room for its next owner: told, warned, asked to end, ended.

A gang ends as a whole, at the earliest of its ends. What an end is follows from the span that ends: its policy says whether a gang is cut
at the edge, later or not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from gpuctl.policy.values import OwnerSpan
from gpuctl.policy.windows.edges import cut_at
from gpuctl.policy.windows.marked import End, GangEnd, Holding, Step, Tell, Warn


class Timeline(NamedTuple):
    """A schedule around the present: ``spans`` begin with the present one, ``past`` with the latest that came before."""

    now: datetime
    spans: tuple[OwnerSpan, ...]
    past: tuple[OwnerSpan, ...]

    @property
    def present(self) -> OwnerSpan:
        """The span that it is now."""
        return self.spans[0]

    def following(self) -> tuple[OwnerSpan, OwnerSpan] | None:
        """The last span before the owner changes, and the first after it; None when that is not in sight."""
        for before, after in zip(self.spans, self.spans[1:], strict=False):
            if after.owner != self.present.owner:
                return before, after
        return None


class Ending(NamedTuple):
    """An end of a pod's time on its node: the span that ends, when, to whom; ``planned`` False: the schedule was changed under it."""

    span: OwnerSpan
    at: datetime
    next: str
    planned: bool = True

    @property
    def cut_at(self) -> datetime | None:
        """When it is ended at the latest."""
        return cut_at(self.span, self.at) if self.planned else self.at


def admits(pod: Holding, span: OwnerSpan) -> bool:
    """Whether the pod may be on nodes of this span: its team owns them, or they are lent and it may be stopped."""
    return pod.team == span.owner or (span.lends and pod.preemptible)


def ending(pod: Holding, line: Timeline, *, owner: str | None, since: datetime | None) -> Ending | None:
    """When the pod's time on its node ends or ended; None when that is not in sight.

    A pod that is neither the owner's nor a borrower (an administrator let it in) is left alone until the node changes hands. One that began
    after the end that it should have met, or whose schedule never gave the node to its owner, was not told of any: a schedule was changed
    under it, and it gets its grace from the moment at which the node was closed.

    Args:
        pod: one that holds GPUs.
        line: of the node's schedule.
        owner: whose the node is by its marks, which may be behind the schedule.
        since: when the node was closed, None while it is open.
    """
    if owner == line.present.owner or admits(pod, line.present):
        return _ahead(pod, line)
    following = line.present
    for before in line.past:
        if before.owner == owner:
            if pod.started is not None and pod.started > following.start:
                break
            return Ending(before, following.start, following.owner)
        following = before
    if since is None:
        return None
    return Ending(line.present, since + timedelta(seconds=line.present.grace), line.present.owner, planned=False)


def _ahead(pod: Holding, line: Timeline) -> Ending | None:
    borrows = pod.preemptible and pod.team != line.present.owner
    if borrows and not line.present.lends:
        following = line.present
        for before in line.past:
            if before.lends:
                late = pod.started is not None and pod.started > following.start
                return None if late else Ending(before, following.start, following.owner)
            following = before
        return None
    for before, after in zip(line.spans, line.spans[1:], strict=False):
        if (borrows or after.owner != line.present.owner) and not admits(pod, after):
            return Ending(before, after.start, after.owner)
    return None


def gangs(pods: Iterable[Holding]) -> Mapping[str, tuple[Holding, ...]]:
    """The pods by gang, each in the order of its names."""
    found: dict[str, list[Holding]] = {}
    for pod in pods:
        found.setdefault(pod.gang, []).append(pod)
    return {gang: tuple(sorted(members, key=lambda pod: (pod.namespace, pod.name))) for gang, members in found.items()}


def earliest(endings: Sequence[Ending]) -> Ending:
    """The end that counts for a gang: the first by which it is cut; if none cuts it, the first."""
    return min(endings, key=lambda each: (each.cut_at is None, each.cut_at or each.at, each.at, each.next))


class Drained(NamedTuple):
    """Steps for one gang now, and the next instant at which there are others. ``busy``: pods of it are still to go."""

    steps: tuple[Step, ...]
    wake_at: datetime | None
    busy: bool


def drain(gang: str, pods: tuple[Holding, ...], end: Ending, now: datetime) -> Drained:
    """What is due for a gang that ends with ``end``."""
    span, told = end.span, GangEnd(gang=gang, window=end.span.window, at=end.at, cut_at=end.cut_at, next=end.next)
    steps: list[Step] = []
    instants = [end.at - timedelta(seconds=span.notify)]
    untold = tuple(pod for pod in pods if pod.told != end.at)
    if untold and now >= instants[0]:
        steps.append(Tell(end=told, pods=untold))
    if end.cut_at is None:
        return Drained(tuple(steps), _next(instants, now), busy=False)
    warning = _warning(pods, span)
    if warning is not None:
        signal, before = warning
        instants.append(end.cut_at - timedelta(seconds=before))
        unwarned = tuple(pod for pod in pods if pod.signalled != end.at and pod.ends_at is None)
        if unwarned and now >= instants[-1]:
            steps.append(Warn(end=told, signal=signal, pods=unwarned))
    grace = {pod.uid: min(pod.grace, span.grace) for pod in pods}
    asked = end.cut_at - timedelta(seconds=max(grace.values(), default=0)) if end.planned else now
    instants += [asked, end.cut_at]
    steps += _end(pods, told, span, grace, now=now, asked=asked)
    return Drained(tuple(steps), _next(instants, now), busy=now >= asked)


def _warning(pods: Sequence[Holding], span: OwnerSpan) -> tuple[str, int] | None:
    """The signal that the gang gets and how many seconds before it is cut: its own if it wants one, else the window's."""
    own = next((pod for pod in pods if pod.signal is not None), None)
    if own is not None and own.signal is not None:
        return own.signal, own.signal_before
    return (span.signal, span.grace) if span.policy == "CheckpointThenEvict" and span.signal is not None else None


def _end(
    pods: tuple[Holding, ...], end: GangEnd, span: OwnerSpan, grace: Mapping[str, int], *, now: datetime, asked: datetime
) -> Iterable[Step]:
    assert end.cut_at is not None
    if now >= end.cut_at:
        latest = now + timedelta(seconds=span.grace)
        left = tuple(pod for pod in pods if pod.ends_at is None or pod.ends_at > latest)
        if left:
            yield End(end=end, how="delete", pods=left, grace=grace)
    elif now >= asked:
        left = tuple(pod for pod in pods if pod.ends_at is None)
        if left:
            yield End(end=end, how="evict", pods=left, grace=grace)


def _next(instants: Iterable[datetime], now: datetime) -> datetime | None:
    return min((each for each in instants if each > now), default=None)
