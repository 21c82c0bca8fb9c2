"""``gpuctl job``."""

from gpuctl.base.errors import GpuctlError
from gpuctl.cli import asking, watching
from gpuctl.cli.out import jobtext
from gpuctl.cli.out.columns import job as columns
from gpuctl.cli.result import One, Result
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.job import Job, State


def run(
    session: Session,
    job: asking.OptionalJob = None,
    watch: asking.Watch = False,
    interval: asking.Interval = watching.DEFAULT_INTERVAL,
) -> Result:
    """Show one job in full: what it runs, where, its attempts, timeline and end.

    JOB is job/NAME, NAME, the first part of a name (the newest such job), the
    beginning of an id, or NAME_7 for a task of an array. --watch ends with the
    job.
    """
    if not watch:
        return _one(session, session.pool.job(job))
    ref = session.pool.job(job).name  # the latest job may be another one by the next look
    last: list[Job] = []

    def ask() -> One:
        last[:] = [session.pool.job(ref)]
        return _one(session, last[0])

    return watching.watch(session, ask, interval=interval, until=lambda: last[0].final)


def _one(session: Session, found: Job) -> One:
    return One(
        kind="Job",
        item=found,
        text=lambda context: jobtext.render(found, context, wrap=session.out_tty, why=_why(session, found)),
        name=columns.name,
        columns=columns.COLUMNS,
    )


def _why(session: Session, found: Job) -> str | None:
    """The sentence of ``gpuctl why``, for a page that a person reads: asked for where the job itself does not carry it."""
    if found.reason is not None and found.reason.sentence:
        return found.reason.sentence
    if found.state.active or found.state is State.SUCCEEDED:
        return None
    try:
        return session.pool.explain(found.name).reason.sentence
    except GpuctlError:  # the page stands without it
        return None


VERB = Verb(run=run, examples=("gpuctl job", "gpuctl job llama-k3f9 -o jsonpath=.exit.code"))
