"""``gpuctl usage``."""

from typing import Annotated

import typer

from gpuctl.cli import asking, watching
from gpuctl.cli.out.columns import usage as columns
from gpuctl.cli.out.order import ordered
from gpuctl.cli.result import Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import JobQuery

By = Annotated[str, typer.Option("--by", metavar="WORD,...", help=f"What to sum up by: {', '.join(columns.DIMENSIONS)}.")]
Since = Annotated[str, typer.Option("--since", metavar="WHEN", help="Jobs submitted since: 30d, 2026-03-01.")]
User = Annotated[str | None, typer.Option("-u", "--user", metavar="USER", help="Only this user; everybody without it.")]


def run(
    session: Session,
    by: By = "user,day,state",
    since: Since = "30d",
    user: User = None,
    team: asking.Team = None,
    sort: asking.Sort = None,
    watch: asking.Watch = False,
    interval: asking.Interval = watching.DEFAULT_INTERVAL,
) -> Result:
    """Sum up GPU-hours.

    Days are UTC; a job that held GPUs on two days counts on both.
    Tables show GPU-hours, json and yaml integer gpuSeconds.
    """
    dimensions = tuple(dict.fromkeys(asking.one_of(word.strip(), columns.DIMENSIONS, field="--by") for word in by.split(",")))
    shown = columns.columns(dimensions)
    ordered((), shown, sort, session.context())
    query = JobQuery(user=None if user == "all" else user, team=team, since=asking.since(since, session=session))
    span = f"since {since}" if "-" in since else f"in the last {since}"

    def ask() -> Rows:
        listing = session.pool.usage(query)
        sums = columns.sums(listing.items, by=dimensions)
        spent = sum(item.gpu_seconds for item in sums)
        return Rows(
            kind="Usage",
            items=ordered(sums, shown, sort, session.context()),
            columns=shown,
            name=columns.name,
            empty=f"no GPU was used {span}",
            incomplete=listing.incomplete,
            footer=(f"{columns.hours(spent)} GPU-hours {span}",) if sums else (),
        )

    return watching.once_or_watch(session, ask, watching=watch, interval=interval)


VERB = Verb(run=run, examples=("gpuctl usage --by user --since 7d --sort -gpu-hours", "gpuctl usage -u anna --by day"))
