"""When a waiting job would start at the latest, and who is ahead of it.

The forecast lets the line start strictly in order, every job running to its limit; back-fill and early ends only make it come true
earlier. It is given only where every job ahead has an end, for the first jobs in line: guesses further out help nobody.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from gpuctl.policy.line import Release, first_fit, later, older
from gpuctl.policy.space import Space
from gpuctl.policy.values import Claim, QueueJob

FARTHEST = 32
"""Jobs in line for which a start is computed."""


class Outlook(NamedTuple):
    """A job's place in line.

    ``ahead`` counts waiting jobs it competes with (running arrays that want more, and older jobs of other users included),
    ``running`` those that hold devices; of both together ``endless`` have no known end. ``first`` is the name of the job at the head.
    """

    ahead: int
    running: int
    endless: int
    start: datetime | None
    first: str | None = None
    unknown: str | None = None
    """Why there is no start, as advice."""


def outlook(
    line: Sequence[QueueJob], space: Space, releases: Sequence[Release], claims: Sequence[Claim], now: datetime
) -> dict[str, Outlook]:
    """The outlook of every job in ``line`` (in order), by its id."""
    sim = space.copy()
    pending = sorted((release for release in releases if release.at is not None), key=lambda release: release.at or now)
    running = _holders(releases)
    endless_running = _holders([release for release in releases if release.at is None])
    found: dict[str, Outlook] = {}
    groups: dict[_Kind, list[QueueJob]] = {}
    stopped: list[_Kind] = []
    cursor = now
    for number, job in enumerate(line):
        kind = _Kind(job.cluster, job.gpu_type, job.tier)
        rivals = [one for other, members in groups.items() if other.meets(kind) for one in members] if number < FARTHEST else []
        count = sum(len(members) for other, members in groups.items() if other.meets(kind))
        served_before = older(claims, job)
        start: datetime | None = None
        blocked = number >= FARTHEST or bool(served_before) or any(other.meets(kind) for other in stopped)
        if not blocked:
            fit = first_fit(job, sim, pending)
            if fit is not None:
                start = cursor = max([cursor, *(release.at for release in pending[: fit.releases] if release.at is not None)])
                pending = pending[fit.releases :]
                sim = fit.space
                sim.take(fit.placement.pods, cpu=job.cpu_millis, memory=job.memory)
                ends = later(start, job.time_limit * _runs(job)) if job.time_limit is not None else None
                if ends is not None:
                    pending.append(Release(ends, fit.placement.pods, job.cpu_millis, job.memory))
                    pending.sort(key=lambda release: release.at or now)
        if start is None or job.time_limit is None:
            stopped.append(kind)
        endless = sum(1 for one in rivals if one.time_limit is None) + len(served_before) + endless_running
        found[job.id] = Outlook(
            ahead=count + len(served_before),
            running=running,
            endless=endless,
            start=start,
            first=line[0].name if count else None,
            unknown=None if start is not None else _unknown(number, count + len(served_before) + running, endless),
        )
        groups.setdefault(kind, []).append(job)
    return found


class _Kind(NamedTuple):
    """What a job asks of nodes by name; jobs meet unless these rule it out."""

    cluster: str | None
    gpu_type: str | None
    tier: str

    def meets(self, other: "_Kind") -> bool:
        return (
            (self.cluster is None or other.cluster is None or self.cluster == other.cluster)
            and (self.gpu_type is None or other.gpu_type is None or self.gpu_type == other.gpu_type)
            and (self.tier == "any" or other.tier == "any" or self.tier == other.tier)
        )


def _holders(releases: Sequence[Release]) -> int:
    """How many jobs hold what comes back: an array is one, however many slots it has."""
    return sum(1 for release in releases if release.array is None) + len(
        {release.array for release in releases if release.array is not None}
    )


def _runs(job: QueueJob) -> int:
    """How many limits a job takes at most: an array with one slot, one task after another."""
    return max(1, job.array.ready) if job.array is not None else 1


def _unknown(number: int, ahead: int, endless: int) -> str | None:
    if number >= FARTHEST:
        return f"when it starts is worked out only for the first {FARTHEST} in line"
    if endless:
        return f"give jobs a --time to learn when this one starts: {endless} of {ahead} running or ahead have none"
    return None
