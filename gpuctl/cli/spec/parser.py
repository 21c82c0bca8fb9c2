"""The parse half of the submit family: typer options made from the table of flags, and a parser that stops where the script begins."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from gpuctl.base.errors import Problem
from gpuctl.cli.result import Result
from gpuctl.cli.session import Session
from gpuctl.cli.spec import given
from gpuctl.cli.spec.flag import Flag, Use
from gpuctl.cli.verb import PlainCommand


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """What stood on the command line: uses of flags in the order of the table, the rest, and what could not be read."""

    uses: tuple[Use, ...]
    rest: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    spellings: tuple[str, ...] = ()
    """Every flag of the verb, to notice those that went to the script."""

    def text(self, name: str) -> str | None:
        """The value of a flag that may be used once; None when it was not."""
        return next((use.text for use in self.uses if use.flag.name == name), None)

    def has(self, name: str) -> bool:
        """Whether a flag was used."""
        return any(use.flag.name == name for use in self.uses)

    def program(self) -> given.Program:
        """What is to run."""
        return given.program(self.rest, self.spellings)


class FlagCommand(PlainCommand):
    """Reads flags up to the script (or ``--``) and leaves everything after it alone; help under headings."""

    mixed = False
    """Whether flags may also follow a word that is none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the words apart first, so that all unknown flags are told at once, together with wrong values."""
        options = [parameter for parameter in self.get_params(ctx) if parameter.param_type_name == "option"]
        takes_value = {
            spelling: not (option.is_flag or option.count)  # type: ignore[attr-defined]
            for option in options
            for spelling in option.opts
        }
        split = given.split(args, takes_value, mixed=self.mixed)
        left = super().parse_args(ctx, list(split.known))
        ctx.params.update(rest=split.rest, problems=split.problems, spellings=tuple(takes_value))
        return left

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options under the headings of the table, those that every verb takes last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if parameter.param_type_name == "option" else None
            if record is not None:
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or "General", []).append(record)
        width = max(len(name) for records in sections.values() for name, _ in records)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), about) for name, about in records], col_max=width)


class MixedFlagCommand(FlagCommand):
    """Reads flags up to ``--``, before and behind the job they are about."""

    mixed = True


def takes(
    flags: Sequence[Flag], *, words: str | None = "SCRIPT [ARGS]... | -- COMMAND..."
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Give ``run(session, given, **own)`` the flags as options, collected in one :class:`Given`.

    Args:
        flags: in the order of the help.
        words: what follows them in the usage line.
    """
    by_key = {flag.key: flag for flag in flags}

    def decorate(run: Callable[..., Result]) -> Callable[..., Result]:
        own = list(inspect.signature(run, eval_str=True).parameters.values())[2:]

        @functools.wraps(run)
        def wrapper(session: Session, **values: Any) -> Result:
            taken = {name: tuple(values.pop(name) or ()) for name in ("rest", "problems", "spellings")}
            uses = tuple(use for key, flag in by_key.items() for use in _uses(flag, values.pop(key)))
            return run(session, Given(uses=uses, **taken), **values)

        keyword = inspect.Parameter.KEYWORD_ONLY
        wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter("session", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Session),
                *(parameter.replace(kind=keyword) for parameter in own),
                *(inspect.Parameter(key, keyword, default=_default(flag), annotation=_option(flag)) for key, flag in by_key.items()),
                inspect.Parameter(
                    "rest", keyword, default=None, annotation=Annotated[list[str] | None, typer.Argument(metavar=words, show_default=False)]
                ),
            ]
        )
        return wrapper

    return decorate


def _default(flag: Flag) -> Any:
    return None if flag.takes_value else False


def _option(flag: Flag) -> Any:
    option = typer.Option(*flag.names, metavar=flag.metavar, help=flag.about, rich_help_panel=flag.heading, show_default=False)
    if not flag.takes_value:
        return Annotated[bool, option]
    return Annotated[list[str] | None, option] if flag.many else Annotated[str | None, option]


def _uses(flag: Flag, value: Any) -> list[Use]:
    if value is None or value is False:
        return []
    if value is True:
        return [Use(flag=flag, text=None, origin=flag.name)]
    texts = value if isinstance(value, list | tuple) else [value]
    return [Use(flag=flag, text=text, origin=flag.name) for text in texts]
