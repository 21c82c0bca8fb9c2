"""Errors to stderr and to exit codes: the only place that maps one to the other."""

import errno
import json
import os
import traceback
from typing import Any

from gpuctl.base.errors import GpuctlError, InvalidInput
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli.session import Session


def tell(error: BaseException, session: Session) -> int:
    """Write what a person needs to know about ``error`` and return the exit code."""
    if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):  # the parser library's answer to EPIPE is exit 1
        return ExitCode.PIPE_CLOSED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else ExitCode.FAILED
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return ExitCode.PIPE_CLOSED
    if isinstance(error, GpuctlError):
        _write(session, error)
        if session.verbosity >= 2:
            _put(session, "".join(traceback.format_exception(error)))
        return error.exit_code
    parsed = _from_parser(error, session)
    if parsed is not None:
        return parsed
    return _unexpected(error, session)


def text(error: GpuctlError) -> str:
    """The error as people read it: code and sentence, the problems, the cause, and the hint after a blank line."""
    lines = [f"error[{error.code}]: {error.message}"]
    if isinstance(error, InvalidInput):
        lines += [f"  {problem}" for problem in error.problems]
    if error.cause:
        lines.append(f"cause: {error.cause}")
    if error.hint:
        lines += ["", f"hint: {error.hint}"]
    return "\n".join(lines) + "\n"


def as_json(error: GpuctlError) -> str:
    """The error as one line of JSON (with GPUCTL_ERRORS=json, for programs that call gpuctl)."""
    body: dict[str, Any] = {"code": error.code, "message": error.message, "exitCode": int(error.exit_code)}
    if error.cause:
        body["cause"] = error.cause
    if error.hint:
        body["hint"] = error.hint
    if isinstance(error, InvalidInput):
        body["problems"] = [{key: value for key, value in vars(problem).items() if value is not None} for problem in error.problems]
    return json.dumps({"apiVersion": "gpuctl.io/v1", "kind": "Error", "error": body}) + "\n"


def _write(session: Session, error: GpuctlError) -> None:
    if session.env.get("GPUCTL_ERRORS") == "json":
        _put(session, as_json(error))
        return
    written = text(error)
    if session.err_color:
        head, _, rest = written.partition(":")
        written = f"\x1b[1;31m{head}\x1b[0m:{rest}"
    _put(session, written)


def _put(session: Session, written: str) -> None:
    try:
        session.out.flush()
        session.err.write(written)
        session.err.flush()
    except (OSError, ValueError):  # nobody listens any more; the exit code still tells
        pass


def _from_parser(error: BaseException, session: Session) -> int | None:
    """The code of an error of the argument parser, or None when it is none."""
    from typer import Abort, Exit
    from typer.exceptions import TyperException

    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, Abort):
        return ExitCode.INTERRUPTED
    if not isinstance(error, TyperException):
        return None
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        session.write(context.get_help() + "\n")
        return ExitCode.OK
    message = error.format_message().rstrip(".")
    hint = f"{context.command_path} --help" if context is not None else "gpuctl --help"
    _write(session, GpuctlError(message[:1].lower() + message[1:], code="usage", hint=hint))
    return ExitCode.USAGE


_OF_THE_WORLD = {
    errno.ENOSPC: "there is no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EIO: "the device does not work",
    errno.EMFILE: "too many files are open in this process (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "there is no memory left",
    errno.EAGAIN: "no further process or thread may be started (ulimit -u)",
}
"""Errors of the operating system that can meet any write or start, and are nobody's mistake in the code."""


def _unexpected(error: BaseException, session: Session) -> int:
    if isinstance(error, OSError) and error.errno in _OF_THE_WORLD:
        where = f" ({error.filename})" if error.filename else ""
        _write(
            session, GpuctlError(f"this machine refused: {_OF_THE_WORLD[error.errno]}{where}", code="machine-refused", hint="gpuctl doctor")
        )
        return ExitCode.FAILED
    report = "".join(traceback.format_exception(error))
    if session.verbosity >= 2:
        _put(session, report)
    kept = _keep(report, session)
    sentence = f"{type(error).__name__}: {error}".splitlines()[0]
    _write(
        session,
        GpuctlError(
            f"gpuctl failed unexpectedly: {sentence}",
            code="internal",
            hint=f"the full report is in {kept}" if kept else "run it again with -vv to see the full report",
        ),
    )
    return ExitCode.FAILED


def _keep(report: str, session: Session) -> str | None:
    """Keep the report in a file of its own and return its path; None when there is nowhere to write."""
    try:
        from gpuctl.config import paths

        directory = os.path.join(paths.cache_dir(session.env), "reports")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        name = os.path.join(directory, f"{session.now():%Y%m%dT%H%M%S}-{os.getpid()}.txt")
        with open(name, "w", encoding="utf-8") as file:
            file.write(report)
    except (OSError, GpuctlError, ImportError):
        return None
    return name
