"""Firings of cron expressions on the wall clock of a zone, as instants in UTC.

The rules of Debian's cron: what falls into the hour that spring leaves out fires when the clocks have moved, what
falls into the hour that autumn repeats fires once. An expression that fires every hour or minute (a star in one of the two) goes by elapsed
time and does fire in both.
"""

import functools
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_MARGIN = timedelta(days=2)
"""So long before an interval the search begins: firings are found from real wall clocks only, and Samoa once left out a whole day."""

_LOOKBACK = (timedelta(days=2), timedelta(days=9), timedelta(days=63), timedelta(days=400), timedelta(days=9 * 366))
"""How far back a last firing is looked for. 29 February is at most eight years away."""

_FIELDS = 5
_FOREIGN = re.compile(r"[^ -~\t\n\f\r]")


@functools.lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """The zone of that name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name}") from error


def knows_zone(name: str) -> bool:
    """Whether there is a zone of that name here."""
    try:
        zone(name)
    except ValueError:
        return False
    return True


def problem(expression: str) -> str | None:
    """Why the text is no cron expression, or None when it is one."""
    foreign = _FOREIGN.search(expression)
    if foreign is not None:
        return f"has the character {ascii(foreign.group())[1:-1]}"
    count = len(expression.split())
    if count != _FIELDS:
        return f"has {count} {'field' if count == 1 else 'fields'}"
    try:
        next(CronSim(expression, datetime(2000, 1, 1, tzinfo=timezone.utc)))
    except CronSimError as error:
        return f"is no cron expression ({str(error)[:1].lower()}{str(error)[1:]})"
    except StopIteration:
        return "names a day that never comes"
    return None


class Firing(NamedTuple):
    """When it fires, in UTC, and the wall clock it stands for: of two that spring moves to one instant, the earlier clock is first."""

    at: datetime
    wall: datetime


def firings(expression: str, zone_name: str, start: datetime, end: datetime) -> Iterator[Firing]:
    """Every firing in [start, end), in order."""
    local = zone(zone_name)
    since = (start - _MARGIN).astimezone(local)
    minute, hour = expression.split()[:2]
    every = minute.startswith("*") or hour.startswith("*")
    for moment in _endless(expression, since if every else since.replace(tzinfo=None)):
        firing = Firing(moment.astimezone(timezone.utc), moment.replace(tzinfo=None, fold=0)) if every else _fixed(moment, local)
        if firing.at >= end:
            return
        if firing.at >= start:
            yield firing


def last(expression: str, zone_name: str, at: datetime) -> Firing | None:
    """The latest firing at or before ``at``, None when it did not fire in nine years."""
    until = at + timedelta(microseconds=1)
    for reach in _LOOKBACK:
        found = None
        for found in firings(expression, zone_name, at - reach, until):  # noqa: B007  (the last one counts)
            pass
        if found is not None:
            return found
    return None


def _fixed(wall: datetime, local: ZoneInfo) -> Firing:
    """A wall clock as an instant: the first of two, and the end of the gap for one that is left out."""
    real = wall
    while True:
        at = real.replace(tzinfo=local, fold=0).astimezone(timezone.utc)
        if at.astimezone(local).replace(tzinfo=None, fold=0) == real:
            return Firing(at, wall)
        real += timedelta(minutes=1)


def _endless(expression: str, since: datetime) -> Iterator[datetime]:
    """Firings after ``since`` to the end of the calendar; on naive wall clocks if it is one."""
    try:
        yield from CronSim(expression, since)
    except OverflowError:
        return
