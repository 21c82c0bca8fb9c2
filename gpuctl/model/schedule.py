"""Whose nodes are these, and when: the document ``PoolSchedule``, and what its fields may say.

Instants in it are wall clock of its time zone; durations stay in the spelling people use. What follows from a schedule (owners, edges,
overlaps) is ``policy.windows``'s to say.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, ClassVar, Literal

import msgspec

from gpuctl.base import duration, names
from gpuctl.base.errors import Problem, nearest
from gpuctl.model.place import Seen
from gpuctl.model.spec import Value

SCHEDULE_VERSION = "gpuctl.io/v1alpha1"

LONGEST_WINDOW = 7 * 86400
"""Seconds that one window may stay open."""

MOST_WINDOWS = 50
MOST_EXCEPTIONS = 128
"""What a schedule may have of each: an API server only takes rules whose cost it can tell beforehand."""

DrainPolicy = Literal["Evict", "RunToCompletion", "CheckpointThenEvict", "Never"]


class NodePool(Value, frozen=True, kw_only=True):
    """Which nodes.

    Attributes:
        clusters: only nodes of these clusters; every cluster's without it.
        node_selector: labels that a node must have, all of them.
        count: only so many of these nodes in each cluster, always the same ones while they are there; all of them without it.
    """

    clusters: tuple[str, ...] = ()
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    count: int | None = None


class Drain(Value, frozen=True, kw_only=True):
    """How a window's jobs make room at its end.

    Attributes:
        notify: so long before the end its jobs are told.
        lead: so long before the end nothing starts any more that would be cut.
        grace: the most that a job gets between SIGTERM and the end, where it has asked for no less.
        policy: ``Evict`` ends what is left at the end; ``CheckpointThenEvict`` sends ``signal`` to the ranks ``grace`` before; with
            ``RunToCompletion`` jobs may go on for ``max_overrun``; with ``Never`` they are left alone.
        max_overrun: so long after the end jobs may go on; until they end without it. Only with RunToCompletion.
        signal: that the ranks get, such as USR1. Only with CheckpointThenEvict, which needs one.
    """

    notify: str = "45m"
    lead: str = "30m"
    grace: str = "10m"
    policy: DrainPolicy = "Evict"
    max_overrun: str | None = None
    signal: str | None = None


class Borrow(Value, frozen=True, kw_only=True):
    """Whether others may use what the owner does not.

    Attributes:
        idle: while the window is open, others may use nodes of it that stand idle, for jobs that may be stopped (``--requeue``).
    """

    idle: bool = False


class Window(Value, frozen=True, kw_only=True):
    """A span of time that comes again, and whose the nodes are in it: from ``start`` (cron) to ``end`` (cron), or for ``duration``.

    Where several are open the highest ``priority`` owns.

    Attributes:
        name: of its own within the schedule, a DNS label.
        owner: the team whose the nodes are while it is open, a DNS label.
        start: cron of five fields (minute, hour, day, month, weekday) on the wall clock of the schedule's zone.
        end: cron at which it ends. Give this or ``duration``.
        duration: elapsed time that it stays open, such as 8h; at most 7 days.
        priority: the highest of several open windows owns; windows of one priority may not overlap.
        drain: how its jobs make room at its end.
        borrow: whether others may use what its owner does not.
    """

    PLACEHOLDERS: ClassVar[Mapping[str, Any]] = {"name": "", "owner": "", "start": ""}

    name: str
    owner: str
    start: str
    end: str | None = None
    duration: str | None = None
    priority: int = 0
    drain: Drain = Drain()
    borrow: Borrow = Borrow()

    @property
    def seconds(self) -> int | None:
        """Elapsed seconds of a window with a duration."""
        return duration.parse(self.duration) if self.duration is not None else None


class ScheduleException(Value, frozen=True, kw_only=True):
    """Windows that begin on one date do not open, or are somebody else's.

    Attributes:
        date: YYYY-MM-DD, on the calendar of the schedule's zone.
        skip: they do not open. Give this or ``owner``.
        owner: the team whose they are instead.
        windows: names of windows it is about; all of them without it.
    """

    PLACEHOLDERS: ClassVar[Mapping[str, Any]] = {"date": ""}

    date: str
    skip: bool = False
    owner: str | None = None
    windows: tuple[str, ...] = ()


class ScheduleSpec(Value, frozen=True, kw_only=True):
    """Which nodes, and whose they are when.

    Attributes:
        pool: which nodes.
        time_zone: IANA name such as Europe/Berlin; all wall clocks of the schedule are this zone's.
        default_owner: the team whose the nodes are outside every window, a DNS label.
        windows: spans of time that come again, and whose the nodes are in them.
        exceptions: dates on which windows do not open, or are somebody else's.
    """

    PLACEHOLDERS: ClassVar[Mapping[str, Any]] = {"pool": {}, "timeZone": "", "defaultOwner": "", "windows": []}

    pool: NodePool
    time_zone: str
    default_owner: str
    windows: tuple[Window, ...]
    exceptions: tuple[ScheduleException, ...] = ()


class ScheduleMetadata(Value, frozen=True, kw_only=True):
    """The schedule's name, and labels that mean nothing to gpuctl."""

    PLACEHOLDERS: ClassVar[Mapping[str, Any]] = {"name": ""}

    name: str
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class PoolSchedule(Value, frozen=True, kw_only=True):
    """A schedule as a file or a Kubernetes object holds it."""

    PLACEHOLDERS: ClassVar[Mapping[str, Any]] = {
        "apiVersion": SCHEDULE_VERSION,
        "kind": "PoolSchedule",
        "metadata": {**ScheduleMetadata.PLACEHOLDERS},
        "spec": {**ScheduleSpec.PLACEHOLDERS},
    }

    api_version: Literal["gpuctl.io/v1alpha1"]
    kind: Literal["PoolSchedule"]
    metadata: ScheduleMetadata
    spec: ScheduleSpec


