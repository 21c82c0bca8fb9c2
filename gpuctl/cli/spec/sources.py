"""The sources that speak in flags: the command line, ``#GPUCTL`` directives and ``GPUCTL_SUBMIT_*``."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpuctl.base.errors import Problem, nearest
from gpuctl.cli.spec import given, table
from gpuctl.cli.spec.flag import Flag, Path, Place, Refused, Use
from gpuctl.cli.spec.layers import Setting
from gpuctl.cli.spec.read_values import joined

_DIRECTIVE = re.compile(r"#GPUCTL(?:\s|$)")
_ALMOST = re.compile(r"#+\s*gpuctl:?\s+-", re.IGNORECASE)
_PREFIX = "GPUCTL_SUBMIT_"


def settings(uses: Sequence[Use], place: Place, problems: list[Problem]) -> list[Setting]:
    """What flags set; values that cannot be read are added to ``problems`` under the origin they came from."""
    found: list[Setting] = []
    for flag in dict.fromkeys(use.flag for use in uses):
        values: list[tuple[Path, Any]] = []
        of_flag = [use for use in uses if use.flag is flag]
        for use in of_flag:
            if flag.read is None:
                continue
            try:
                values.extend(flag.read(use.text if use.text is not None else "true", place))
            except Refused as refusal:
                problems.append(refusal.problem(use.origin, use.text))
        origin = of_flag[-1].origin
        found += [Setting(path=path, value=value, origin=origin) for path, value in joined(values).items()]
    return found


def directives(text: str, name: str, problems: list[Problem], notes: list[str]) -> list[Use]:
    """The flags in the comment block that a script begins with.

    A job's directives end at its first line that is neither a comment nor empty, as sbatch's do. Lines that look like directives and
    are none are told in ``notes``: silence there costs somebody a night of the wrong job.
    """
    describing = table.by_spelling(table.DESCRIBING)
    elsewhere = table.by_spelling(table.EVERY)
    uses: list[Use] = []
    leading = True
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        where = f"{name}:{number}"
        leading = leading and (not stripped or stripped.startswith("#"))
        if not _DIRECTIVE.match(stripped):
            if leading and _ALMOST.match(stripped):
                notes.append(f"note: {where}: is a comment; a directive begins with #GPUCTL")
        elif not leading:
            notes.append(f"note: {where}: is not read; directives stand before the first line of code")
        else:
            uses += _directive(stripped[len("#GPUCTL") :], where, describing, elsewhere, problems)
    return uses


def _directive(
    text: str, where: str, describing: Mapping[str, Flag], elsewhere: Mapping[str, Flag], problems: list[Problem]
) -> Iterable[Use]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        problems.append(Problem(field=where, message=str(error).lower(), got=text.strip()))
        return []
    split = given.split(words, {spelling: flag.takes_value for spelling, flag in elsewhere.items()}, where=f"{where}: ")
    problems.extend(split.problems)
    if split.rest:
        problems.append(Problem(field=where, message="is no flag", got=repr(split.rest[0]), allowed="flags of gpuctl submit"))
    found = []
    for spelling, value in split.uses:
        if spelling in describing:
            found.append(Use(flag=describing[spelling], text=value, origin=f"{where}: {spelling}"))
        else:
            problems.append(Problem(field=f"{where}: {spelling}", message="belongs on the command line, not into a script"))
    return found


def environment(env: Mapping[str, str], problems: list[Problem]) -> list[Use]:
    """The flags in ``GPUCTL_SUBMIT_*``. Those that may be given several times hold several words, quoted as for a shell.

    No other ``GPUCTL_*`` variable is read: those describe the job one is in, and a job can submit jobs.
    """
    by_variable = {flag.variable: flag for flag in table.DESCRIBING}
    uses = []
    for variable in sorted(name for name in env if name.startswith(_PREFIX) and env[name]):
        flag = by_variable.get(variable)
        if flag is None:
            close = nearest(variable, by_variable)
            problems.append(Problem(field=variable, message="stands for no flag of gpuctl submit", nearest=close))
            continue
        try:
            texts = shlex.split(env[variable]) if flag.many else [env[variable]]
        except ValueError as error:
            problems.append(Problem(field=variable, message=str(error).lower(), got=repr(env[variable])))
            continue
        uses += [Use(flag=flag, text=text, origin=variable) for text in texts]
    return uses
