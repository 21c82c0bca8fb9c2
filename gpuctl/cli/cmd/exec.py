"""``gpuctl exec``."""

from typing import Annotated

import typer

from gpuctl.base.errors import GpuctlError, InternalError
from gpuctl.cli import asking
from gpuctl.cli.result import Done, Result
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import ExecTarget

Command = Annotated[list[str], typer.Argument(metavar="-- CMD [ARGS]...", help="The program and its arguments, after --.")]
Rank = Annotated[int | None, typer.Option("--rank", metavar="R", min=0, help="Where this rank runs, with its environment.")]
NodeIndex = Annotated[int | None, typer.Option("--node", metavar="N", min=0, help="On the N-th node, from 0.")]
Everywhere = Annotated[bool, typer.Option("--all", help="On every node, one after another.")]


def run(
    session: Session, job: asking.Job, command: Command, rank: Rank = None, node: NodeIndex = None, everywhere: Everywhere = False
) -> Result:
    """Run a command inside a running job.

    It has the job's environment and directory, and runs on the job's first node
    unless --rank, --node or --all says otherwise. What follows -- is the command.
    The exit code is the command's own, 128+n when it died of signal n, the
    highest of several; 125 when gpuctl itself failed.
    """
    asking.only_one(rank=rank, node=node, all=everywhere)
    target = ExecTarget(rank=rank, node=node, all=everywhere)
    session.out.flush()
    try:
        return Done(code=session.pool.exec(job, target, command, tty=session.stdin_tty and session.out_tty))
    except (GpuctlError, BrokenPipeError):
        raise
    except Exception as error:
        raise InternalError(f"cannot run {command[0]} in {job}: {type(error).__name__}: {error}") from error


VERB = Verb(run=run, examples=("gpuctl exec llama-k3f9 -- nvidia-smi", "gpuctl exec llama-k3f9 --rank 3 -- py-spy dump --pid 1"))
