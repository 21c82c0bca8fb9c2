"""Instants: always UTC, always aware. The only place that reads the wall clock outside the rooms that talk to the world."""

from collections.abc import Iterator
from datetime import datetime, timezone

DAY = 86400
"""Seconds."""


def now() -> datetime:
    """The present instant in UTC."""
    return datetime.now(timezone.utc)


def from_unix(seconds: float) -> datetime:
    """The instant ``seconds`` after the UNIX epoch, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def rfc3339(at: datetime) -> str:
    """RFC 3339 in UTC with whole seconds: ``2026-03-01T12:00:00Z``."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def elapsed(start: datetime | None, end: datetime) -> float:
    """Seconds between two instants, 0 when there is no start or the clock went back."""
    return max(0.0, (end - start).total_seconds()) if start else 0.0


def by_day(begin: int, end: int) -> Iterator[tuple[str, int]]:
    """The UTC days from ``begin`` to ``end`` (UNIX seconds, ``end`` excluded), with the seconds on each; at least the first."""
    at = begin
    while True:
        midnight = at - at % DAY + DAY
        yield from_unix(at).strftime("%Y-%m-%d"), max(0, min(end, midnight) - at)
        at = midnight
        if at >= end:
            return
