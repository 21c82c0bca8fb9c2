"""``gpuctl diff``."""

from typing import Annotated, Any

import msgspec
import typer

from gpuctl.cli.result import Column, Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.policy import diff

Left = Annotated[str, typer.Argument(metavar="JOB", help="A job; - is my latest.", show_default=False)]
Right = Annotated[str, typer.Argument(metavar="JOB", help="Another one.", show_default=False)]


class Difference(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One field that differs; a side that lacks it is absent."""

    field: str
    left: str | None = None
    right: str | None = None


def run(session: Session, left: Left, right: Right) -> Result:
    """Compare two jobs: what was asked for, the code with its git commit, the interpreter, the names of environment variables.

    Only what differs is shown; nothing on stdout means that they are the same.
    Exit code 0 either way, as the answer is the output.
    """
    jobs = [session.pool.job(ref) for ref in (left, right)]
    found = [Difference(field=each.field, left=each.left, right=each.right) for each in diff.diff(*jobs)]
    names = [job.name for job in jobs]
    return Rows(
        kind="Difference",
        items=found,
        columns=(
            Column(name="FIELD", cell=lambda item, _: item.field),
            _side(names[0] if names[0] != names[1] else "LEFT", "left"),
            _side(names[1] if names[0] != names[1] else "RIGHT", "right"),
        ),
        name=lambda item: item.field,
        empty=f"job/{jobs[0].name} and job/{jobs[1].name} are the same",
    )


def _side(name: str, side: str) -> Column:
    def cell(item: Any, _context: object) -> str:
        value: str | None = getattr(item, side)
        return value if value is not None else "-"

    return Column(name=name, cell=cell, shrink=True)


VERB = Verb(run=run, examples=("gpuctl diff llama-k3f9 llama-x2k9", "gpuctl diff - llama-k3f9 -o json"))
