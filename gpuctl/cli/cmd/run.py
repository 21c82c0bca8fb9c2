"""``gpuctl run``."""

from gpuctl.base.errors import GpuctlError, InternalError, TimeoutReachedError
from gpuctl.cli import follow, submitting
from gpuctl.cli.result import Done, Result
from gpuctl.cli.session import Session
from gpuctl.cli.spec import table
from gpuctl.cli.spec.build import build
from gpuctl.cli.spec.parser import FlagCommand, Given, takes
from gpuctl.cli.verb import Verb
from gpuctl.model.job import Job

FLAGS = (*table.DESCRIBING, *table.FROM_FILE, *table.REQUEST, *table.TIMEOUT)


@takes(FLAGS)
def run(session: Session, given: Given) -> Result:
    """Submit a job, show what it writes, and end with its exit code.

    128+n when it died of signal n, 143 when it was cancelled, 125 when it was cut
    by a time limit or lost. stdout is what the job writes and nothing else; its
    standard input is empty. Ctrl-C leaves the job alone: it goes on, and
    gpuctl cancel ends it. With --timeout, 124 when it takes longer.
    """
    given = submitting.checked(given)
    built = build(given, submitting.place(session), verb="run")
    submitting.tell(session, built)
    job = submitting.submit(
        session, submitting.prepare(session, given, built), built, staying=True, wait_for_capacity=given.has("--wait-for-capacity")
    ).job
    session.detail(f"job/{job.name}")
    return Done(code=_to_end(session, job, timeout=submitting.timeout_of(given)))


def _to_end(session: Session, job: Job, *, timeout: float | None) -> int:
    """Follow it. Once it is accepted our own exit codes would read as the job's, so whatever fails on our side is 125."""
    try:
        return follow.to_end(session, job, logs=True, timeout=timeout)
    except TimeoutReachedError:
        raise
    except GpuctlError as error:
        hint = error.hint or f"gpuctl logs -f {job.name}"
        raise InternalError(f"cannot follow job/{job.name}: {error.message}", code=error.code, cause=error.cause, hint=hint) from error


VERB = Verb(
    run=run,
    parser=FlagCommand,
    pass_through=True,
    examples=("gpuctl run -j 1x2 -- nvidia-smi", "gpuctl run -j 2x8 --time 10m train.py --smoke-test"),
)
