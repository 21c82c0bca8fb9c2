"""``gpuctl quota`` over all clusters: each one's quotas with what would start now per shape; two contexts of one place count once."""

import msgspec

from gpuctl.base.errors import GpuctlError
from gpuctl.model.ask import Listing
from gpuctl.model.quota import DEVICES, Quota
from gpuctl.policy import quota
from gpuctl.policy.described import node_state
from gpuctl.pool.members import Member, Members
from gpuctl.port.cluster import Cluster


def rows(members: Members) -> Listing[Quota]:
    """The rows of every cluster that answered, in the profile's order."""
    by_cluster = {id(member.cluster): member for member in members.all}
    found, incomplete = members.placed_rows(lambda cluster: _of(cluster, by_cluster[id(cluster)]))
    items: list[Quota] = []
    seen: set[tuple[str, str]] = set()
    for answer in found:
        place = answer.place or answer.member.name
        items.extend(row for row in answer.value if (place, row.name) not in seen)
        seen.update((place, row.name) for row in answer.value)
    return Listing(items=tuple(items), incomplete=incomplete)


def _of(cluster: Cluster, member: Member) -> Listing[Quota]:
    listing = cluster.quota()
    given = tuple(
        msgspec.structs.replace(row, cluster=member.name, tier=row.tier or (member.tier if row.source == DEVICES else None))
        for row in listing.items
    )
    if all(bool(row.usable) or row.free == 0 for row in given):
        return Listing(items=given, incomplete=listing.incomplete)
    try:
        nodes = tuple(node_state(node, cluster=member.name, tier=member.tier) for node in cluster.nodes().items)
    except GpuctlError:  # the quotas are known, the shapes are not
        return Listing(items=given, incomplete=listing.incomplete)
    return Listing(items=quota.with_shapes(given, nodes), incomplete=listing.incomplete)
