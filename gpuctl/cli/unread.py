"""Clusters that could not be read, as the grey rows that tables have for them."""

from collections.abc import Collection
from typing import Any

from gpuctl.cli.out import formats
from gpuctl.cli.session import Session
from gpuctl.model.ask import Listing


def away(session: Session, listing: Listing[Any], read: Collection[str], *, cluster: str | None = None) -> list[tuple[str, str]]:
    """Each cluster of which nothing could be read, with the reason; none for programs, which find them under ``incomplete``.

    Args:
        session: its format decides.
        listing: what the pool answered.
        read: clusters that have rows.
        cluster: the only one that was asked for.
    """
    if formats.parse(session.output).name not in {"table", "wide"}:
        return []
    return [(name, reason) for name, reason in listing.incomplete.items() if name not in read and cluster in (None, name)]
