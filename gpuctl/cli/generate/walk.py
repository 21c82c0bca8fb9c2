"""From the typer commands to the plain values of ``tree``."""

import importlib
import inspect
import re
from collections.abc import Mapping
from typing import Any

import gpuctl
from gpuctl.cli import commands
from gpuctl.cli.generate.tree import Argument, Command, Flag, Program, Source, Value
from gpuctl.cli.out.formats import PLAIN
from gpuctl.cli.topics import TOPICS
from gpuctl.cli.verb import Noun, Verb
from gpuctl.config.keys import BY_NAME
from gpuctl.model.job import State

_HELP = Flag(names=("-h", "--help"), help="Show this help and exit.")

_BY_FLAG: dict[str, Source] = {
    "--after": "after",
    "--args-from": "files",
    "--cluster": "clusters",
    "--env-file": "files",
    "--exclude": "node-list",
    "--file": "files",
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
    "LOCAL": "files",
    "PATH": "files",
    "DEST": "files",
    "DIR": "directories",
    "COMMAND": "programs",
    "CMD": "programs",
}
_BY_NOUN: dict[tuple[str, str], Source] = {("profile", "NAME"): "profiles", ("volumes", "NAME"): "volumes"}
_NEW = frozenset({("profile", "add"), ("volumes", "create")})
"""Verbs whose NAME does not exist yet."""
_PORTS = {"[LOCAL:]PORT": ("dashboard", "tensorboard", "jupyter")}
_STATES = (*(state.value for state in State), "unfinished", "ended")
_FIRST = re.compile(r"\[?([A-Z]+)")
_WORDS = re.compile(r"[a-z][a-z0-9-]*(\|[a-z][a-z0-9-]*)+\Z")
"""A metavar that spells out all there is: ``reserved|on-demand|any``."""
_FORMATS = (*PLAIN, "jsonpath=", "columns=")


def program() -> Program:
    """The whole command line. Imports every verb."""
    shown = [(name, entry) for name, entry in commands.TABLE.items() if not entry.hidden]
    words = {("help",): (*(name for name, _ in shown), *TOPICS), ("config", "explain"): tuple(BY_NAME)}
    return Program(
        name="gpuctl",
        summary=commands.root().help or "",
        version=gpuctl.__version__,
        commands=tuple(_command(name, entry, words) for name, entry in shown),
    )


def _command(name: str, entry: commands.Entry, words: Mapping[tuple[str, ...], tuple[str, ...]]) -> Command:
    verb: Verb | Noun = importlib.import_module(entry.module).VERB
    if isinstance(verb, Verb):
        return _verb((name,), verb, words, panel=entry.panel, summary=entry.help)
    below = [(each, inner) for each, inner in verb.verbs.items() if not inner.hidden]
    return Command(
        path=(name,),
        summary=entry.help,
        text=inspect.cleandoc(verb.help),
        flags=(_HELP,),
        commands=tuple(_verb((name, each), inner, words, panel=entry.panel) for each, inner in below),
        panel=entry.panel,
        default=verb.default,
    )


def _verb(
    path: tuple[str, ...], verb: Verb, words: Mapping[tuple[str, ...], tuple[str, ...]], *, panel: str, summary: str | None = None
) -> Command:
    parser: Any = verb.command(path[-1])
    text = inspect.cleandoc(verb.run.__doc__ or "")
    shown = [each for each in parser.params if not getattr(each, "hidden", False)]
    return Command(
        path=path,
        summary=summary or text.split("\n\n", 1)[0].replace("\n", " "),
        text=text,
        examples=verb.examples,
        flags=(*(_flag(each) for each in shown if each.param_type_name == "option"), _HELP),
        arguments=tuple(_argument(each, path, words.get(path, ())) for each in shown if each.param_type_name == "argument"),
        panel=panel,
        passes=verb.pass_through,
    )


def _flag(option: Any) -> Flag:
    names = tuple(sorted((*option.opts, *option.secondary_opts), key=len))
    takes_value = not (option.is_flag or option.count)
    return Flag(
        names=names,
        help=option.help or "",
        value=_flag_value(option, max(option.opts, key=len)) if takes_value else None,
        repeat=bool(option.multiple or option.count),
    )


def _flag_value(option: Any, name: str) -> Value:
    formats = tuple(each for each in _FORMATS if each.rstrip("=") in (option.help or ""))  # logs -o knows json only, and says so
    known = {"--output": formats, "--state": _STATES}
    choices = known.get(name) or _choices(option)
    metavar = option.metavar or "|".join(choices) or name.lstrip("-").upper()
    named = "=" not in metavar  # KEY=VALUE is no name
    return Value(metavar=metavar, choices=choices, source=_BY_FLAG.get(name, _BY_METAVAR.get(metavar)) if named and not choices else None)


def _argument(argument: Any, path: tuple[str, ...], words: tuple[str, ...]) -> Argument:
    spelled = argument.metavar or argument.name.upper()
    choices = words or _PORTS.get(spelled, ()) or _choices(argument)
    found = _FIRST.match(spelled)
    word = "SCRIPT" if "SCRIPT" in spelled else found[1] if found else ""
    source: Source | None = None
    if not choices and path not in _NEW:
        source = _BY_NOUN.get((path[0], word), _BY_METAVAR.get(word))
        if source == "jobs" and ":" in spelled:
            source = "job-paths"
    if " " in spelled:  # all that may follow, in the words of the usage line
        return Argument(value=Value(metavar=spelled, choices=choices, source=source), help=argument.help or "")
    return Argument(
        value=Value(metavar=spelled.strip("[]."), choices=choices, source=source),
        help=argument.help or "",
        required=argument.required and not spelled.startswith("["),
        repeat=argument.nargs == -1,
    )


def _choices(parameter: Any) -> tuple[str, ...]:
    spelled = (parameter.metavar or "").strip("[].")
    if _WORDS.match(spelled):
        return tuple(spelled.split("|"))
    return tuple(str(getattr(each, "value", each)) for each in getattr(parameter.type, "choices", ()))
