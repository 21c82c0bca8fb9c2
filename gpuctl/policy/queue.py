"""The only scheduler: what to do now with every job that waits.

``decide`` goes down the line once. Whoever can start, starts. The first that cannot becomes a head: devices are held for it, running
arrays behind it are asked to give slots back, and those behind it pass only on what it does not need or if they end before it starts.

Promises:
    1. Every waiting job appears in exactly one Start, Wait, Retry or Finish. Grow and Shrink name running arrays only.
    2. No device is given twice, nothing starts that is held, or whose dependency or back-off is open; gangs start whole.
    3. The order of the arguments does not matter, and time enters only through ``now``.
    4. Back-fill never delays a head beyond the start computed for it.
    5. A job that waits only for older claims of other users holds nothing: its own user's older jobs may pass it, which is what
       keeps two users' lines from waiting for each other for ever.
    6. Nothing is held idle for what only a process that is not ours stands in the way of: nobody knows whether it ever ends.

How soon failed attempts are tried again: see :mod:`gpuctl.policy.retry`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from gpuctl.model.job import State
from gpuctl.model.reason import Reason
from gpuctl.policy import dependency, retry
from gpuctl.policy.forecast import Outlook, outlook
from gpuctl.policy.line import (
    Entry,
    Hold,
    Key,
    Release,
    Share,
    as_job,
    first_fit,
    hold,
    later,
    nodes_for,
    older,
    rank,
    restricted,
    visible,
)
from gpuctl.policy.placement import Placement, place, refusal_of
from gpuctl.policy.reclaim import borrows, owners, reclaim
from gpuctl.policy.space import Space
from gpuctl.policy.values import (
    Action,
    Decision,
    Finish,
    Grow,
    PodPlace,
    QueueJob,
    Retry,
    Running,
    Shrink,
    Snapshot,
    Start,
    Wait,
)
from gpuctl.policy.waiting import HOPELESS, backoff, blocked, held
from gpuctl.policy.windows import edges
from gpuctl.policy.windows.opening import closed


def decide(jobs: Sequence[QueueJob], snapshot: Snapshot, now: datetime) -> Decision:
    """The action for every job in ``jobs`` and for running arrays, and when to look again if nothing else happens."""
    waiting = sorted(jobs, key=rank)
    settled, standing = _settle(waiting, now)
    line = Line(snapshot, now)
    entries = [Entry(job, _wanted(job)) for job in standing if _stands(job, settled, now)]
    entries += _growing(snapshot.running)
    owned_by = owners(snapshot)
    entries.sort(key=lambda entry: (borrows(entry.job, owned_by), *entry.rank))
    stuck = [entry for entry in entries if not line.serve(entry)]
    actions: list[Action] = [*settled.actions, *line.actions(), *_waits(stuck, line, snapshot, now)]
    actions += reclaim([entry.job for entry in stuck if not entry.grows], line.space, snapshot)
    for job in standing:
        reason = _apart(job, settled, now)
        if reason is not None:
            actions.append(Wait(job=job.id, reason=reason))
    return Decision(actions=tuple(actions), wake_at=_wake(actions, standing, snapshot, now))


class Settled:
    """What was decided before any device was looked at: ends and retries, and the states that follow from them."""

    def __init__(self) -> None:
        self.actions: list[Retry | Finish] = []
        self.states: dict[str, State] = {}


def _settle(waiting: Sequence[QueueJob], now: datetime) -> tuple[Settled, list[QueueJob]]:
    """Judge ended attempts, then end what can never start, until nothing follows from it any more."""
    settled = Settled()
    standing: list[QueueJob] = []
    for job in waiting:
        if job.ended is None:
            standing.append(job)
            continue
        verdict = retry.judge(job, job.ended, now)
        settled.actions.append(verdict)
        settled.states[job.id] = verdict.state if isinstance(verdict, Finish) else State.QUEUED
    ended = True
    while ended:
        ended = False
        for job in list(standing):
            reason = dependency.failed(job, settled.states)
            if reason is not None:
                settled.actions.append(Finish(job=job.id, state=State.CANCELLED, reason=reason))
                settled.states[job.id] = State.CANCELLED
                standing.remove(job)
                ended = True
    return settled, standing


def _apart(job: QueueJob, settled: Settled, now: datetime) -> Reason | None:
    """Why the job does not even stand in line, or None when it does."""
    if job.hold:
        return held(job)
    reason = dependency.waits(job, settled.states)
    if reason is not None:
        return reason
    if job.not_before is not None and job.not_before > now:
        return backoff(job, job.not_before, now)
    if job.array is not None and job.array.ready <= 0:
        return Reason(code="queued", sentence=f"no task of {job.name} may start now", what="wait")
    return None


def _stands(job: QueueJob, settled: Settled, now: datetime) -> bool:
    return _apart(job, settled, now) is None


def _wanted(job: QueueJob) -> int:
    """How many slots a waiting job can use at once."""
    if job.array is None:
        return 1
    return min(job.array.ready, job.array.parallel if job.array.parallel is not None else job.array.ready)


def _growing(running: Iterable[Running]) -> list[Entry]:
    entries = []
    for array in running:
        if array.array is None or array.shrinking:
            continue
        idle = max(0, len(array.slots) - array.array.running)
        more = array.array.ready - idle
        if array.array.parallel is not None:
            more = min(more, array.array.parallel - len(array.slots))
        if more > 0:
            entries.append(Entry(as_job(array), more, grows=True))
    return entries


class Line:
    """One pass down the line: what is still free, what is held and for whom, what was started."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self.now = now
        self.space = Space.now(snapshot.nodes, snapshot.unreachable)
        self.claims = snapshot.claims
        self.holds: list[Hold] = []
        self.starts: dict[str, int] = {}
        self.releases = [release for running in sorted(snapshot.running, key=rank) for release in _releases(running, now)]
        self._arrays = sorted((running for running in snapshot.running if running.array is not None), key=rank, reverse=True)
        self._shrink: dict[str, int] = {array.id: idle for array in self._arrays if (idle := _unused(array)) > 0}
        self._shrink |= {array.id: len(array.slots) for array in self._arrays if _too_late(array, snapshot, now)}
        self._covered: set[Key] = set()
        self._hopeless: set[tuple[object, ...]] = set()
        self._started: list[Start | Grow] = []

    def serve(self, entry: Entry) -> bool:
        """Start what can start of ``entry``; whether it got all it can use. If not, devices are held for it if it is a head."""
        job = entry.job
        if entry.grows and self._shrink.get(job.id, 0):
            return True
        shape = (_shape(job), len(older(self.claims, job)))
        slots: list[tuple[PodPlace, ...]] = []
        view = None if shape in self._hopeless else visible(job, self.space, self.holds, self.claims, self.now)
        while view is not None and len(slots) < entry.wanted:
            found = place(job, view)
            if not isinstance(found, Placement):
                break
            slots.append(found.pods)
            self.space.take(found.pods, cpu=job.cpu_millis, memory=job.memory)
            if view is not self.space:
                view.take(found.pods, cpu=job.cpu_millis, memory=job.memory)
        if slots:
            self._start(entry, slots)
        if len(slots) == entry.wanted:
            return True
        self._hopeless.add(shape)
        self._lead(job)
        # An array that got some slots runs: it is a head for the rest, but it does not wait.
        return bool(slots)

    def actions(self) -> list[Start | Grow | Shrink]:
        """Starts in the order of the line, then what arrays give back."""
        shrinks = {array.id: self._shrink.get(array.id, 0) - array.shrinking for array in self._arrays}
        return [*self._started, *(Shrink(job=job, slots=count) for job, count in sorted(shrinks.items()) if count > 0)]

    def _start(self, entry: Entry, slots: list[tuple[PodPlace, ...]]) -> None:
        job = entry.job
        make = Grow if entry.grows else Start
        self._started.append(make(job=job.id, slots=tuple(slots)))
        ends = _ends(job, self.now)
        self.releases += [Release(ends, pods, job.cpu_millis, job.memory) for pods in slots]

    def _lead(self, job: QueueJob) -> None:
        """Make ``job`` the head of the nodes that no head waits for yet, if it waits for devices there."""
        mine = nodes_for(job, self.space) - self._covered
        mine = {key for key in mine if key[0] not in self.space.unreachable}
        if not mine:
            return
        free = restricted(self.space, mine)
        if isinstance(place(job, free), Placement):
            return
        known = sorted((release for release in self.releases if release.at is not None), key=lambda release: release.at or self.now)
        unknown = [release for release in self.releases if release.at is None]
        fit = first_fit(job, free, known)
        if fit is not None:
            until = known[fit.releases - 1].at
            self.holds.append(hold(job, fit, free, until=until)[0])
        behind = [array for array in self._arrays if rank(array) > rank(job)]
        lent = [release for array in behind for release in _slots_back(array)]
        if fit is None or lent:
            self._hold_open(job, free, lent, known, unknown, bounded=fit is not None)
        if any(one.job == job.id for one in self.holds):
            self._covered |= mine

    def _hold_open(
        self, job: QueueJob, free: Space, lent: list[Release], known: list[Release], unknown: list[Release], *, bounded: bool
    ) -> None:
        """Hold devices for a start at an unknown instant, asking arrays behind for slots first."""
        names = {release.array for release in lent}
        others = [release for release in [*known, *unknown] if release.array not in names]
        sequence = lent if bounded else [*lent, *others]
        fit = first_fit(job, free, sequence)
        if fit is None:
            return
        kept, used = hold(job, fit, free, until=None)
        self.holds.append(kept)
        asked: dict[str, int] = {}
        for release in sequence[: fit.releases]:
            if release.array is not None and release.array in names and _touches(release, used, kept):
                asked[release.array] = asked.get(release.array, 0) + 1
        for array, count in asked.items():
            self._shrink[array] = max(self._shrink.get(array, 0), count)


