"""``gpuctl cp``."""

from typing import Annotated

import typer

from gpuctl.base.errors import UsageError
from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Done, Result
from gpuctl.cli.session import Session
from gpuctl.cli.show.progress import Progress
from gpuctl.cli.verb import Verb

Source = Annotated[str, typer.Argument(metavar="JOB:PATH", help="A file or directory of a job; a relative path is below its directory.")]
Destination = Annotated[str, typer.Argument(metavar="[DEST]", help="Where to put it; - is stdout.")]


def run(session: Session, source: Source, destination: Destination = ".") -> Result:
    """Copy a file or directory out of a job.

    Without a job before the colon it is my latest.
    """
    job, path = _parsed(source)
    with Progress(session) as progress:
        progress.update(f"copying {path} from {job or 'my latest job'}" if session.err_tty else "")
        written = session.pool.copy_out(job, path, destination)
    session.say(f"copied {path} to {'stdout' if destination == '-' else destination}: {cells.memory(written)}")
    return Done()


def _parsed(source: str) -> tuple[str | None, str]:
    job, colon, path = source.partition(":")
    if not colon or not path:
        raise UsageError(
            f"cannot copy {source}: it names no {'path' if colon else 'job'}",
            code="no-job-path",
            hint=f"gpuctl cp {job}:PATH DEST" if colon else f"gpuctl cp JOB:{source} DEST",
        )
    return job or None, path


VERB = Verb(run=run, examples=("gpuctl cp llama-k3f9:out/model.pt .", "gpuctl cp :metrics.json /tmp          of my latest job"))
