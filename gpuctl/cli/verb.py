"""What a verb is: a function from a session and parsed values to a result, plus the options every verb takes after its name.

A verb module ends in ``VERB = Verb(run, ...)``; the function's own keyword parameters are its options and arguments (typer's
``Annotated``), so the parse half is the signature and the run half is the body. A noun with verbs of its own is a :class:`Noun`.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

from gpuctl.cli import session as session_module
from gpuctl.cli.result import Result

Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Use this profile instead of the current one.")]
Quiet = Annotated[int, typer.Option("-q", "--quiet", count=True, help="Say less on stderr.", show_default=False)]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more; twice: requests; thrice: all.", show_default=False)]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colour.")]
RequestTimeout = Annotated[
    str | None, typer.Option("--request-timeout", metavar="TIME", help="Give up a single request after so long (10s).")
]
Output = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="FORMAT", help="table, wide, json, yaml, name, csv, jsonpath=EXPR or columns=a,b."),
]
NoHeaders = Annotated[bool, typer.Option("--no-headers", help="Leave out the header line of tables and csv.")]

_COMMON: dict[str, tuple[Any, Any]] = {
    "output": (Output, None),
    "no_headers": (NoHeaders, False),
    "profile": (Profile, None),
    "request_timeout": (RequestTimeout, None),
    "quiet": (Quiet, 0),
    "verbose": (Verbose, 0),
    "no_color": (NoColor, False),
}
COMMON_OPTIONS = ("-o", "--output", "--no-headers", "--profile", "--request-timeout", "-q", "--quiet", "-v", "--verbose", "--no-color")
"""Spelled out for generators and for the note about gpuctl flags among a script's arguments."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb.

    Attributes:
        run: ``run(session, **values) -> Result``; its docstring's first paragraph is the help text.
        examples: lines that begin the help, each a command and what it does.
        pass_through: everything after the first positional argument belongs to another program (submit, run, exec).
        hidden: left out of help and completion.
        parser: the class of its parser, where a verb reads its arguments in a way of its own.
    """

    run: Callable[..., Result]
    examples: tuple[str, ...] = ()
    pass_through: bool = False
    hidden: bool = False
    parser: "type[PlainCommand] | None" = None

    def command(self, name: str) -> TyperCommand:
        """The parser of this verb."""
        info = CommandInfo(
            name=name,
            cls=self.parser or PlainCommand,
            callback=_with_common(self.run),
            help=_help(self.run, self.examples),
            short_help=inspect.cleandoc(self.run.__doc__ or "").split("\n", 1)[0],
            hidden=self.hidden,
            context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": not self.pass_through},
        )
        command = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
        assert isinstance(command, TyperCommand)
        return command


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noun:
    """A noun with verbs (``gpuctl volumes create``). ``default`` is what the noun alone does; None: it prints its help."""

    help: str
    verbs: Mapping[str, Verb]
    default: str | None

    def command(self, name: str) -> TyperGroup:
        """The parser of this noun."""
        commands = {verb_name: verb.command(verb_name) for verb_name, verb in self.verbs.items()}
        group = DefaultGroup(
            name=name,
            help=self.help,
            commands=dict(commands),
            no_args_is_help=self.default is None,
            rich_markup_mode=None,
            context_settings={"help_option_names": ["-h", "--help"]},
            subcommand_metavar="[VERB] [ARGS]...",
        )
        group.default = self.default
        return group


class PlainCommand(TyperCommand):
    """A command whose help keeps its paragraphs and examples as they were written (rich help would cost twice the start)."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Required arguments bare (``JOB``), as cp and ls write them, without the parser's braces."""
        pieces = super().collect_usage_pieces(ctx)
        return [piece[1:-1] if piece.startswith("{") and piece.endswith("}") else piece for piece in pieces]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the examples and text unwrapped: they are written for 80 columns."""
        formatter.write("\n")
        for line in inspect.cleandoc(self.help or "").splitlines():
            formatter.write(f"  {line}".rstrip() + "\n")


class KnowingGroup(TyperGroup):
    """A group that knows what its verbs are called elsewhere (``rm`` for ``delete``)."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that the first word names; a word of another program is answered with ours."""
        if args and args[0] not in self.commands:
            from gpuctl.cli import synonyms

            verb = synonyms.meant(args[0], self.commands)
            if verb is not None:
                ctx.fail(f"No such command {args[0]!r}. Did you mean {verb!r}?")
        return super().resolve_command(ctx, args)


class DefaultGroup(KnowingGroup):
    """A group that runs its default verb when the first word names none of its verbs."""

    default: str | None = "list"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default verb in front where no verb was named (a bare ``--help`` stays the group's own)."""
        wants_help = bool(args) and args[0] in {"-h", "--help"}
        if self.default is not None and not wants_help and (not args or (args[0] not in self.commands and args[0].startswith("-"))):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def _help(run: Callable[..., Result], examples: tuple[str, ...]) -> str:
    text = inspect.cleandoc(run.__doc__ or "")
    return "\n".join([*examples, "", text]) if examples else text


def _with_common(run: Callable[..., Result]) -> Callable[..., Result]:
    """``run`` with the common options behind its own, which are applied to the session before it is called."""
    own = list(inspect.signature(run, eval_str=True).parameters.values())[1:]
    names = {parameter.name for parameter in own}
    common = {name: value for name, value in _COMMON.items() if name not in names}

    def callback(ctx: typer.Context, **values: Any) -> Result:
        session = ctx.obj
        assert isinstance(session, session_module.Session)
        _apply(session, {name: values.pop(name) for name in common})
        return run(session, **values)

    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in common.items()
        ),
    ]
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return callback


def _apply(session: session_module.Session, values: Mapping[str, Any]) -> None:
    session.output = values.get("output", session.output)
    session.headers = not values.get("no_headers", False)
    session.profile = values.get("profile") or session.profile
    session.verbosity += values.get("verbose", 0) - values.get("quiet", 0)
    session.plain = session.plain or bool(values.get("no_color"))
    if values.get("request_timeout"):
        from gpuctl.cli import values as value_parsers

        session.request_timeout = float(value_parsers.duration(values["request_timeout"], field="--request-timeout"))
