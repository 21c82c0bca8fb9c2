"""Instants: always UTC, always aware. The only place that reads the wall clock outside the rooms that talk to the world."""

from datetime import datetime, timezone


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