class ScheduleStatus(Seen, frozen=True, kw_only=True):
    """A schedule as a cluster has it, and the nodes there that it is about; ``node_count`` is how many there were to choose from.

    Attributes:
        cluster: where.
        name: of the schedule.
        schedule: what it says; None where that cannot be made out.
        nodes: that it is about; none while it is not obeyed.
        gpus: GPUs (or slots) of the nodes it is about.
        team: the team whose jobs this pool takes mine for.
        problems: why it is not obeyed; empty: it is.
        notes: what people should know of how it is obeyed.
        clock_ahead: seconds by which the place's clock is ahead of this machine's.
    """

    cluster: str
    name: str
    schedule: PoolSchedule | None = None
    nodes: tuple[str, ...] = ()
    node_count: int | None = None
    gpus: int | None = None
    gpu_type: str | None = None
    team: str | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    clock_ahead: float = 0.0

    @property
    def obeyed(self) -> PoolSchedule | None:
        """The schedule, if it is obeyed."""
        return None if self.problems else self.schedule


def check_schedule(
    value: object, *, cron_problem: Callable[[str], str | None], knows_zone: Callable[[str], bool]
) -> tuple[PoolSchedule | None, tuple[Problem, ...]]:
    """The schedule in ``value`` (what a YAML parser gave), or every problem of its fields.

    Args:
        value: of any shape.
        cron_problem: why a text is no cron expression, None when it is one.
        knows_zone: whether a text names a time zone.
    """
    from gpuctl.model import check

    document, problems = check.read(value, PoolSchedule, what="schedule")
    if document is None:
        return None, problems
    wrong = {problem.field for problem in problems}
    judged = [*_metadata(document.metadata), *_spec(document.spec, cron_problem=cron_problem, knows_zone=knows_zone)]
    problems = (*problems, *(problem for problem in judged if not check.touched(problem.field, wrong) and not _follows(problem, wrong)))
    return (None if problems else document), problems


