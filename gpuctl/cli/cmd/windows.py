"""``gpuctl windows``: whose the pool's nodes are, and when."""

import os
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer

from gpuctl.base import duration
from gpuctl.base.errors import ConflictError, InvalidInput, NotFoundError, Problem, UnavailableError, UsageError, nearest
from gpuctl.cli import asking
from gpuctl.cli.out import strip, table
from gpuctl.cli.out.columns import windows as columns
from gpuctl.cli.result import Column, Context, One, Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Noun, Verb
from gpuctl.model.ask import Listing
from gpuctl.model.schedule import PoolSchedule, PoolWindows, ScheduleStatus

Name = Annotated[str, typer.Argument(metavar="NAME", help="A schedule.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="A schedule file; - is standard input.")]
Team = Annotated[str | None, typer.Option("--team", metavar="TEAM", help="What this team may use; mine where the profile names one.")]
Week = Annotated[bool, typer.Option("--week", help="List every change of the week as well, with exact instants.")]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="Then, instead of now: 3h (from now), 2026-03-01T22:00.")]

_AT_ALLOWED = "a duration from now (3h), a date (2026-03-01), or an instant (2026-03-01T22:00, 2026-03-01T22:00:00Z)"
_FARTHEST = timedelta(days=366 * 10)


class Checked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A schedule file without problems, and what is worth knowing about it."""

    file: str
    name: str
    windows: int
    notes: tuple[str, ...] = ()


def show_all(session: Session, team: Team = None, week: Week = False, at: At = None) -> Result:
    """Show whose the nodes are, whose next and when, and the week hour by hour.

    In the strip # is the team's own, + what it may borrow while it stands idle,
    and . what it cannot use; without a team each owner has a letter.
    """
    from gpuctl.policy.windows import view

    moment = _moment(session, at)
    context = session.context()
    since, until = strip.days(moment, context)
    listing = session.pool.schedules()
    pools = [view.view(status, moment, since=since, until=until, team=team) for status in listing.items]
    _tell_unknown_team(session, team, pools)
    for pool in pools:
        for problem in pool.problems:
            session.say(f"note: schedule {pool.name} on {pool.cluster} is not obeyed: {problem}")
        for note in pool.notes:
            session.say(f"note: schedule {pool.name} on {pool.cluster}: {note}")
        if not pool.nodes and not pool.problems and pool.node_count is not None:
            session.say(f"note: schedule {pool.name} is about none of the nodes of {pool.cluster}")
    return Rows(
        kind="PoolWindows",
        items=pools,
        columns=columns.COLUMNS,
        name=columns.name,
        empty="no windows, so the nodes are everybody's, always",
        incomplete=listing.incomplete,
        below=lambda context: "".join(_strip(pool, context, week=week, several=len(pools) > 1) for pool in pools if pool.spans),
    )


def show(session: Session, name: Name, team: Team = None, week: Week = False, at: At = None) -> Result:
    """Show one schedule: its windows, its exceptions, and the week.

    CLUSTER/NAME names one of several clusters that have a schedule of this name.
    """
    from gpuctl.policy.windows import view

    moment = _moment(session, at)
    since, until = strip.days(moment, session.context())
    status = _find(session.pool.schedules(), name)
    pool = view.view(status, moment, since=since, until=until, team=team)
    _tell_unknown_team(session, team, [pool])
    return One(
        kind="PoolWindows",
        item=pool,
        text=lambda context: _page(status, pool, context, week=week),
        name=columns.name,
        columns=columns.COLUMNS,
    )


def check(session: Session, file: File) -> Result:
    """Check a schedule file: every problem at once, and what is worth knowing.

    Overlaps are told with their first instant; also gaps, crons that never come,
    and what the days of the next two years do on which clocks change.
    """
    from gpuctl.policy.windows import review

    schedule, problems = review.read(_read(session, file), source=file, now=session.now())
    if schedule is None:
        raise InvalidInput(f"cannot use schedule {file}", problems, code="bad-schedule")
    found = Checked(
        file=file,
        name=schedule.metadata.name,
        windows=len(schedule.spec.windows),
        notes=tuple(review.notes(schedule, session.now())),
    )
    return One(kind="ScheduleCheck", item=found, text=lambda _: _verdict(found), name=lambda _: f"windows/{found.name}", columns=_CHECKED)


def _moment(session: Session, given: str | None) -> datetime:
    now = session.now()
    if given is None:
        return now
    try:
        moment = now + timedelta(seconds=duration.parse(given))
    except OverflowError:
        moment = None
    except ValueError:
        try:
            moment = asking.since(given, session=session, field="--at")
        except InvalidInput:
            problem = Problem(field="--at", message="is no instant", got=repr(given), allowed=_AT_ALLOWED)
            raise InvalidInput(f"cannot read --at {given}", [problem]) from None
    if moment is None or abs(moment - now) > _FARTHEST:
        problem = Problem(field="--at", message="is too far away", got=repr(given), allowed="within ten years of now")
        raise InvalidInput(f"cannot read --at {given}", [problem])
    return moment


def _find(listing: Listing[ScheduleStatus], name: str) -> ScheduleStatus:
    found = [status for status in listing.items if name in (status.name, f"{status.cluster}/{status.name}")]
    if len(found) > 1:
        names = [f"{status.cluster}/{status.name}" for status in found]
        raise ConflictError(
            f"{len(found)} schedules are called {name}",
            code="schedule-ambiguous",
            cause=", ".join(names),
            hint=f"gpuctl windows show {names[0]}",
        )
    if found:
        return found[0]
    if listing.incomplete:
        unread = ", ".join(listing.incomplete)
        raise UnavailableError(f"cannot find schedule {name}: {unread} could not be read", cause=next(iter(listing.incomplete.values())))
    close = nearest(name, [status.name for status in listing.items])
    raise NotFoundError(
        f"no schedule is called {name}", code="no-such-schedule", hint=f"gpuctl windows show {close}" if close else "gpuctl windows"
    )


def _read(session: Session, file: str) -> bytes:
    if file == "-":
        return session.stdin.read().encode()
    try:
        with open(os.path.join(session.cwd, file), "rb") as opened:
            return opened.read()
    except OSError as error:
        raise UsageError(f"cannot read schedule {file}", code="bad-schedule", cause=error.strerror) from error


def _tell_unknown_team(session: Session, team: str | None, pools: list[PoolWindows]) -> None:
    owners = sorted({span.owner for pool in pools for span in pool.spans})
    if team is not None and owners and team not in owners:
        close = nearest(team, owners)
        session.say(f"note: nothing is {team}'s this week; owners: {', '.join(owners)}" + (f"; did you mean {close}?" if close else ""))


def _strip(pool: PoolWindows, context: Context, *, week: bool, several: bool) -> str:
    title = f"\n{pool.name} on {pool.cluster}\n\n" if several else "\n"
    changes = "\n" + table.render(pool.spans, columns.CHANGES, context, width=None, headers=True) if week else ""
    return title + strip.render(pool, context) + changes


def _page(status: ScheduleStatus, pool: PoolWindows, context: Context, *, week: bool) -> str:
    head = f"windows/{pool.name}  on {pool.cluster}\n\n"
    if pool.problems:
        head += "".join(f"  not obeyed: {problem}\n" for problem in pool.problems) + _notes(pool)
        return head + (_windows(status.schedule, context) if status.schedule is not None else "")
    assert status.schedule is not None  # one without problems was read
    spec = status.schedule.spec
    selector = ", ".join(f"{key}={value}" for key, value in spec.pool.node_selector.items())
    wanted = [f"clusters {', '.join(spec.pool.clusters)}" if spec.pool.clusters else "every cluster", selector]
    wanted.append(f"{spec.pool.count} of them" if spec.pool.count is not None else "")
    upcoming = "does not change within 400 days"
    if pool.next is not None:
        upcoming = f"{pool.next.owner} at {columns.local(pool.next.at, context)} ({columns.utc(pool.next.at)}), "
        upcoming += f"in {duration.short((pool.next.at - pool.at).total_seconds())}"
    facts = [
        ("now", f"{pool.owner}" + (f", by window {pool.window}" if pool.window else ", outside every window")),
        ("next", upcoming),
        ("pool", "; ".join(part for part in wanted if part)),
        ("nodes", ", ".join(pool.nodes) or (f"none of the {pool.node_count} that are there" if pool.node_count is not None else "?")),
        ("zone", f"{spec.time_zone}, outside every window {spec.default_owner}'s"),
    ]
    head += "".join(f"  {label:<7}{value}\n" for label, value in facts) + _notes(pool)
    return head + _windows(status.schedule, context) + _strip(pool, context, week=week, several=False)


def _notes(pool: PoolWindows) -> str:
    return "".join(f"  note   {note}\n" for note in pool.notes)


def _windows(schedule: PoolSchedule, context: Context) -> str:
    parts = []
    if schedule.spec.windows:
        parts += ["\n", table.render(schedule.spec.windows, _WINDOWS, context, width=None, headers=True)]
    if schedule.spec.exceptions:
        parts += ["\n", table.render(schedule.spec.exceptions, _EXCEPTIONS, context, width=None, headers=True)]
    return "".join(parts)


def _verdict(found: Checked) -> str:
    count = f"{found.windows} {'window' if found.windows == 1 else 'windows'}"
    notes = "".join(f"  - {note}\n" for note in found.notes)
    return f"{found.file}: schedule {found.name} with {count} is right\n" + (f"\nWorth knowing\n{notes}" if notes else "")


def _drain(window: Any) -> str:
    drain = window.drain
    extra = f" {drain.max_overrun}" if drain.max_overrun else f" {drain.signal}" if drain.signal else ""
    return f"{drain.policy}{extra}"


_WINDOWS = (
    Column(name="WINDOW", cell=lambda window, _: window.name),
    Column(name="OWNER", cell=lambda window, _: window.owner),
    Column(name="START", cell=lambda window, _: window.start),
    Column(name="END", cell=lambda window, _: window.end or f"for {window.duration}"),
    Column(name="PRIORITY", cell=lambda window, _: str(window.priority), right=True),
    Column(name="DRAIN", cell=lambda window, _: _drain(window)),
    Column(name="BORROW", cell=lambda window, _: "idle" if window.borrow.idle else "-"),
)
_EXCEPTIONS = (
    Column(name="DATE", cell=lambda exception, _: exception.date),
    Column(name="WINDOWS", cell=lambda exception, _: ", ".join(exception.windows) or "all"),
    Column(name="INSTEAD", cell=lambda exception, _: "skipped" if exception.skip else exception.owner or "-"),
)
_CHECKED = (
    Column(name="FILE", cell=lambda found, _: found.file),
    Column(name="NAME", cell=lambda found, _: found.name),
    Column(name="WINDOWS", cell=lambda found, _: str(found.windows), right=True),
    Column(name="NOTES", cell=lambda found, _: str(len(found.notes)), right=True),
)

VERB = Noun(
    help="Show whose the pool's nodes are, and when: now, next, and through the week.",
    verbs={
        "list": Verb(
            run=show_all,
            examples=(
                "gpuctl windows                         who owns the nodes now, next, this week",
                "gpuctl windows --team team-a --week    what team-a may use, with instants",
                "gpuctl windows --at 2026-12-24T22:00   at another time",
            ),
        ),
        "show": Verb(run=show),
        "check": Verb(run=check, examples=("gpuctl windows check night.yaml",)),
    },
    default="list",
)
