"""What a verb returns: values, not text. One renderer (``cli.out.render``) writes them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from gpuctl.base.exitcodes import ExitCode


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What a cell may know beside its item: the present instant, whether colour is on, the zone for instants (None: the machine's)."""

    now: datetime
    color: bool = False
    zone: tzinfo | None = None

    def local(self, at: datetime) -> datetime:
        """``at`` on the clock that a person reads."""
        return at.astimezone(self.zone)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: the header, upper case; lower-cased it is the name ``-o columns=`` takes.
        cell: the text of an item's cell; ``?`` for what is unknown.
        wide: only with ``-o wide``.
        right: numbers, aligned to the right.
        shrink: a free-text column that gives way on a narrow terminal; the widest of several gives first.
        tail: a column of names, cut in the middle where nothing else is left to give: names of one base differ in their ends.
        style: name of a style for the cell (``good``, ``bad``, ``busy``, ``faint``), by item.
        key: what ``--sort`` orders by (None sorts last); the cell's text without one.
    """

    name: str
    cell: Callable[[Any, Context], str]
    wide: bool = False
    right: bool = False
    shrink: bool = False
    tail: bool = False
    style: Callable[[Any], str | None] | None = None
    key: Callable[[Any, Context], Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """A list of objects of one kind.

    ``kind`` is the singular (``Job``); machine formats wrap items in a ``JobList``. ``name`` gives the ``-o name`` form of an item
    (``job/train-k3f9``). ``empty`` is the sentence for stderr, see :attr:`nothing`. ``footer`` lines follow a table on stderr;
    ``below`` is what a table has underneath on stdout.
    """

    kind: str
    items: Sequence[Any]
    columns: Sequence[Column]
    name: Callable[[Any], str]
    empty: str
    incomplete: Mapping[str, str] = dataclasses.field(default_factory=dict)
    footer: Sequence[str] = ()
    below: Callable[[Context], str] | None = None
    code: int = ExitCode.OK

    @property
    def nothing(self) -> str:
        """What an empty list means: nothing at all only where everything could be read."""
        return f"as far as could be read: {self.empty}" if self.empty and self.incomplete else self.empty


@dataclasses.dataclass(frozen=True, kw_only=True)
class One:
    """One object. ``text`` is how a person reads it; machine formats print the object itself with apiVersion and kind."""

    kind: str
    item: Any
    text: Callable[[Context], str]
    name: Callable[[Any], str]
    columns: Sequence[Column] = ()
    code: int = ExitCode.OK


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """Text for stdout as it is (a script, a help topic, ``job/NAME``)."""

    text: str
    code: int = ExitCode.OK


@dataclasses.dataclass(frozen=True, kw_only=True)
class Done:
    """Nothing more for stdout: what there was went out as a stream."""

    code: int = ExitCode.OK


Result = Rows | One | Text | Done
