"""What a flag of the submit family is: a spelling, a meaning, and the settings that its value stands for."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gpuctl.base.errors import Problem

Path = tuple[str, ...]
"""Where a value stands in a job document, by its keys there: ``("spec", "env", "LR")``."""

SECRET_VALUES = "secret-values"
"""First step of paths that lead out of the document: ``(SECRET_VALUES, NAME)`` holds a :class:`Secret`."""


class Refused(ValueError):
    """A value that cannot be read: why, what would have been accepted, and the nearest valid spelling."""

    def __init__(self, message: str, *, allowed: str | None = None, nearest: str | None = None, got: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.allowed = allowed
        self.nearest = nearest
        self.got = got

    def problem(self, field: str, text: str | None) -> Problem:
        """The problem of the field that ``text`` was given for."""
        got = self.got if self.got is not None else repr(text) if text is not None else None
        return Problem(field=field, message=self.message, got=got, allowed=self.allowed, nearest=self.nearest)


class Secret:
    """A value that is never printed."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret(***)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """What a value may be read from: the environment, the directory that relative paths begin at, and standard input.

    ``elsewhere``: the code is not here (``--git``), so that its paths can neither be looked up nor made absolute.
    """

    env: Mapping[str, str]
    cwd: str
    stdin: Callable[[], str]
    elsewhere: bool = False


Reader = Callable[[str, Place], Iterable[tuple[Path, Any]]]
"""From a flag's text to settings.

Raises:
    Refused: the text is no value of this flag.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag.

    Attributes:
        name: the spelling in messages, as people type it: ``--time``, ``-j``.
        other: further spellings.
        metavar: what it takes; None for a switch.
        about: one line of help.
        heading: what it stands under in the help.
        read: its settings; None for a flag about the submitting itself, which only the command line may have.
        many: whether it may be given several times.
    """

    name: str
    about: str
    heading: str
    other: tuple[str, ...] = ()
    metavar: str | None = None
    read: Reader | None = None
    many: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every spelling."""
        return (self.name, *self.other)

    @property
    def key(self) -> str:
        """Its Python name: that of the long spelling."""
        return max(self.names, key=len).lstrip("-").replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that sets it, for flags that have settings."""
        return f"GPUCTL_SUBMIT_{self.key.upper()}"

    @property
    def takes_value(self) -> bool:
        """Whether a value follows it."""
        return self.metavar is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Use:
    """One use of a flag: its text (None for a switch), and where it was used, as a person would say it (``job.sh:3: --time``)."""

    flag: Flag
    text: str | None
    origin: str
