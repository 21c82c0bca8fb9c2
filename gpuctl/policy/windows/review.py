"""What is wrong with a schedule, all of it at once, and what is worth knowing about one that is right.

Wrong: what its fields may not say, windows of one priority that overlap, windows that never open or never close. Worth knowing: gaps, days
on which clocks change, starts and exceptions that come to nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import combinations

from gpuctl.base import duration
from gpuctl.base.errors import Problem
from gpuctl.model import jobfile
from gpuctl.model.schedule import LONGEST_WINDOW, PoolSchedule, Window, check_schedule, day
from gpuctl.policy.windows import cron, selection
from gpuctl.policy.windows.owners import HORIZON, Opening, intervals, openings
from gpuctl.policy.windows.selection import PoolNode

Found = tuple[PoolSchedule | None, tuple[Problem, ...]]

_CLOCK_YEARS = timedelta(days=731)


def read(text: bytes, *, source: str, now: datetime) -> Found:
    """The schedule that a file holds, or every problem of it; fields are told in the file's own spelling.

    Raises:
        UsageError: ``bad-schedule``: no YAML, several documents.
        InvalidInput: ``bad-schedule``: keys given twice.
    """
    document = jobfile.parse(text, source=source, kind=jobfile.SCHEDULE_FILE)
    schedule, problems = check_schedule(document, cron_problem=cron.problem, knows_zone=cron.knows_zone)
    if schedule is None:
        return None, problems
    problems = tuple(conflicts(schedule, now))
    return (None if problems else schedule), problems


def conflicts(schedule: PoolSchedule, now: datetime) -> Iterator[Problem]:
    """What is wrong between the windows of a schedule whose fields are right, in the 400 days from ``now``."""
    end = now + HORIZON
    found = {window.name: list(openings(schedule, window, now, end)) for window in schedule.spec.windows}
    for position, window in enumerate(schedule.spec.windows):
        where = f"spec.windows[{position}]"
        yield from _never_shut(schedule, window, found[window.name], where, now, end)
        if window.end is not None and not found[window.name] and _fires(window.start, schedule, now, end):
            yield Problem(field=f"{where}.end", message="comes with the start, so the window never opens", got=repr(window.end))
    for (first, one), (second, other) in combinations(enumerate(schedule.spec.windows), 2):
        if one.priority != other.priority:
            continue
        overlap = _overlap(found[one.name], found[other.name])
        if overlap is not None:
            at = clock_text(overlap, schedule)
            yield Problem(
                field=f"spec.windows[{second}].priority",
                message=f"{other.name} and {one.name} (spec.windows[{first}]) overlap with equal priority, first at {at}",
                got=str(other.priority),
                allowed=f"another than {one.priority}, or windows that do not overlap",
            )


def notes(schedule: PoolSchedule, now: datetime, *, fleet: Sequence[PoolNode] | None = None) -> Iterator[str]:
    """What is worth knowing about a schedule that is right.

    Args:
        schedule: one without problems.
        now: from when on one looks.
        fleet: the nodes that are there, None where that is not known.
    """
    if fleet is not None:
        selected = [node for node in fleet if selection.selects(schedule, node)]
        count = schedule.spec.pool.count
        if not selected:
            yield f"its pool selects none of the {len(fleet)} nodes that are there"
        elif count is not None and count > len(selected):
            yield f"its pool asks for {count} nodes and selects {len(selected)} of the {len(fleet)} that are there"
    yield from _gaps(schedule, now)
    for window in schedule.spec.windows:
        if not _fires(window.start, schedule, now, now + HORIZON):
            yield f"window {window.name} does not begin within {HORIZON.days} days"
        longest = max(openings(schedule, window, now, now + timedelta(days=35)), key=_length, default=None)
        if longest is not None and window.end is not None and _length(longest) > timedelta(days=1):
            text = duration.short(_length(longest).total_seconds())
            since = clock_text(longest.start, schedule)
            yield f"window {window.name} is open for {text} from {since}: does its end come on the right days?"
    for exception in schedule.spec.exceptions:
        if not _concerns_anything(schedule, exception.date, exception.windows):
            yield f"no window begins on {exception.date}, so its exception changes nothing"
    yield from _clock_changes(schedule, now)


def clock_text(at: datetime, schedule: PoolSchedule) -> str:
    """An instant on the schedule's own clock: ``Tue 2026-03-03 22:00 CET``."""
    return f"{at.astimezone(cron.zone(schedule.spec.time_zone)):%a %Y-%m-%d %H:%M %Z}"


