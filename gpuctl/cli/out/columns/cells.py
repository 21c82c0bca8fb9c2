"""What cells of several kinds share. ``?`` is what could not be read, ``-`` is what does not exist; neither is ever shown as zero."""

from datetime import datetime

from gpuctl.base import duration, quantity
from gpuctl.cli.result import Context

UNKNOWN = "?"
ABSENT = "-"


def known(value: object) -> str:
    """The value as text; ``?`` when it could not be read."""
    return UNKNOWN if value is None else str(value)


def present(value: object) -> str:
    """The value as text; ``-`` when there is none."""
    return ABSENT if value is None or value == "" else str(value)


def memory(count: int | None) -> str:
    """Bytes in binary units (``64Gi``); a few are ``76B``, so that they are no bare number."""
    if count is None:
        return UNKNOWN
    return f"{count}B" if 0 < count < 1024 else quantity.memory(count)


def part(used: int | None, total: int | None) -> str:
    """``12Gi/80Gi``; ``?`` for the half that could not be read."""
    return f"{memory(used)}/{memory(total)}"


def cores(millis: int | None) -> str:
    """Thousandths of a core as cores (``1.5``)."""
    return UNKNOWN if millis is None else f"{millis / 1000:g}"


def percent(value: float | None) -> str:
    """A percentage without its sign: the header has it."""
    return UNKNOWN if value is None else f"{value:.0f}"


def seconds(count: float | None) -> str:
    """A duration of at most two units; ``-`` when there is none."""
    return ABSENT if count is None else duration.short(count)


def instant(at: datetime | None, context: Context) -> str:
    """An instant on the reader's clock, one word (``2026-03-01T12:00:00``); ``-`` when there is none."""
    return ABSENT if at is None else context.local(at).strftime("%Y-%m-%dT%H:%M:%S")


def counts(by_type: dict[str, int]) -> str:
    """``8 h100, 4 a100``: how many of each type, by type."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(by_type.items())) or ABSENT
