"""Process entry: the fast path of ``--version``, one place that maps errors to exit codes, nothing else."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gpuctl

if TYPE_CHECKING:
    from gpuctl.cli.session import Session


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. ``argv`` is without the program's name."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args in (["--version"], ["-V"]):  # before typer: twice the cost of an empty Python
        sys.stdout.write(f"gpuctl {gpuctl.__version__}\n")
        return 0
    from gpuctl.cli import session

    code = run(args, session.from_process())
    _leave_quietly()
    return code


def run(args: Sequence[str], session: "Session") -> int:
    """Parse, run, render, and map every error to its exit code. The session is closed at the end."""
    try:
        from gpuctl.cli import commands

        result = commands.root().main(args=list(args), prog_name="gpuctl", standalone_mode=False, obj=session)
        if isinstance(result, int):  # --help
            return result
        from gpuctl.cli.out import render

        return render.write(result, session)
    except BaseException as error:
        from gpuctl.cli.show import failure

        return failure.tell(error, session)
    finally:
        try:
            session.close()
        except OSError:
            pass


def _leave_quietly() -> None:
    """Flush now, and point stdout at nothing if its reader is gone, so that the interpreter's own flush cannot complain."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (BrokenPipeError, ValueError, AttributeError):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        except OSError:
            pass