def _never_shut(
    schedule: PoolSchedule, window: Window, found: Sequence[Opening], where: str, now: datetime, end: datetime
) -> Iterator[Problem]:
    if window.end is None:
        return
    for opening in found:
        following = [other for other in found if other.start == opening.end]
        if _length(opening) > timedelta(seconds=LONGEST_WINDOW) or (following and not _fires(window.end, schedule, now, end)):
            text = duration.short(_length(opening).total_seconds())
            yield Problem(
                field=f"{where}.end",
                message=f"leaves the window open for {text} from {clock_text(opening.start, schedule)}: it comes before the start",
                got=repr(window.end),
                allowed=f"at most {duration.canonical(LONGEST_WINDOW)} after a start",
            )
            return


def _fires(expression: str, schedule: PoolSchedule, start: datetime, end: datetime) -> bool:
    return next(cron.firings(expression, schedule.spec.time_zone, start, end), None) is not None


def _length(opening: Opening) -> timedelta:
    return opening.end - opening.start


def _overlap(one: Sequence[Opening], other: Sequence[Opening]) -> datetime | None:
    """The first instant at which both are open."""
    left, right = 0, 0
    while left < len(one) and right < len(other):
        start = max(one[left].start, other[right].start)
        if start < min(one[left].end, other[right].end):
            return start
        if one[left].end <= other[right].end:
            left += 1
        else:
            right += 1
    return None


def _gaps(schedule: PoolSchedule, now: datetime) -> Iterator[str]:
    week = list(intervals(schedule, now, now + timedelta(days=7)))
    gaps = [each for each in week if each.window is None]
    total = sum((each.end - each.start).total_seconds() for each in gaps)
    if gaps and schedule.spec.windows:
        first = clock_text(gaps[0].start, schedule)
        owner = schedule.spec.default_owner
        yield f"outside every window for {duration.short(total)} of the next 7 days, first from {first}: then it is {owner}'s"


def _concerns_anything(schedule: PoolSchedule, date: str, names: Sequence[str]) -> bool:
    on = day(date)
    assert on is not None
    middle = datetime(on.year, on.month, on.day, 12, tzinfo=cron.zone(schedule.spec.time_zone))
    about = [window for window in schedule.spec.windows if not names or window.name in names]
    reach = timedelta(days=2)
    return any(
        firing.wall.date() == on
        for window in about
        for firing in cron.firings(window.start, schedule.spec.time_zone, middle - reach, middle + reach)
    )


def _clock_changes(schedule: PoolSchedule, now: datetime) -> Iterator[str]:
    """The days of the next two years on which clocks change, and what they do to windows that are open then."""
    zone = cron.zone(schedule.spec.time_zone)
    at = now.replace(minute=0, second=0, microsecond=0)
    end = now + _CLOCK_YEARS
    while at < end:
        following = at + timedelta(hours=12)
        before, after = at.astimezone(zone).utcoffset(), following.astimezone(zone).utcoffset()
        if before != after and before is not None and after is not None:
            change = _bisect(schedule, at, following)
            minutes = int((after - before).total_seconds() // 60)
            word = "forward" if minutes > 0 else "back"
            text = f"clocks go {word} by {duration.canonical(abs(minutes) * 60)} at {clock_text(change, schedule)}"
            lengths = []
            for window in schedule.spec.windows:
                around = openings(schedule, window, change - timedelta(days=8), change + timedelta(days=8))
                lengths += [
                    f"{window.name} is open for {duration.short(_length(each).total_seconds())} then"
                    for each in around
                    if each.start < change < each.end
                ]
            yield "; ".join([text, *lengths])
        at = following


def _bisect(schedule: PoolSchedule, low: datetime, high: datetime) -> datetime:
    """The minute at which the offset changes between two instants."""
    zone = cron.zone(schedule.spec.time_zone)
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(minutes=1):
        middle = low + timedelta(minutes=int((high - low).total_seconds() // 120))
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
