"""``gpuctl quota``."""

from typing import Annotated

import typer

from gpuctl.cli import asking, unread, watching
from gpuctl.cli.out.columns import quota as columns
from gpuctl.cli.out.order import ordered
from gpuctl.cli.result import Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb

Tier = Annotated[str | None, typer.Option("--tier", metavar="TIER", help="Only of this tier: reserved or on-demand.")]
Cluster = Annotated[str | None, typer.Option("--cluster", metavar="CLUSTER", help="Only of this cluster.")]

TIERS = ("reserved", "on-demand")


def run(
    session: Session,
    team: asking.Team = None,
    tier: Tier = None,
    cluster: Cluster = None,
    sort: asking.Sort = None,
    watch: asking.Watch = False,
    interval: asking.Interval = watching.DEFAULT_INTERVAL,
) -> Result:
    """Show how many GPUs a team may hold, and how many are left.

    By cluster, tier and GPU type: what is guaranteed (QUOTA), what is used, how
    much of that is borrowed from others (OVER), and what is free of the quota. X8,
    X4, X2 and X1 count the pods of so many GPUs that would start now. A cluster
    without quotas shows its devices as they are, by owner. ? is what could not be
    read. Below stands what a time window gives to a team now, and until when.
    """
    ordered((), columns.COLUMNS, sort, session.context())
    if tier is not None:
        asking.one_of(tier, TIERS, field="--tier")

    def ask() -> Rows:
        listing = session.pool.quota()
        rows = [
            row
            for row in listing.items
            if cluster in (None, row.cluster) and (team is None or row.team in (None, team)) and tier in (None, row.tier or "reserved")
        ]
        away = unread.away(session, listing, {row.cluster for row in listing.items}, cluster=cluster)
        return Rows(
            kind="Quota",
            items=[*ordered(rows, columns.COLUMNS, sort, session.context()), *(columns.unread(name) for name, _ in away)],
            columns=columns.COLUMNS,
            name=columns.name,
            empty="no quotas, and no GPUs",
            incomplete=listing.incomplete,
            below=lambda context: columns.below(rows, context),
        )

    return watching.once_or_watch(session, ask, watching=watch, interval=interval)


VERB = Verb(run=run, examples=("gpuctl quota", "gpuctl quota --team vision --tier reserved --sort -free"))
