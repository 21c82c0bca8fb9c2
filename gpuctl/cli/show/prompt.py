"""Asking before something ends, in three grades.

* one's own single thing, named: no question;
* several things, or somebody else's: ``y/N`` with what would be hit, skipped by ``-y``;
* data that cannot come back: its name must be typed, or given with ``--confirm=NAME``; ``-y`` is not enough.

Without a terminal nothing is asked: the flag must be there, else exit 2.
"""

from collections.abc import Sequence

from gpuctl.base.errors import UsageError
from gpuctl.cli.session import Session

_SHOWN = 10


def agree(session: Session, question: str, *, things: Sequence[str] = (), yes: bool) -> bool:
    """Ask ``question`` under the list of ``things`` and return whether the answer was yes; anything but y or yes is no.

    Raises:
        UsageError: nobody can be asked, and -y was not given.
    """
    if yes:
        return True
    if not _can_ask(session):
        raise UsageError(
            f"{question.rstrip('?')} needs a yes, and there is no terminal to ask on",
            code="needs-confirmation",
            cause=_listed(things) or None,
            hint="add -y to go ahead without a question",
        )
    for thing in things[:_SHOWN]:
        session.err.write(f"  {thing}\n")
    if len(things) > _SHOWN:
        session.err.write(f"  and {len(things) - _SHOWN} more\n")
    return _ask(session, f"{question} [y/N] ").lower() in {"y", "yes"}


def agree_by_name(session: Session, warning: str, *, name: str, given: str | None) -> bool:
    """Have the name of what is about to be destroyed typed; ``given`` is the value of ``--confirm``.

    Raises:
        UsageError: --confirm names something else, or nobody can be asked and it was not given.
    """
    if given is not None:
        if given != name:
            raise UsageError(f"--confirm says {given}, but {name} would be deleted", code="needs-confirmation", hint=f"--confirm={name}")
        return True
    if not _can_ask(session):
        raise UsageError(
            f"deleting {name} needs its name, and there is no terminal to ask on",
            code="needs-confirmation",
            cause=warning,
            hint=f"add --confirm={name}",
        )
    return _ask(session, f"{warning}\nType {name} to delete it: ") == name


def _can_ask(session: Session) -> bool:
    return session.stdin_tty and session.err_tty


def _ask(session: Session, text: str) -> str:
    session.err.write(text)
    session.err.flush()
    answer = session.stdin.readline()
    if not answer.endswith("\n"):  # Ctrl-D: the cursor still stands behind the question
        session.err.write("\n")
    return answer.strip()


def _listed(things: Sequence[str]) -> str:
    shown = ", ".join(things[:_SHOWN])
    return f"{shown} and {len(things) - _SHOWN} more" if len(things) > _SHOWN else shown
