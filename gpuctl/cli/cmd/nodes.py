"""``gpuctl nodes``."""

from typing import Annotated

import typer

from gpuctl.cli import asking, remembered, unread, watching
from gpuctl.cli.out.columns import node as columns
from gpuctl.cli.out.order import ordered
from gpuctl.cli.result import Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb

Devices = Annotated[bool, typer.Option("--devices", help="One row for each GPU: who holds it, how busy it is.")]
Cluster = Annotated[str | None, typer.Option("--cluster", metavar="CLUSTER", help="Only of this cluster.")]


def run(
    session: Session,
    devices: Devices = False,
    cluster: Cluster = None,
    sort: asking.Sort = None,
    watch: asking.Watch = False,
    interval: asking.Interval = watching.DEFAULT_INTERVAL,
) -> Result:
    """List the nodes of the pool and their GPUs.

    A machine without GPUs has process slots in their place.
    """
    shown = columns.DEVICES if devices else columns.COLUMNS
    ordered((), shown, sort, session.context())

    def ask() -> Rows:
        listing = session.pool.nodes()
        remembered.remember(session, "nodes", (node.name for node in listing.items))
        nodes = [node for node in listing.items if cluster in (None, node.cluster)]
        if not devices:
            away = unread.away(session, listing, {node.cluster for node in listing.items}, cluster=cluster)
            items = [*ordered(nodes, shown, sort, session.context()), *(columns.unread(name, why) for name, why in away)]
            return Rows(kind="Node", items=items, columns=shown, name=columns.name, empty="no nodes", incomplete=listing.incomplete)
        each = [columns.NodeDevice(node=node.name, cluster=node.cluster, device=device) for node in nodes for device in node.devices]
        return Rows(
            kind="NodeDevice",
            items=ordered(each, shown, sort, session.context()),
            columns=shown,
            name=columns.device_name,
            empty="no devices",
            incomplete=listing.incomplete,
        )

    return watching.once_or_watch(session, ask, watching=watch, interval=interval)


VERB = Verb(run=run, examples=("gpuctl nodes", "gpuctl nodes --devices --watch"))