def _touches(release: Release, used: dict[Key, Share], kept: Hold) -> bool:
    """Whether the head's place needs devices of this slot."""
    for pod in release.pods:
        share = used.get((pod.cluster, pod.node))
        if share is None:
            continue
        if not share.devices and not pod.devices:
            if share.number > kept.shares[pod.cluster, pod.node].number or not share.number:
                return True
        elif set(share.devices) & set(pod.devices):
            return True
    return False


def _releases(running: Running, now: datetime) -> list[Release]:
    at = max(running.ends_at, now) if running.ends_at is not None else None
    array = running.id if running.array is not None else None
    return [Release(at, pods, running.cpu_millis, running.memory, array) for pods in running.slots]


def _slots_back(array: Running) -> list[Release]:
    """The slots an array could be asked for, the last one first (those it is giving back already come first by that)."""
    return [Release(None, pods, array.cpu_millis, array.memory, array.id) for pods in reversed(array.slots)]


def _unused(array: Running) -> int:
    """Slots of an array that no task will ever use again."""
    return len(array.slots) - array.array.running if array.array is not None and array.array.ready <= 0 else 0


def _last_start(array: Running, snapshot: Snapshot) -> datetime | None:
    """Until when tasks of a running array that has to fit its window may start; None when nothing limits them."""
    if array.array is None or not array.fit_window or array.time_limit is None or not array.slots:
        return None
    held = {(pod.cluster, pod.node) for slot in array.slots for pod in slot}
    edge = edges.first_edge(as_job(array), [node for node in snapshot.nodes if (node.cluster, node.name) in held])
    return later(edge.at, -array.time_limit) if edge is not None else None


