"""The script: whether it can be run at all, and its text for directives."""

import dataclasses
import os

from gpuctl.base.errors import Problem
from gpuctl.cli.spec.flag import Place
from gpuctl.cli.spec.read_values import near_file

LARGEST = 4 << 20
"""Bytes of a script that are looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Script:
    """One script. ``text`` is empty for a binary program."""

    name: str
    path: str | None = None
    text: str = ""

    @property
    def python(self) -> bool:
        """Whether its name says that it is Python."""
        return self.name.endswith((".py", ".pyz"))


def read(name: str, place: Place, problems: list[Problem], *, kind: str | None = None, field: str = "SCRIPT") -> Script | None:
    """Look at a script (``-``: standard input); what is wrong with it goes to ``problems``.

    Args:
        name: as it was given.
        place: where a relative name begins.
        problems: what is added to.
        kind: the kind of the job, where somebody asked for one.
        field: what said that this is the script.
    """
    if name == "-":
        text = place.stdin()
        if not text.strip():
            problems.append(Problem(field=field, message="standard input is empty", got="-"))
        return Script(name="-", text=text)
    if place.elsewhere:
        return Script(name=name)
    path = os.path.join(place.cwd, os.path.expanduser(name))
    try:
        if os.path.isdir(path):
            if os.path.isfile(os.path.join(path, "__main__.py")):
                return Script(name=name, path=path)
            problems.append(Problem(field=field, message="is a directory without a __main__.py", got=name, allowed="a script"))
            return None
        if os.path.exists(path) and not os.path.isfile(path):
            problems.append(Problem(field=field, message="is no regular file", got=name, allowed="a script, or - for standard input"))
            return None
        with open(path, "rb") as file:
            content = file.read(LARGEST)
    except OSError as error:
        problems.append(_unreadable(name, path, error, field))
        return None
    found = Script(name=name, path=path, text=content.decode(errors="replace") if b"\0" not in content else "")
    if b"\0" in content and not name.endswith(".pyz") and (found.python or kind == "pytorch"):
        problems.append(Problem(field=field, message="is no Python: it holds binary data", got=name, allowed="a text in Python"))
    return found


def _unreadable(name: str, path: str, error: OSError, field: str) -> Problem:
    if isinstance(error, FileNotFoundError):
        directory, base = os.path.split(path)
        return Problem(
            field=field,
            message="there is no such file",
            got=name,
            allowed="a script; a command goes behind --",
            nearest=near_file(directory, base) or (f"-- {name}" if "/" not in name and "." not in name else None),
        )
    return Problem(field=field, message=f"cannot be read: {(error.strerror or str(error)).lower()}", got=name)
