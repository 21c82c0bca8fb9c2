"""``gpuctl top``."""

from typing import Annotated

import typer

from gpuctl.cli import asking, watching
from gpuctl.cli.out.columns import sample as columns
from gpuctl.cli.out.order import ordered
from gpuctl.cli.result import Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb

Job = Annotated[str | None, typer.Argument(metavar="[JOB]", help="Each rank of this job; without it every running job of mine.")]


def run(
    session: Session,
    job: Job = None,
    sort: asking.Sort = None,
    watch: asking.Watch = False,
    interval: asking.Interval = watching.DEFAULT_INTERVAL,
) -> Result:
    """Show what running jobs use now: one row a job, or one a rank of the job named.

    CPU% is of one core (400 is four busy cores), GPU% of one GPU on average,
    SILENT the time since the last line of log.
    """
    ordered((), columns.COLUMNS, sort, session.context())

    def ask() -> Rows:
        listing = session.pool.top(job)
        return Rows(
            kind="Sample",
            items=ordered(listing.items, columns.COLUMNS, sort, session.context()),
            columns=columns.COLUMNS,
            name=columns.name,
            empty="nothing runs" if job is None else f"nothing of {job} runs",
            incomplete=listing.incomplete,
        )

    return watching.once_or_watch(session, ask, watching=watch, interval=interval)


VERB = Verb(run=run, examples=("gpuctl top --watch", "gpuctl top llama-k3f9"))