def _follows(problem: Problem, wrong: set[str]) -> bool:
    """Whether an end is only missing because the duration that was given is none."""
    window, _, field = problem.field.rpartition(".")
    return field == "end" and problem.message == "is missing" and f"{window}.duration" in wrong


def _metadata(metadata: ScheduleMetadata) -> Iterator[Problem]:
    yield from _name("metadata.name", metadata.name)


def _spec(spec: ScheduleSpec, *, cron_problem: Callable[[str], str | None], knows_zone: Callable[[str], bool]) -> Iterator[Problem]:
    if spec.pool.count is not None and spec.pool.count < 1:
        yield Problem(
            field="spec.pool.count", message="is out of range", got=str(spec.pool.count), allowed="at least 1, or nothing for all"
        )
    if not knows_zone(spec.time_zone):
        allowed = "an IANA name such as Europe/Berlin or UTC"
        yield Problem(field="spec.timeZone", message="is no time zone known here", got=repr(spec.time_zone), allowed=allowed)
    yield from _name("spec.defaultOwner", spec.default_owner)
    for field, found, most in (("windows", spec.windows, MOST_WINDOWS), ("exceptions", spec.exceptions, MOST_EXCEPTIONS)):
        if len(found) > most:
            yield Problem(field=f"spec.{field}", message="are too many", got=str(len(found)), allowed=f"at most {most}")
    seen: dict[str, int] = {}
    for position, window in enumerate(spec.windows):
        where = f"spec.windows[{position}]"
        yield from _name(f"{where}.name", window.name)
        if window.name and window.name in seen:
            yield Problem(field=f"{where}.name", message=f"is also the name of spec.windows[{seen[window.name]}]", got=window.name)
        seen.setdefault(window.name, position)
        yield from _window(window, where, cron_problem=cron_problem)
    known = list(seen)
    for position, exception in enumerate(spec.exceptions):
        yield from _exception(exception, f"spec.exceptions[{position}]", known)


def _window(window: Window, where: str, *, cron_problem: Callable[[str], str | None]) -> Iterator[Problem]:
    yield from _name(f"{where}.owner", window.owner)
    for field, expression in (("start", window.start), ("end", window.end)):
        why = cron_problem(expression) if expression is not None else None
        if why is not None:
            allowed = 'five fields: minute hour day month weekday, such as "0 22 * * 1-5"'
            yield Problem(field=f"{where}.{field}", message=why, got=repr(expression), allowed=allowed)
    if window.end is not None and window.duration is not None:
        yield Problem(field=f"{where}.duration", message="cannot be given together with end")
    elif window.end is None and window.duration is None:
        yield Problem(field=f"{where}.end", message="is missing", allowed="end (cron), or duration")
    yield from _span(f"{where}.duration", window.duration, least=60, most=LONGEST_WINDOW)
    drain = window.drain
    for field, text in (("notify", drain.notify), ("lead", drain.lead), ("grace", drain.grace), ("maxOverrun", drain.max_overrun)):
        yield from _span(f"{where}.drain.{field}", text, least=0, most=LONGEST_WINDOW)
    if drain.max_overrun is not None and drain.policy != "RunToCompletion":
        yield Problem(field=f"{where}.drain.maxOverrun", message="belongs to policy RunToCompletion", got=drain.policy)
    if drain.policy == "CheckpointThenEvict" and drain.signal is None:
        yield Problem(field=f"{where}.drain.signal", message="is missing: CheckpointThenEvict sends one", allowed="USR1, USR2, INT, ...")
    elif drain.policy != "CheckpointThenEvict" and drain.signal is not None:
        yield Problem(field=f"{where}.drain.signal", message="belongs to policy CheckpointThenEvict", got=drain.policy)
    yield from _signal(f"{where}.drain.signal", drain.signal)


