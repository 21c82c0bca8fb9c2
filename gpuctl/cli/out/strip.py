"""A week as a strip of 24 x 7 hours that reads without colour, and what its letters mean.

For a team: ``#`` is its own, ``+`` may be borrowed while idle, ``.`` is not available. Without one each owner has a letter, in lower case
while idle GPUs may be borrowed, and ``.`` is the owner outside the windows. ``/`` is an hour in which that changes, a blank an hour that
the clocks leave out.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone

from gpuctl.cli.out import table
from gpuctl.cli.result import Context
from gpuctl.model.schedule import OwnedSpan, PoolWindows

HOURS = 24
DAYS = 7
_LABEL = 13
_STYLES = {"#": "good", "+": "busy", ".": "faint"}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def render(pool: PoolWindows, context: Context) -> str:
    """The strip of seven days from the day that ``pool.at`` falls on, on the reader's clock, with its legend: at most 80 columns."""
    letters = _owners(pool)
    lines = [" " * _LABEL + "".join(f"{hour:<6}" for hour in range(0, HOURS, 3)).rstrip()]
    first = context.local(pool.at).date()
    for number in range(DAYS):
        on = first + timedelta(days=number)
        cells = [_cell(pool, on, hour, letters, context) for hour in range(HOURS)]
        lines.append(f"{on:%a %d %b}".ljust(_LABEL) + "".join(_styled(cell, context) for cell in cells).rstrip())
    return "".join(f"{line}\n" for line in [*lines, "", *_legend(pool, letters)])


def days(at: datetime, context: Context) -> tuple[datetime, datetime]:
    """The span of a strip that begins on the day of ``at``, in UTC."""
    first = context.local(at).date()
    return _instant(first, 0, context), _instant(first + timedelta(days=DAYS), 0, context)


def _owners(pool: PoolWindows) -> dict[str, str]:
    """A letter for each owner of a window, in the order of their names."""
    names = sorted({span.owner for span in pool.spans if span.window is not None})
    return {name: _LETTERS[number % len(_LETTERS)] for number, name in enumerate(names)}


def _cell(pool: PoolWindows, on: date, hour: int, letters: dict[str, str], context: Context) -> str:
    start = _instant(on, hour, context)
    local = context.local(start)
    if (local.date(), local.hour) != (on, hour):
        return " "
    end = _instant(on, hour + 1, context) if hour + 1 < HOURS else _instant(on + timedelta(days=1), 0, context)
    marks = {_mark(pool, span, letters) for span in _within(pool.spans, start, end)}
    return marks.pop() if len(marks) == 1 else "/" if marks else " "


def _mark(pool: PoolWindows, span: OwnedSpan, letters: dict[str, str]) -> str:
    if pool.team is not None:
        return "#" if span.owner == pool.team else "+" if span.lends else "."
    letter = letters.get(span.owner, ".")
    return letter.lower() if span.lends else letter


def _within(spans: Sequence[OwnedSpan], start: datetime, end: datetime) -> Iterator[OwnedSpan]:
    return (span for span in spans if span.start < end and span.end > start)


def _styled(cell: str, context: Context) -> str:
    return table.styled(cell * 2, _STYLES.get(cell) if context.color else None)


def _legend(pool: PoolWindows, letters: dict[str, str]) -> Iterator[str]:
    if pool.team is not None:
        yield f"# {pool.team}'s   . not available   / changes within the hour"
        yield "+ idle GPUs may be borrowed (--requeue)"
        return
    for name, letter in letters.items():
        lent = any(span.lends for span in pool.spans if span.owner == name)
        yield f"{letter} {name}" + (f"   {letter.lower()} {name}'s, idle GPUs may be borrowed (--requeue)" if lent else "")
    others = sorted({span.owner for span in pool.spans} - letters.keys())
    yield "   ".join([*(f". {name}" for name in others), "/ changes within the hour"])


def _instant(on: date, hour: int, context: Context) -> datetime:
    """That hour of the reader's clock, in UTC: the first of two, and what the clocks leave out is an hour later."""
    wall = datetime(on.year, on.month, on.day, hour)  # noqa: DTZ001  (on the reader's clock)
    return (wall.replace(tzinfo=context.zone) if context.zone is not None else wall.astimezone()).astimezone(timezone.utc)
