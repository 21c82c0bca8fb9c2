"""From the typer commands to the plain values of ``tree``."""

import importlib
import inspect
from typing import Any

import gpuctl
from gpuctl.cli import commands
from gpuctl.cli.generate.tree import Argument, Command, Flag, Program, Source, Value
from gpuctl.cli.verb import Noun, Verb

_HELP = Flag(names=("-h", "--help"), help="Show this help and exit.")

_BY_FLAG: dict[str, Source] = {
    "--after": "after",
    "--args-from": "files",
    "--cluster": "clusters",
    "--env-file": "files",
    "--exclude": "node-list",
    "--file": "files",
    "--node": "nodes",
    "--profile": "profiles",
    "--python": "files",
    "--pod-patch": "files",
    "--secret-file": "files",
    "--volume": "volume-paths",
    "--workdir": "directories",
}
_BY_METAVAR: dict[str, Source] = {
    "JOB": "jobs",
    "NODE": "nodes",
    "CLUSTER": "clusters",
    "PROFILE": "profiles",
    "VOLUME": "volumes",
    "SCRIPT": "files",
    "FILE": "files",
    "PATH": "files",
    "LOCAL": "files",
    "DEST": "files",
    "DIR": "directories",
    "COMMAND": "programs",
    "CMD": "programs",
}
_FORMATS = ("table", "wide", "json", "yaml", "name", "csv", "jsonpath=", "columns=")


def program() -> Program:
    """The whole command line. Imports every verb."""
    root = commands.root()
    shown = [(name, entry) for name, entry in commands.TABLE.items() if not entry.hidden]
    topics = tuple(name for name, _ in shown)
    return Program(
        name="gpuctl",
        summary=root.help or "",
        version=gpuctl.__version__,
        commands=tuple(_command(name, entry, verbs=topics) for name, entry in shown),
    )


def _command(name: str, entry: commands.Entry, *, verbs: tuple[str, ...]) -> Command:
    verb: Verb | Noun = importlib.import_module(entry.module).VERB
    if isinstance(verb, Verb):
        return _verb((name,), verb, summary=entry.help, panel=entry.panel, words=verbs if name == "help" else ())
    return Command(
        path=(name,),
        summary=entry.help,
        text=inspect.cleandoc(verb.help),
        usage=f"{name} [VERB] [ARGS]...",
        flags=(_HELP,),
        commands=tuple(_verb((name, each), below, panel=entry.panel) for each, below in verb.verbs.items() if not below.hidden),
        panel=entry.panel,
        default=verb.default,
    )


def _verb(path: tuple[str, ...], verb: Verb, *, panel: str, summary: str | None = None, words: tuple[str, ...] = ()) -> Command:
    parser: Any = verb.command(path[-1])
    text = inspect.cleandoc(verb.run.__doc__ or "")
    context = parser.make_context(path[-1], [], resilient_parsing=True)
    shown = [each for each in parser.params if not getattr(each, "hidden", False)]
    return Command(
        path=path,
        summary=summary or text.split("\n\n", 1)[0].replace("\n", " "),
        text=text,
        examples=verb.examples,
        usage=" ".join([*path, *parser.collect_usage_pieces(context)]),
        flags=(*(_flag(each) for each in shown if each.param_type_name == "option"), _HELP),
        arguments=tuple(_argument(each, context, words) for each in shown if each.param_type_name == "argument"),
        panel=panel,
        passes=verb.pass_through,
    )


def _flag(option: Any) -> Flag:
    names = tuple(sorted((*option.opts, *option.secondary_opts), key=len))
    takes_value = not (option.is_flag or option.count)
    return Flag(
        names=names,
        help=option.help or "",
        value=_value(option, metavar=option.metavar, flag=max(option.opts, key=len)) if takes_value else None,
        repeat=bool(option.multiple or option.count),
    )


def _argument(argument: Any, context: Any, words: tuple[str, ...]) -> Argument:
    metavar = (argument.metavar or argument.make_metavar(context)).strip("[].").removesuffix("...").strip("[]")
    value = _value(argument, metavar=metavar)
    return Argument(
        value=Value(metavar=value.metavar, choices=value.choices or words, source=value.source),
        help=argument.help or "",
        required=argument.required,
        repeat=argument.nargs == -1,
    )


def _value(parameter: Any, *, metavar: str | None, flag: str | None = None) -> Value:
    choices = tuple(str(getattr(each, "value", each)) for each in getattr(parameter.type, "choices", ()))
    if flag == "--output" and not choices:
        choices = _FORMATS
    word = metavar or ("|".join(choices) if choices else (flag or parameter.name).lstrip("-").upper())
    source = None if choices else _BY_FLAG.get(flag or "") or _BY_METAVAR.get(word.split(":", 1)[0].rstrip("."))
    if source == "jobs" and ":" in word:
        source = "job-paths"
    return Value(metavar=word, choices=choices, source=source)
