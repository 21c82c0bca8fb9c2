"""``gpuctl doctor``: what works here, what does not, and the command that mends it."""

import os
import platform
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

import gpuctl
from gpuctl.base.errors import GpuctlError, NotAllowedError, UsageError
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Column, Result, Rows, Text
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb

SetUpLocks = Annotated[bool, typer.Option("--set-up-locks", help="Make the directory by which people share this machine's devices.")]
Group = Annotated[str | None, typer.Option("--group", metavar="GROUP", help="With --set-up-locks: for members of this group only.")]
Rbac = Annotated[bool, typer.Option("--rbac", help="Print what a Kubernetes administrator has to allow, as YAML.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 when there is a problem (for scripts).")]

_WRITTEN_BY_HAND = {
    "bash": "~/.local/share/bash-completion/completions/gpuctl",
    "zsh": "~/.local/share/zsh/site-functions/_gpuctl",
    "fish": "~/.config/fish/completions/gpuctl.fish",
}
_LINKED = ("share/bash-completion/completions/gpuctl", "share/zsh/site-functions/_gpuctl", "share/fish/vendor_completions.d/gpuctl.fish")


class Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that was looked at. ``verdict``: ``ok``, ``note`` or ``problem``; ``fix``: a command that mends it.

    ``cluster`` is the one that it is about; None is gpuctl itself.
    """

    name: str
    cluster: str | None = None
    verdict: str
    text: str
    fix: str | None = None


def run(session: Session, strict: Strict = False, rbac: Rbac = False, set_up_locks: SetUpLocks = False, group: Group = None) -> Result:
    """Check this installation, this machine and every cluster of the pool.

    Nothing is changed, unless --set-up-locks asks for it. Each line that is not
    ok comes with the command that mends it.
    """
    if group is not None and not set_up_locks:
        raise UsageError("--group goes with --set-up-locks", code="bad-flags", hint=f"gpuctl doctor --set-up-locks --group {group}")
    if rbac:
        return Text(text=session.pool.rbac())
    if set_up_locks:
        _set_up_locks(session, group)
    lines = [_installation(), *_interpreters(session), _completion(session), *_pool(session)]
    problems = sum(line.verdict == "problem" for line in lines)
    several = len({line.cluster for line in lines if line.cluster}) > 1
    fixes = [
        f"{line.cluster}: {line.name}: {line.fix}" if several and line.cluster else f"{line.name}: {line.fix}"
        for line in lines
        if line.fix and line.verdict != "ok"
    ]
    footer = (["", "to mend:", *(f"  {fix}" for fix in dict.fromkeys(fixes))] if fixes else []) if session.verbosity >= 0 else []
    return Rows(
        kind="Check",
        items=lines,
        columns=(COLUMNS[0], _cluster(several=several), *COLUMNS[1:]),
        name=lambda line: f"check/{line.name.replace(' ', '-')}",
        empty="",
        footer=footer,
        code=ExitCode.FAILED if strict and problems else ExitCode.OK,
    )


def _set_up_locks(session: Session, group: str | None) -> None:
    from gpuctl import wiring

    made = wiring.set_up_locks(group)
    if not made.done:
        raise NotAllowedError(f"cannot set up the device locks: {made.text}", code="locks-not-set-up", hint=made.command)
    session.say(made.text)


def _installation() -> Line:
    where = os.path.dirname(os.path.dirname(os.path.abspath(gpuctl.__file__)))
    return Line(name="gpuctl", verdict="ok", text=f"{gpuctl.__version__} on Python {platform.python_version()}, in {where}")


def _interpreters(session: Session) -> Iterator[Line]:
    from gpuctl import wiring

    found = wiring.interpreters(session.cwd, session.env)
    if not found:
        yield Line(name="python", verdict="problem", text="no Python was found for jobs", fix="gpuctl submit --python /path/to/python ...")
    for position, interpreter in enumerate(found):
        has = ", ".join(
            {True: name, False: f"no {name}", None: f"{name}: it does not run"}[is_there] for name, is_there in interpreter.modules.items()
        )
        chosen = f"{interpreter.why}; jobs take this one" if position == 0 else interpreter.why
        lacks_torch = position == 0 and not interpreter.modules["torch"]
        yield Line(
            name="python",
            verdict="note" if lacks_torch else "ok",
            text=f"{interpreter.path} ({chosen}): {has}",
            fix=interpreter.install_torch if lacks_torch else None,
        )


def _completion(session: Session) -> Line:
    shell = os.path.basename(session.env.get("SHELL", ""))
    if shell not in _WRITTEN_BY_HAND:
        return Line(name="completion", verdict="note", text=f"no completion for the shell {shell or '(SHELL is not set)'}")
    by_hand = os.path.expanduser(_WRITTEN_BY_HAND[shell])
    data = session.env.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    roots = (os.path.expanduser("~/.local"), os.path.dirname(data), "/usr/local", "/usr")
    places = [by_hand, *(os.path.join(root, linked) for root in roots for linked in _LINKED if shell in linked)]
    for place in places:
        if os.path.exists(place):
            return Line(name="completion", verdict="ok", text=f"{shell}: {place}")
    return Line(
        name="completion",
        verdict="note",
        text=f"{shell} does not complete gpuctl yet",
        fix=f"mkdir -p {os.path.dirname(_WRITTEN_BY_HAND[shell])} && gpuctl completion {shell} > {_WRITTEN_BY_HAND[shell]}",
    )


def _pool(session: Session) -> Iterator[Line]:
    try:
        checks = session.pool.checks()
    except GpuctlError as error:
        yield Line(name="pool", verdict="problem", text=error.message, fix=error.hint)
        return
    for check in checks:
        yield Line(name=check.name, cluster=check.cluster, verdict=check.verdict, text=check.text, fix=check.fix)


def _style(line: Line) -> str:
    return {"ok": "good", "note": "busy"}.get(line.verdict, "bad")


def _cluster(*, several: bool) -> Column:
    """Told without being asked where the lines are about several clusters."""
    return Column(name="CLUSTER", cell=lambda line, _: cells.present(line.cluster), wide=not several)


COLUMNS = (
    Column(name="CHECK", cell=lambda line, _: line.name),
    Column(name="VERDICT", cell=lambda line, _: line.verdict, style=_style),
    Column(name="FOUND", cell=lambda line, _: line.text),
    Column(name="FIX", cell=lambda line, _: line.fix or "", wide=True),
)

VERB = Verb(run=run)
