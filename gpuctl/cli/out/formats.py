"""The formats of ``-o``, parsed: the same set on every verb that lists or shows something."""

import dataclasses

from gpuctl.base.errors import InvalidInput, Problem, nearest

PLAIN = ("table", "wide", "json", "yaml", "name", "csv")
ALLOWED = "table, wide, json, yaml, name, csv, jsonpath=EXPR, columns=a,b"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """``name`` is one of PLAIN, ``jsonpath`` or ``columns``; ``argument`` what followed the equals sign."""

    name: str = "table"
    argument: str = ""

    @property
    def machine(self) -> bool:
        """Whether it prints whole objects."""
        return self.name in {"json", "yaml", "jsonpath"}


def parse(text: str | None) -> Format:
    """The format that ``-o`` names; a table without one.

    Raises:
        InvalidInput: no such format.
    """
    if text is None:
        return Format()
    name, equals, argument = text.partition("=")
    if name in PLAIN and not equals:
        return Format(name=name)
    if name in {"jsonpath", "columns"} and argument:
        return Format(name=name, argument=argument)
    close = nearest(name, [*PLAIN, "jsonpath=", "columns="])
    raise InvalidInput(
        f"no output format {text}",
        [Problem(field="--output", message="is no format", got=repr(text), allowed=ALLOWED, nearest=close)],
    )
