"""Instants as people of a place read them: on the wall clock of its zone, with the zone's name."""

from datetime import datetime

from gpuctl.base import duration
from gpuctl.policy.wording import instant


def local(at: datetime, zone: str | None) -> datetime:
    """``at`` on the clock of ``zone``; as it is where there is none, or none of that name is known here."""
    if zone is None:
        return at
    from zoneinfo import ZoneInfo

    try:
        return at.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError):
        return at


def when(at: datetime, now: datetime, zone: str | None) -> str:
    """``22:00 CET`` today, ``Tue 06:00 CET`` within a week, else with its date."""
    return instant(at, local(now, zone))


def when_and_in(at: datetime, now: datetime, zone: str | None) -> str:
    """``Tue 06:00 CET, in 5h20m``."""
    return f"{when(at, now, zone)}, in {duration.short((at - now).total_seconds())}"
