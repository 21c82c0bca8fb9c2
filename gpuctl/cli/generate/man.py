"""The man page: one page for the whole program, in the man macros that groff and mandoc share."""

import re
from collections.abc import Iterable

from gpuctl.base.exitcodes import MEANING
from gpuctl.cli.generate.tree import Argument, Command, Flag, Program, common_flags
from gpuctl.config.keys import KEYS

_SIGNAL = "the job died of signal n (verbs that return the job's own code)"


def page(program: Program) -> str:
    """The text of ``gpuctl.1``."""
    # No date: the page must come out the same on every day.
    lines = [f'.TH GPUCTL 1 "" "gpuctl {_text(program.version)}" "User Commands"']
    lines += [".SH NAME", f"gpuctl \\- {_text(program.summary.rstrip('.'))}"]
    lines += [".SH SYNOPSIS", ".B gpuctl", ".I VERB", "[flags] [arguments]"]
    common = common_flags(program)
    lines += [".SH FLAGS OF EVERY VERB", *(line for flag in common for line in _entry(_flag(flag), flag.help))]
    lines += [".SH VERBS"]
    for command in program.every:
        lines += _command(command, common)
    lines += [".SH EXIT STATUS", *_list([*((str(code.value), meaning) for code, meaning in MEANING.items()), ("128+n", _SIGNAL)])]
    lines += [".SH ENVIRONMENT", *_list((key.env, f"{key.doc} Default: {key.shown_default}.") for key in KEYS)]
    lines += [
        ".SH FILES",
        *_list(
            [
                ("$XDG_CONFIG_HOME/gpuctl/config.yaml", "Settings and profiles of one person."),
                (".gpuctl.yaml", "Settings of one project."),
                ("/etc/gpuctl/config.yaml", "Settings and profiles of one machine."),
            ]
        ),
    ]
    lines += [".SH SEE ALSO", ".BR torchrun (1),", ".BR sbatch (1)"]
    return "\n".join(lines) + "\n"


def _command(command: Command, common: tuple[Flag, ...]) -> list[str]:
    lines = [f".SS gpuctl {_text(command.usage)}"]
    for number, paragraph in enumerate(re.split(r"\n\s*\n", command.text or command.summary)):
        lines += [".PP", *_paragraph(paragraph)][not number :]
    if command.examples:
        lines += [".PP", ".nf", ".RS", *(_text(line) for line in command.examples), ".RE", ".fi"]
    for argument in command.arguments:
        if argument.help:
            lines += _entry(_argument(argument), argument.help)
    if not command.commands:
        for flag in command.flags:
            if flag not in common:
                lines += _entry(_flag(flag), flag.help)
    return lines


def _paragraph(paragraph: str) -> list[str]:
    """Prose is filled; what was indented keeps its lines."""
    rows = [_text(line) for line in paragraph.splitlines()]
    return [".nf", *rows, ".fi"] if paragraph.startswith(" ") else rows


def _flag(flag: Flag) -> str:
    names = ", ".join(rf"\fB{_text(name)}\fR" for name in flag.names)
    return names + (rf" \fI{_text(flag.value.metavar)}\fR" if flag.value else "")


def _argument(argument: Argument) -> str:
    return rf"\fI{_text(argument.value.metavar)}\fR"


def _list(entries: Iterable[tuple[str, str]]) -> list[str]:
    return [line for tag, text in entries for line in _entry(rf"\fB{_text(tag)}\fR", text)]


def _entry(tag: str, text: str) -> list[str]:
    """A tagged paragraph; the tag is roff already."""
    return [".TP", tag, _text(text)]


def _text(text: str) -> str:
    """Safe in roff: backslashes, hyphens that must stay ASCII, and dots or quotes that would begin a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    escaped = escaped.replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped
