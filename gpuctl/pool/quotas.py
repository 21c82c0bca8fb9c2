"""``gpuctl quota`` over all clusters: each one's quotas with what would start now per shape; two contexts of one place count once."""

import msgspec

from gpuctl.base.errors import GpuctlError
from gpuctl.model.ask import Listing
from gpuctl.model.quota import DEVICES, Quota
from gpuctl.policy import quota
from gpuctl.pool.choice import described
from gpuctl.pool.members import Member, Members
from gpuctl.pool.survey import windows_of
from gpuctl.port.cluster import Cluster


def rows(members: Members) -> Listing[Quota]:
    """The rows of every cluster that answered, in the profile's order."""
    by_cluster = {id(member.cluster): member for member in members.all}
    found = members.placed_rows(lambda cluster: _of(cluster, by_cluster[id(cluster)]))
    items: list[Quota] = []
    seen: set[tuple[str, str]] = set()
    for answer in found.given:
        place = answer.place or answer.member.name
        items.extend(row for row in answer.value if (place, row.name) not in seen)
        seen.update((place, row.name) for row in answer.value)
    return Listing(items=tuple(items), incomplete=found.incomplete, health=found.health)


def _of(cluster: Cluster, member: Member) -> Listing[Quota]:
    listing = cluster.quota()
    given = tuple(
        msgspec.structs.replace(row, cluster=member.name, tier=row.tier or (member.tier if row.source == DEVICES else None))
        for row in listing.items
    )
    if all(row.source == DEVICES for row in given):  # who says these has looked at the nodes
        return Listing(items=given, incomplete=listing.incomplete)
    try:
        nodes = cluster.nodes().items
    except GpuctlError:  # the quotas are known, the shapes are not
        return Listing(items=given, incomplete=listing.incomplete)
    schedules, notes = windows_of(member, nodes)
    states = described(member, nodes, schedules)
    incomplete = {**listing.incomplete, **({member.name: notes[0]} if notes and member.name not in listing.incomplete else {})}
    return Listing(items=quota.with_windows(quota.with_shapes(given, states), states), incomplete=incomplete)
