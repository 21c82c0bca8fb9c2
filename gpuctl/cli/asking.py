"""Which jobs, as people type it: states, instants, labels, ranks and sizes to the values of a query. Every refusal names its flag."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import typer

from gpuctl.base import duration as durations
from gpuctl.base import quantity
from gpuctl.base.errors import InvalidInput, Problem, UsageError, nearest
from gpuctl.cli.session import Session
from gpuctl.model.job import State

OptionalJob = Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job; my latest without it, or with -.")]
Job = Annotated[str, typer.Argument(metavar="JOB", help="A job; - is my latest.")]
User = Annotated[str | None, typer.Option("-u", "--user", metavar="USER", help="Of this user; all for everybody.")]
Team = Annotated[str | None, typer.Option("--team", metavar="TEAM", help="Of this team, whoever submitted.")]
States = Annotated[list[str] | None, typer.Option("--state", metavar="STATE,...", help="In one of these states.")]
Since = Annotated[str | None, typer.Option("--since", metavar="WHEN", help="Submitted since: 2h, 2026-03-01 or 2026-03-01T12:00:00Z.")]
Name = Annotated[str | None, typer.Option("--name", metavar="GLOB", help="With such a name, 'llama*'.")]
Labels = Annotated[list[str] | None, typer.Option("-l", "--label", metavar="K=V", help="With this label. Repeatable.")]
Sort = Annotated[str | None, typer.Option("--sort", metavar="[-]COLUMN", help="Order by a column; downward with a minus.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many.")]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Go on showing it; when piped, what changes is appended.")]
Interval = Annotated[str, typer.Option("--interval", metavar="TIME", help="With --watch: how often to look.")]

WHEN_ALLOWED = "a duration (2h), a date (2026-03-01), or an instant (2026-03-01T12:00:00Z)"


def user(given: str | None, *, session: Session, team: str | None = None) -> str | None:
    """The user whose jobs are meant: the one named, everybody for ``all`` or a team, else me."""
    if given == "all" or (given is None and team is not None):
        return None
    return given if given is not None else session.pool.me()


def states(given: Iterable[str] | None) -> frozenset[State] | None:
    """States from words, separated by commas or repeated flags. ``ended`` and ``unfinished`` stand for several.

    Raises:
        InvalidInput: words that are no states, all of them listed.
    """
    words = [word.strip().lower() for text in given or () for word in text.split(",") if word.strip()]
    if not words:
        return None
    groups = {state.value: frozenset({state}) for state in State}
    groups["ended"] = frozenset(state for state in State if state.final)
    groups["unfinished"] = frozenset(state for state in State if not state.final)
    wrong = [word for word in words if word not in groups]
    if wrong:
        allowed = ", ".join(groups)
        raise InvalidInput(
            f"no such state: {', '.join(wrong)}",
            [
                Problem(field="--state", message="no such state", got=repr(word), allowed=allowed, nearest=nearest(word, groups))
                for word in wrong
            ],
        )
    return frozenset().union(*(groups[word] for word in words))


def since(given: str | None, *, session: Session, field: str = "--since") -> datetime | None:
    """An instant from a duration before now, a date, or an RFC 3339 instant (local time where it names no zone).

    Raises:
        InvalidInput: none of them.
    """
    if given is None:
        return None
    text = given.strip()
    try:
        return session.now() - timedelta(seconds=durations.parse(text))
    except OverflowError:
        return datetime.min.replace(tzinfo=session.now().tzinfo)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in {"Z", "z"} else text)
    except ValueError:
        raise InvalidInput(
            f"cannot read {field} {given}", [Problem(field=field, message="is no instant", got=repr(given), allowed=WHEN_ALLOWED)]
        ) from None
    return found if found.tzinfo is not None else _on_the_clock_of(session, found)


def _on_the_clock_of(session: Session, naive: datetime) -> datetime:
    """What a person without a zone means: the zone their tables are in."""
    zone = session.context().zone
    return naive.replace(tzinfo=zone) if zone is not None else naive.astimezone()


def labels(given: Sequence[str] | None, *, field: str = "--label") -> dict[str, str]:
    """Labels from ``K=V`` words.

    Raises:
        InvalidInput: words without an equals sign, all of them listed.
    """
    pairs = [text.partition("=") for text in given or ()]
    wrong = [key for key, equals, _ in pairs if not equals or not key]
    if wrong:
        raise InvalidInput(
            "cannot read labels", [Problem(field=field, message="is no label", got=repr(key), allowed="KEY=VALUE") for key in wrong]
        )
    return {key: value for key, _, value in pairs}


def ranks(given: str | None, *, field: str = "--rank") -> frozenset[int] | None:
    """Global ranks from ``0,3-5``.

    Raises:
        InvalidInput: not a list of ranks.
    """
    if given is None:
        return None
    found: set[int] = set()
    for word in given.split(","):
        first, dash, last = word.strip().partition("-")
        low, high = first, last if dash else first
        if not (low.isdecimal() and high.isdecimal()) or int(high) < int(low) or int(high) - int(low) > 1_000_000:
            raise InvalidInput(
                f"cannot read {field} {given}",
                [Problem(field=field, message="is no list of ranks", got=repr(word), allowed="ranks and ranges such as 0,3-5")],
            )
        found.update(range(int(low), int(high) + 1))
    return frozenset(found)


def size(given: str | None, *, field: str = "--size") -> int | None:
    """Bytes from ``100Gi``.

    Raises:
        InvalidInput: not a size.
    """
    if given is None:
        return None
    try:
        return quantity.parse_memory(given)
    except ValueError as error:
        raise InvalidInput(
            f"cannot read {field} {given}", [Problem(field=field, message=str(error), got=repr(given), allowed=quantity.MEMORY_ALLOWED)]
        ) from None


def one_of(given: str, known: Sequence[str], *, field: str) -> str:
    """``given``, if it is one of the words ``known``.

    Raises:
        InvalidInput: it is none of them.
    """
    if given in known:
        return given
    problem = Problem(field=field, message="no such word", got=repr(given), allowed=", ".join(known), nearest=nearest(given, known))
    raise InvalidInput(f"cannot read {field} {given}", [problem])


def only_one(**given: object) -> None:
    """Refuse flags that exclude each other; keywords are the flags' names with underscores, set ones are true.

    Raises:
        UsageError: more than one is set.
    """
    chosen = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None and value is not False]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other", code="flags-exclude", hint=f"leave out all but one: {chosen[0]}")
