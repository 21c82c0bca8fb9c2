"""Why a job waits, in one sentence with numbers: the reasons of the queue's Wait actions."""

from collections.abc import Sequence
from datetime import datetime

from gpuctl.base import duration
from gpuctl.model.reason import Reason
from gpuctl.policy.forecast import Outlook
from gpuctl.policy.line import Hold, older
from gpuctl.policy.placement import Placement, Refusals, place, refusal_of
from gpuctl.policy.space import Space, total
from gpuctl.policy.values import Claim, QueueJob, Snapshot
from gpuctl.policy.wording import devices_word, instant, plural

HOPELESS = frozenset({"never-fits", "no-such-gpu", "unreachable"})
"""Refusals that no place in line changes."""


def held(job: QueueJob) -> Reason:
    """On hold until its owner lets it go."""
    return Reason(
        code="held",
        sentence="held by its owner, does not start until released",
        what="change",
        advice="release it",
        command=f"gpuctl update {job.name} --release",
    )


def backoff(job: QueueJob, until: datetime, now: datetime) -> Reason:
    """Pausing between two attempts."""
    left = duration.short((until - now).total_seconds())
    return Reason(
        code="backoff",
        sentence=f"attempt {job.attempts + 1} may start in {left}, at {instant(until, now)}",
        what="wait",
        command=f"gpuctl logs {job.name} --attempt {job.attempts}" if job.attempts else None,
    )


def blocked(
    job: QueueJob,
    found: Placement | Refusals,
    space: Space,
    holds: Sequence[Hold],
    snapshot: Snapshot,
    ahead: Outlook,
    now: datetime,
) -> Reason:
    """Standing in line: for devices, behind others, behind another user's claim, or for a process that is not ours."""
    advice = ahead.unknown
    claims = older(snapshot.claims, job)
    word = devices_word(snapshot.nodes)
    free = sum(room.usable(job.devices) for room in space.rooms.values() if room.node.ready)
    count = sum(total(node) for node in snapshot.nodes)
    line = f"queued behind {plural(ahead.ahead, 'job')}"
    if isinstance(found, Placement):
        needs = f"needs {job.pods * job.gpus} of {count} {word}, {free} free"
        if claims and not _held_here(job, holds):
            return Reason(code="claimed", sentence=f"{line}, {needs} but {_claimed(claims, now)}", what="wait", advice=advice)
        keep = f"held for {ahead.first}" if ahead.first else "held for the head of the line"
        shorter = "a --time that ends before it starts would let this one pass"
        sentence = f"{line}, {needs} but {keep}{_next(snapshot, now)}"
        return Reason(code="queued", sentence=sentence, what="wait", advice=f"{advice}; {shorter}" if advice else shorter)
    reason = refusal_of(found).reason
    if reason.code in HOPELESS:
        return reason
    foreign = _foreign(job, space, snapshot)
    if ahead.ahead:
        sentence = f"{line}, {reason.sentence}{_next(snapshot, now)}{foreign}"
        return Reason(code="queued", sentence=sentence, what="wait", advice=advice or reason.advice)
    if foreign and _they_are_the_obstacle(job, space, snapshot):
        return Reason(
            code="device-busy",
            sentence=f"{reason.sentence}{foreign}",
            what="escalate",
            advice="ask them to free it, or wait: it starts when the process ends",
            command="gpuctl nodes -o wide",
        )
    sentence = f"{reason.sentence}{_next(snapshot, now)}{foreign}"
    return Reason(code=reason.code, sentence=sentence, what=reason.what, advice=reason.advice or advice, command=reason.command)


def _held_here(job: QueueJob, holds: Sequence[Hold]) -> bool:
    return any(one.job != job.id and any(share.number for share in one.shares.values()) for one in holds)


def _claimed(claims: Sequence[Claim], now: datetime) -> str:
    first = min(claims, key=lambda claim: (claim.since, claim.user))
    return f"{plural(len(claims), 'older job')} of others first ({first.user}: {first.gpus} since {instant(first.since, now)})"


def _next(snapshot: Snapshot, now: datetime) -> str:
    ends = sorted((running.ends_at, running.name) for running in snapshot.running if running.ends_at is not None and running.slots)
    return f"; next: {ends[0][1]} ends by {instant(max(ends[0][0], now), now)}" if ends else ""


def _foreign(job: QueueJob, space: Space, snapshot: Snapshot) -> str:
    """Who holds devices that are not ours to give: the first, and how many more."""
    busy = [
        (node, index, node.busy[index])
        for node in (room.node for room in space.rooms.values())
        for index in sorted(node.busy)
        if not job.devices or index in job.devices
    ]
    if not busy:
        return ""
    node, index, who = busy[0]
    name = "slot" if devices_word([node]) == "slots" else "GPU"
    where = f" of {node.name}" if len(snapshot.nodes) > 1 else ""
    more = f" and {len(busy) - 1} more" if len(busy) > 1 else ""
    return f"; {name} {index}{where} {who}{more}"


def _they_are_the_obstacle(job: QueueJob, space: Space, snapshot: Snapshot) -> bool:
    """Whether the job would start now without the foreign processes, or would not even if every job of ours ended."""
    without = space.copy()
    for room in without.rooms.values():
        room.add(tuple(room.node.busy), len(room.node.busy))
    if isinstance(place(job, without), Placement):
        return True
    only_them = Space.empty(snapshot.nodes)
    for room in only_them.rooms.values():
        room.remove(tuple(room.node.busy), len(room.node.busy))
    return not isinstance(place(job, only_them), Placement)