def _too_late(array: Running, snapshot: Snapshot, now: datetime) -> bool:
    last = _last_start(array, snapshot)
    return last is not None and now > last


def _ends(job: QueueJob, now: datetime) -> datetime | None:
    """The instant by which a slot of the job is free again: for an array, after all of its tasks one after another, if none is retried."""
    if job.time_limit is None or (job.array is not None and job.retries):
        return None
    return later(now, job.time_limit * (job.array.ready if job.array is not None else 1))


def _shape(job: QueueJob) -> tuple[object, ...]:
    """Jobs of one shape that stand in one pass have one fate: what is free only shrinks on the way down the line."""
    size = (job.pods, job.gpus, job.cpu_millis, job.memory)
    limit = (job.time_limit, job.fit_window, job.array is None)
    return *size, job.gpu_type, job.devices, job.tier, job.cluster, job.exclude, job.team, job.preemptible, *limit


def _waits(stuck: Sequence[Entry], line: Line, snapshot: Snapshot, now: datetime) -> list[Wait]:
    """The reasons, judged by what is free after everything that starts now. What can never start is in nobody's way."""
    found = {shape: place(entry.job, line.space) for shape, entry in {_shape(entry.job): entry for entry in stuck}.items()}
    why = {shape: refusal_of(outcome).reason.code for shape, outcome in found.items() if not isinstance(outcome, Placement)}
    lost = {shape for shape, code in why.items() if code in HOPELESS or code == "window"}
    in_line = [entry.job for entry in stuck if _shape(entry.job) not in lost]
    outlooks = outlook(in_line, line.space, line.releases, snapshot.claims, now)
    waits = []
    for job in (entry.job for entry in stuck if not entry.grows):
        if why.get(_shape(job)) == "window":
            shut, opening = closed(job, snapshot.nodes, now)
            waits.append(Wait(job=job.id, reason=shut, expected_start=opening))
            continue
        ahead = outlooks.get(job.id, Outlook(0, 0, 0, None))
        reason = blocked(job, found[_shape(job)], line.space, line.holds, snapshot, ahead, now)
        waits.append(Wait(job=job.id, reason=reason, expected_start=ahead.start, ahead=ahead.ahead))
    return waits


def _wake(actions: Sequence[Action], standing: Sequence[QueueJob], snapshot: Snapshot, now: datetime) -> datetime | None:
    """The earliest instant at which time alone changes the answer: a back-off's end, or a change of a node's owner."""
    instants = [action.not_before for action in actions if isinstance(action, Retry)]
    paused = {action.job for action in actions if isinstance(action, Wait) and action.reason.code == "backoff"}
    instants += [job.not_before for job in standing if job.not_before is not None and job.id in paused]
    growing = any(running.array is not None for running in snapshot.running)
    if standing or growing:
        instants += [edge for node in snapshot.nodes if (edge := edges.next_edge(node, now)) is not None]
    instants += [last for running in snapshot.running if (last := _last_start(running, snapshot)) is not None]
    return min((instant for instant in instants if instant > now), default=None)
