"""``gpuctl history``."""

from gpuctl.cli import asking
from gpuctl.cli.out.columns import job as columns
from gpuctl.cli.out.order import ordered
from gpuctl.cli.result import Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import JobQuery


def run(
    session: Session,
    state: asking.States = None,
    since: asking.Since = None,
    name: asking.Name = None,
    label: asking.Labels = None,
    sort: asking.Sort = None,
    limit: asking.Limit = None,
) -> Result:
    """List what I ran, newest first, from my own record, however long ago.

    gpuctl rerun JOB runs one of them again, gpuctl diff JOB JOB compares two.
    """
    query = JobQuery(
        states=asking.states(state),
        since=asking.since(since, session=session),
        name=name,
        labels=asking.labels(label),
        limit=None if sort else limit,
    )
    ordered((), columns.HISTORY, sort, session.context())
    listing = session.pool.history(query)
    return Rows(
        kind="Job",
        items=ordered(listing.items, columns.HISTORY, sort, session.context())[:limit],
        columns=columns.HISTORY,
        name=columns.name,
        empty="nothing ran yet, or nothing like that",
        incomplete=listing.incomplete,
    )


VERB = Verb(run=run, examples=("gpuctl history --since 30d --name 'llama*'",))
