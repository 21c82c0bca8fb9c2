"""``gpuctl jobs``."""

from typing import Annotated

import typer

from gpuctl.cli import asking, remembered, watching
from gpuctl.cli.out import folding, formats
from gpuctl.cli.out.columns import job as columns
from gpuctl.cli.out.order import ordered
from gpuctl.cli.result import Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import JobQuery

RECENT_SECONDS = 24 * 3600

All = Annotated[bool, typer.Option("-A", "--all", help="Also those that ended more than a day ago.")]
Tasks = Annotated[bool, typer.Option("--tasks", help="One row for each task of an array; equal neighbours are folded.")]


def run(
    session: Session,
    user: asking.User = None,
    team: asking.Team = None,
    state: asking.States = None,
    since: asking.Since = None,
    name: asking.Name = None,
    label: asking.Labels = None,
    everything: All = False,
    tasks: Tasks = False,
    sort: asking.Sort = None,
    limit: asking.Limit = None,
    watch: asking.Watch = False,
    interval: asking.Interval = watching.DEFAULT_INTERVAL,
) -> Result:
    """List jobs: mine, unfinished or ended less than a day ago.

    States: queued, starting, running, succeeded, failed, cancelled, cut, lost;
    --state also takes unfinished and ended. A cell says ? where something could
    not be read and - where there is nothing.
    """
    states = asking.states(state)
    started = asking.since(since, session=session)
    query = JobQuery(
        user=asking.user(user, session=session, team=team),
        team=team,
        states=states,
        name=name,
        since=started,
        labels=asking.labels(label),
        recent_seconds=None if everything or started is not None else RECENT_SECONDS,
        limit=None if sort else limit,
        tasks=tasks,
    )
    ordered((), columns.COLUMNS, sort, session.context())  # a wrong column is told before anything is read

    def ask() -> Rows:
        return _rows(session, query, sort=sort, limit=limit)

    return watching.once_or_watch(session, ask, watching=watch, interval=interval)


def _rows(session: Session, query: JobQuery, *, sort: str | None, limit: int | None) -> Rows:
    listing = session.pool.jobs(query)
    if query.name is None and query.states is None:
        remembered.remember(session, "jobs", (job.name for job in listing.items))
    items = ordered(listing.items, columns.COLUMNS, sort, session.context())[:limit]
    if query.tasks and formats.parse(session.output).name in {"table", "wide", "columns"}:
        items = folding.folded(items)
    return Rows(
        kind="Job",
        items=items,
        columns=columns.COLUMNS,
        name=columns.name,
        empty=_empty(query),
        incomplete=listing.incomplete,
    )


def _empty(query: JobQuery) -> str:
    narrowed = query.states is not None or query.name is not None or query.labels or query.team is not None
    whose = f" of {query.user}" if query.user is not None else ""
    if narrowed or query.since is not None:
        return f"no such jobs{whose}"
    if query.recent_seconds is not None:
        return f"no jobs{whose} that are unfinished or ended in the last day; gpuctl jobs -A shows older ones"
    return f"no jobs{whose}"


VERB = Verb(
    run=run,
    examples=(
        "gpuctl jobs                       mine, of today",
        "gpuctl jobs -u all --watch        everybody's, again and again",
        "gpuctl jobs --state failed,lost --since 7d",
        "gpuctl jobs --sort -gpus -o wide",
    ),
)
