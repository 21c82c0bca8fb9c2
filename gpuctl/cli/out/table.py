"""Plain tables: a streaming column writer (10,000 rows in about 10 ms; a rich table needs seconds)."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from gpuctl.cli.result import Column, Context

_STYLES = {"good": "32", "bad": "31", "busy": "33", "faint": "2", "strong": "1"}
_GAP = "  "
_SHORTEST = 8


def render(items: Sequence[Any], columns: Sequence[Column], context: Context, *, width: int | None, headers: bool) -> str:
    """A table of ``items``. ``width`` in columns, None for as wide as it gets (piped)."""
    cells = [[_clean(column.cell(item, context)) for column in columns] for item in items]
    names = [column.name for column in columns]
    measured = [names, *cells] if headers else cells
    widths = [max((display_width(row[index]) for row in measured), default=0) for index in range(len(columns))]
    if width is not None:
        _shrink(widths, columns, width)
    lines = [_line(names, widths, columns)] if headers else []
    for item, row in zip(items, cells, strict=True):
        styles = [column.style(item) if column.style and context.color else None for column in columns]
        lines.append(_line(row, widths, columns, styles))
    return "".join(line + "\n" for line in lines)


def display_width(text: str) -> int:
    """Columns that ``text`` takes on a terminal: wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def styled(text: str, style: str | None) -> str:
    """``text`` in the colour of a style's name; as it is without one."""
    code = _STYLES.get(style or "")
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns, with an ellipsis where something is missing."""
    if display_width(text) <= width:
        return text
    kept = ""
    for char in text:
        if display_width(kept + char) > width - 1:
            break
        kept += char
    return kept + "…"


def _clean(text: str) -> str:
    """One line without control characters: a job's name or message must not move the cursor."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char in "\t\n\r" else "�" for char in text)


def _shrink(widths: list[int], columns: Sequence[Column], width: int) -> None:
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    for index, column in enumerate(columns):
        if excess > 0 and column.shrink:
            give = min(excess, max(0, widths[index] - _SHORTEST))
            widths[index] -= give
            excess -= give


def _line(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column], styles: Sequence[str | None] | None = None) -> str:
    parts = []
    for index, (text, width, column) in enumerate(zip(row, widths, columns, strict=True)):
        shown = cut(text, width)
        padding = " " * (width - display_width(shown))
        if styles:
            shown = styled(shown, styles[index])
        parts.append(padding + shown if column.right else shown + padding)
    return _GAP.join(parts).rstrip()