def _signal(field: str, name: str | None) -> Iterator[Problem]:
    import signal

    if name is None:
        return
    known = [each.name.removeprefix("SIG") for each in signal.Signals]
    plain = name.upper().removeprefix("SIG")
    if plain not in known or plain in {"KILL", "STOP"}:
        why = "cannot be caught, so it warns nobody" if plain in known else "is no signal"
        yield Problem(field=field, message=why, got=repr(name), allowed="USR1, USR2, INT, ...", nearest=nearest(plain, known))


def _exception(exception: ScheduleException, where: str, known: list[str]) -> Iterator[Problem]:
    if day(exception.date) is None:
        yield Problem(field=f"{where}.date", message="is no date of the calendar", got=repr(exception.date), allowed="YYYY-MM-DD")
    if exception.skip == (exception.owner is not None):
        yield Problem(field=where, message="says nothing" if not exception.skip else "says two things", allowed="skip: true, or an owner")
    if exception.owner is not None:
        yield from _name(f"{where}.owner", exception.owner)
    if len(exception.windows) > MOST_WINDOWS:
        yield Problem(field=f"{where}.windows", message="are too many", got=str(len(exception.windows)), allowed=f"at most {MOST_WINDOWS}")
    for position, name in enumerate(exception.windows):
        if name not in known:
            field = f"{where}.windows[{position}]"
            yield Problem(field=field, message="is no window", got=name, allowed=", ".join(known) or None, nearest=nearest(name, known))


def day(text: str) -> date | None:
    """The date that ``2026-12-24`` names, None when there is no such day."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  (a day of the schedule's own zone)
    except ValueError:
        return None


def _name(field: str, text: str) -> Iterator[Problem]:
    why = names.problem(text)
    if why is not None:
        yield Problem(field=field, message=why, got=repr(text), allowed=names.ALLOWED, nearest=names.suggestion(text) if text else None)


def _span(field: str, text: str | None, *, least: int, most: int) -> Iterator[Problem]:
    if text is None:
        return
    try:
        seconds = duration.parse(text)
    except ValueError as error:
        yield Problem(field=field, message=str(error), got=repr(text), allowed=duration.ALLOWED)
        return
    if not least <= seconds <= most:
        allowed = f"from {duration.canonical(least)} to {duration.canonical(most)}"
        yield Problem(field=field, message="is out of range", got=text, allowed=allowed)


def encode(schedule: PoolSchedule) -> bytes:
    """The document as JSON, which is YAML too."""
    return msgspec.json.encode(schedule)


class OwnedSpan(Seen, frozen=True, kw_only=True):
    """The nodes are ``owner``'s from ``start`` until ``end`` (not included); ``window`` None: outside every window.

    ``lends``: what stands idle may be borrowed.
    """

    start: datetime
    end: datetime
    owner: str
    window: str | None = None
    lends: bool = False


class NextOwner(Seen, frozen=True, kw_only=True):
    """Whose the nodes are next, and from when on."""

    owner: str
    at: datetime
    window: str | None = None


class PoolWindows(Seen, frozen=True, kw_only=True):
    """A schedule as it stands at one instant, and how its next days go.

    Attributes:
        name: of the schedule.
        cluster: where it is obeyed.
        nodes: that it is about; ``node_count`` is how many there are on the cluster, ``gpus`` what the nodes have.
        at: the instant that is shown.
        next: absent where the owner does not change within 400 days.
        lends: whether idle GPUs may be borrowed now.
        team: whose view it is, if anybody's.
        spans: what follows, without gaps.
        problems: why the schedule is not obeyed; then it owns nothing, and owner and spans are absent.
        notes: what people should know of how it is obeyed.
    """

    name: str
    cluster: str
    time_zone: str | None = None
    at: datetime
    owner: str | None = None
    nodes: tuple[str, ...] = ()
    node_count: int | None = None
    gpus: int | None = None
    gpu_type: str | None = None
    window: str | None = None
    lends: bool = False
    next: NextOwner | None = None
    team: str | None = None
    spans: tuple[OwnedSpan, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
