"""The command line as plain values: all that a completion script, a man page or a reference page needs to know of it."""

import dataclasses
from typing import Literal

Source = Literal[
    "jobs",  # names of jobs, also as job/NAME
    "job-paths",  # JOB:/path, the name is completed
    "after",  # ok:JOB, any:JOB, fail:JOB
    "nodes",
    "node-list",  # NODE,NODE
    "clusters",
    "profiles",
    "volumes",
    "volume-paths",  # NAME:/path, the name is completed
    "files",
    "directories",
    "programs",
]
"""Where the candidates for a value come from. Names are asked from ``gpuctl _complete``, which reads a cache; files from the shell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Value:
    """What a flag or an argument takes: its name in usages, its fixed choices, or where its candidates come from."""

    metavar: str
    choices: tuple[str, ...] = ()
    source: Source | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag:
    """One option. ``names`` as typed, short ones first; ``value`` None for a switch."""

    names: tuple[str, ...]
    help: str
    value: Value | None = None
    repeat: bool = False
    default: str | None = None

    @property
    def long(self) -> str:
        """The long spelling, or the only one."""
        return max(self.names, key=len)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Argument:
    """One positional argument; ``repeat`` for the last of a verb that takes any number."""

    value: Value
    help: str = ""
    required: bool = True
    repeat: bool = False

    @property
    def shown(self) -> str:
        """As in a usage line: ``JOB``, ``[JOB]``, ``JOB...``."""
        word = self.value.metavar + ("..." if self.repeat else "")
        return word if self.required else f"[{word}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """One verb, or a noun with verbs.

    Attributes:
        path: the words after ``gpuctl`` (``("volumes", "create")``).
        summary: one line.
        text: paragraphs of help, plain text.
        examples: command lines, each with what it does.
        passes: flags end at the first positional argument; what follows belongs to another program.
        default: the verb a noun stands for when no verb follows.
    """

    path: tuple[str, ...]
    summary: str
    text: str = ""
    examples: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    arguments: tuple[Argument, ...] = ()
    commands: tuple["Command", ...] = ()
    panel: str = ""
    passes: bool = False
    default: str | None = None

    @property
    def name(self) -> str:
        """The last word."""
        return self.path[-1]

    @property
    def usage(self) -> str:
        """What a call looks like, without the program's name: ``submit [flags] SCRIPT [ARGS...]``."""
        if self.commands:
            return " ".join([*self.path, "[VERB]", "[flags]", "[arguments]"])
        return " ".join([*self.path, "[flags]", *(argument.shown for argument in self.arguments)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """The whole command line, without hidden verbs, in the order of its help."""

    name: str
    summary: str
    version: str
    commands: tuple[Command, ...]

    @property
    def every(self) -> tuple[Command, ...]:
        """All commands, a noun before its verbs."""
        return tuple(each for command in self.commands for each in (command, *command.commands))


def flags_at(command: Command) -> tuple[Flag, ...]:
    """The flags that may follow ``command`` at once: for a noun those of the verb it stands for."""
    if command.default is None:
        return command.flags
    found = next(each for each in command.commands if each.name == command.default)
    return tuple({flag.names: flag for flag in (*command.flags, *found.flags)}.values())


def common_flags(program: Program) -> tuple[Flag, ...]:
    """The flags that verbs share, told once in a manual; a verb that gives one of them a meaning of its own tells its own."""
    verbs = [command for command in program.every if not command.commands]
    every = {flag.names: flag for verb in verbs for flag in verb.flags}
    return tuple(flag for flag in every.values() if sum(flag in verb.flags for verb in verbs) > 0.8 * len(verbs))
