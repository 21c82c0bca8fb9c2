"""``gpuctl nodes``."""

from typing import Annotated

import typer

from gpuctl.cli import asking, remembered, watching
from gpuctl.cli.out import formats
from gpuctl.cli.out.columns import node as columns
from gpuctl.cli.out.order import ordered
from gpuctl.cli.result import Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import Listing
from gpuctl.model.place import Node

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
            items = [*ordered(nodes, shown, sort, session.context()), *_unread(session, listing, cluster)]
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


def _unread(session: Session, listing: Listing[Node], cluster: str | None) -> list[Node]:
    """A row for each cluster of which nothing could be read, in tables; programs find them under ``incomplete``."""
    if formats.parse(session.output).name not in {"table", "wide"}:
        return []
    read = {node.cluster for node in listing.items}
    return [columns.unread(name, reason) for name, reason in listing.incomplete.items() if name not in read and cluster in (None, name)]


VERB = Verb(run=run, examples=("gpuctl nodes", "gpuctl nodes --devices --watch"))
