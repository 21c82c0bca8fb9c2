"""``gpuctl wait``."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from gpuctl.base.errors import TimeoutReachedError
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli import outcome, starting, values
from gpuctl.cli.acted import Acted
from gpuctl.cli.interrupt import Interrupt
from gpuctl.cli.result import Done, Result
from gpuctl.cli.session import Session
from gpuctl.cli.show.progress import Progress
from gpuctl.cli.verb import Verb
from gpuctl.model.job import Job

Jobs = Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="Jobs; my latest without one, or with -.")]
Timeout = Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="Stop waiting after so long (exit code 124).")]
ExitStatus = Annotated[bool, typer.Option("--exit-status", help="End with the job's own code; with the highest of several.")]


def run(session: Session, jobs: Jobs = None, timeout: Timeout = None, exit_status: ExitStatus = False) -> Result:
    """Wait until jobs have ended; prints job/NAME as each does.

    The exit code is 0 when all have ended, however they did. With --exit-status
    it is the job's own: 0, its exit code, 128+n for signal n, 143 when it was
    cancelled, 125 when it was cut or lost. 124: --timeout passed.
    """
    limit = float(values.duration(timeout, field="--timeout")) if timeout is not None else None
    waiting = {job.name: job for job in (session.pool.job(ref) for ref in jobs or ["-"])}
    with Interrupt(session, sentence=lambda: _goes_on(waiting.values())) as stop, Progress(session) as progress:
        acted = Acted(session, progress=progress)
        progress.update(_sentence(waiting.values()))
        try:
            for job in session.pool.wait(list(waiting), stop=stop, timeout=limit):
                waiting.pop(job.name, None)
                acted.add(job, outcome.sentence(job))
                progress.update(_sentence(waiting.values()))
        except TimeoutReachedError as error:
            raise _told(error, list(waiting), timeout or "") from error
        if stop.is_set():
            return Done(code=ExitCode.INTERRUPTED)
    return acted.result(code=outcome.highest(acted.jobs) if exit_status else ExitCode.OK)


def _sentence(jobs: Iterable[Job]) -> str:
    left = [job for job in jobs if not job.final]
    if not left:
        return ""
    if len(left) == 1:
        return f"waiting for {starting.standing(left[0])}"
    return f"waiting for {len(left)} jobs"


def _goes_on(left: Iterable[Job]) -> str:
    names = [job.name for job in left]
    return f"{', '.join(f'job/{name}' for name in names)} {'goes' if len(names) == 1 else 'go'} on; gpuctl wait {' '.join(names)}"


def _told(error: TimeoutReachedError, left: Sequence[str], timeout: str) -> TimeoutReachedError:
    listed = ", ".join(f"job/{name}" for name in left)
    return TimeoutReachedError(
        f"stopped waiting after {timeout}: {listed} {'has' if len(left) == 1 else 'have'} not ended",
        cause=error.cause,
        hint=f"gpuctl why {left[0]}" if left else None,
    )


VERB = Verb(run=run, examples=("gpuctl wait prep-x2k9 train-k3f9", "gpuctl wait --exit-status --timeout 6h && ./evaluate.sh"))
