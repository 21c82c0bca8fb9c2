"""Durations as people type them: ``6h``, ``1d12h``, ``90m``, ``D-HH:MM:SS``, ``HH:MM:SS``; never a bare number.

A bare number is refused because Slurm reads it as minutes and everybody else as seconds.
"""

import re

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WORDS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?\Z", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)\Z", re.ASCII)
_BLANK = " \t\n\f\r"

PATTERN = r"^\s*(\d+d(\d+h)?(\d+m)?(\d+s)?|\d+h(\d+m)?(\d+s)?|\d+m(\d+s)?|\d+s|(\d+-)?\d+:[0-5]\d:[0-5]\d)\s*$"
r"""What :func:`parse` reads, as a regular expression of RE2 (whose \s is these blanks), for whoever cannot call it."""

ALLOWED = "6h, 1d12h, 90m, 30s, D-HH:MM:SS or HH:MM:SS"


def parse(text: str) -> int:
    """Seconds of a duration.

    Raises:
        ValueError: the text is no duration; the message says why.
    """
    stripped = text.strip(_BLANK)
    if stripped.isdigit():
        raise ValueError(f"a bare number has no unit: write {stripped}m or {stripped}s")
    match = _WORDS.match(stripped)
    if match and stripped:
        return sum(int(value) * unit for value, unit in zip(match.groups(), _UNITS.values(), strict=True) if value)
    match = _CLOCK.match(stripped)
    if match:
        days, hours, minutes, seconds = (int(value or 0) for value in match.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds
    raise ValueError("not a duration")


def canonical(seconds: int) -> str:
    """The shortest exact spelling that :func:`parse` reads back: ``5400`` is ``1h30m``, ``0`` is ``0s``."""
    parts = []
    rest = int(seconds)
    for name, unit in _UNITS.items():
        value, rest = divmod(rest, unit)
        if value:
            parts.append(f"{value}{name}")
    return "".join(parts) or "0s"


def short(seconds: float) -> str:
    """At most two units, for tables: ``12s``, ``3m05s``, ``5h20m``, ``2d03h``. Negative times (a clock that went back) read ``0s``."""
    total = max(0, int(seconds))
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m{total % 60:02d}s"
    if total < 86400:
        return f"{total // 3600}h{total % 3600 // 60:02d}m"
    return f"{total // 86400}d{total % 86400 // 3600:02d}h"
