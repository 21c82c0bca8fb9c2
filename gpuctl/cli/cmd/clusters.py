"""``gpuctl clusters``."""

from gpuctl.cli import asking, remembered, watching
from gpuctl.cli.out.columns import cluster as columns
from gpuctl.cli.out.order import ordered
from gpuctl.cli.result import Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb


def run(
    session: Session, sort: asking.Sort = None, watch: asking.Watch = False, interval: asking.Interval = watching.DEFAULT_INTERVAL
) -> Result:
    """List the clusters of the pool: whether they answer, and what is free.

    FITS is the largest shape that would start now.
    """
    ordered((), columns.COLUMNS, sort, session.context())

    def ask() -> Rows:
        listing = session.pool.clusters()
        remembered.remember(session, "clusters", (cluster.name for cluster in listing.items))
        items = ordered(listing.items, columns.COLUMNS, sort, session.context())
        return Rows(
            kind="Cluster", items=items, columns=columns.COLUMNS, name=columns.name, empty="no clusters", incomplete=listing.incomplete
        )

    return watching.once_or_watch(session, ask, watching=watch, interval=interval)


VERB = Verb(run=run)
