"""Where gpuctl's flags end: the words of a command line or a directive, taken apart without judging any value."""

import dataclasses
from collections.abc import Mapping, Sequence

from gpuctl.base.errors import Problem
from gpuctl.cli.spec import table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """The words of a command line.

    Attributes:
        uses: known flags in the order they were used, by the spelling that was used, with their values (None for switches).
        known: the words of those uses, for a parser that is to read them again.
        rest: everything from the first word that is no flag on, or from ``--`` on (then it begins with ``--``).
        problems: unknown flags, and flags without the value they need.
    """

    uses: tuple[tuple[str, str | None], ...]
    known: tuple[str, ...]
    rest: tuple[str, ...]
    problems: tuple[Problem, ...]


def split(words: Sequence[str], takes_value: Mapping[str, bool], *, where: str = "", mixed: bool = False) -> Split:
    """Take words apart.

    Args:
        words: as the shell gave them.
        takes_value: every known spelling, and whether a value follows it.
        where: put before a field's name in problems (``job.sh:3: ``).
        mixed: flags may also stand behind words that are none; only ``--`` ends them.
    """
    uses: list[tuple[str, str | None]] = []
    known: list[str] = []
    problems: list[Problem] = []
    others: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            if not mixed:
                break
            others.append(word)
            position += 1
            continue
        position += 1
        spelling, equals, attached = _spelling(word, takes_value)
        if spelling not in takes_value:
            problem, has_value = _unknown(spelling, takes_value)
            problems.append(dataclasses.replace(problem, field=where + spelling))
            if has_value and not equals and position < len(words) and not words[position].startswith("-"):
                position += 1  # its value, were it spelled right
        elif not takes_value[spelling]:
            if equals:
                problems.append(Problem(field=where + spelling, message="takes no value", got=repr(attached)))
                continue
            uses.append((spelling, None))
            known.append(word)
        elif equals or position < len(words):
            value = attached if equals else words[position]
            position += 0 if equals else 1
            uses.append((spelling, value))
            known += [f"{spelling}={value}"] if spelling.startswith("--") else [spelling, value]
        else:
            problems.append(Problem(field=where + spelling, message="needs a value"))
    return Split(uses=tuple(uses), known=tuple(known), rest=(*others, *words[position:]), problems=tuple(problems))


def _unknown(spelling: str, takes_value: Mapping[str, bool]) -> tuple[Problem, bool]:
    """What is wrong with a flag that is not known here, and whether a value follows it."""
    elsewhere = table.by_spelling(table.EVERY).get(spelling)
    if elsewhere is not None:
        return Problem(field=spelling, message="is a flag of gpuctl submit and has no meaning here"), elsewhere.takes_value
    close = table.meant(spelling, takes_value)
    known = close is not None and takes_value.get(close.split(" ")[0], False)
    return Problem(field=spelling, message="there is no such flag", nearest=close), known


def _spelling(word: str, takes_value: Mapping[str, bool]) -> tuple[str, bool, str]:
    """Spelling, whether a value is attached to it, and that value. Short switches may stand together (``-qq``)."""
    if word.startswith("--"):
        spelling, equals, attached = word.partition("=")
        return spelling, bool(equals), attached
    short = word[:2]
    if word in takes_value or len(word) == 2:
        return word, False, ""
    if takes_value.get(short):
        return short, True, word[2:].removeprefix("=")
    if all(takes_value.get(f"-{letter}") is False for letter in word[1:]):
        return short, False, ""
    return word, False, ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What is to run: a script (``-``: standard input) with its arguments, or a whole command; neither when a job file says it."""

    script: str | None = None
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def program(rest: Sequence[str], spellings: Sequence[str]) -> Program:
    """What the rest of a command line runs, and notes about flags of ours that went to the script.

    Args:
        rest: from the first word that is no flag on.
        spellings: flags of ours.
    """
    if not rest:
        return Program()
    if rest[0] == "--":
        return Program(command=tuple(rest[1:]))
    script, args = rest[0], tuple(rest[1:])
    if args[:1] == ("--",):
        return Program(script=script, args=args[1:])
    ours = {spelling for spelling in spellings if len(spelling) > 2 or spelling == "-j"}
    taken = dict.fromkeys(word.partition("=")[0] for word in args)
    notes = tuple(f"note: {word} went to {script}" for word in taken if word in ours)
    return Program(script=script, args=args, notes=notes)
