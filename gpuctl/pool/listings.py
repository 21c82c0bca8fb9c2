"""Lists over all clusters: the rows of those that answered, merged, and who is missing."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from gpuctl.model.ask import JobQuery, Listing
from gpuctl.model.job import Job
from gpuctl.model.place import ClusterStatus, Node
from gpuctl.pool.members import Members, sentence
from gpuctl.port.cluster import Cluster

T = TypeVar("T")


def flat(members: Members, question: Callable[[Cluster], Listing[T]]) -> Listing[T]:
    """The rows of every cluster, in the profile's order."""
    rows, incomplete = members.rows(question)
    return Listing(items=tuple(item for answer in rows for item in answer.value), incomplete=incomplete)


def jobs(members: Members, query: JobQuery) -> Listing[Job]:
    """Matching jobs, unfinished first, then newest first; a job that two contexts of one place show is one row."""
    rows, incomplete = members.rows(lambda cluster: cluster.jobs(query))
    if len(rows) == 1:
        return Listing(items=rows[0].value, incomplete=incomplete)
    found: dict[tuple[str, str], Job] = {}  # the tasks of an array share its id
    for answer in rows:
        for job in answer.value:
            found.setdefault((job.id, job.name), job)
    ordered = sorted(found.values(), key=lambda job: (job.final, -job.submitted_at.timestamp(), job.id))
    return Listing(items=tuple(ordered[: query.limit]), incomplete=incomplete)


def history(members: Members, query: JobQuery, *, user: str) -> Listing[Job]:
    """What ``user`` ran, newest first whatever its state. Every cluster keeps its finished jobs, so they are the record."""
    everything = msgspec.structs.replace(query, user=user, limit=None)
    listing = jobs(members, everything)
    ordered = sorted(listing.items, key=lambda job: (-job.submitted_at.timestamp(), job.id))
    return Listing(items=tuple(ordered[: query.limit]), incomplete=listing.incomplete)


def nodes(members: Members) -> Listing[Node]:
    """Every node. A tier is the profile's word for a cluster; nodes that have none of their own get it."""
    rows, incomplete = members.rows(lambda cluster: cluster.nodes())
    placed = tuple(
        node if node.tier or not answer.member.tier else msgspec.structs.replace(node, tier=answer.member.tier)
        for answer in rows
        for node in answer.value
    )
    return Listing(items=placed, incomplete=incomplete)


def clusters(members: Members) -> Listing[ClusterStatus]:
    """One row per cluster of the profile; one that does not answer has its reason in the row and in ``incomplete``."""
    answers = members.ask(lambda cluster: cluster.status())
    rows = {
        answer.member.name: answer.value if answer.value.tier else msgspec.structs.replace(answer.value, tier=answer.member.tier)
        for answer in answers.given
    }
    for member, error in answers.failed:
        rows[member.name] = ClusterStatus(name=member.name, kind=member.kind, tier=member.tier, health="unreachable", error=sentence(error))
    incomplete = answers.incomplete
    incomplete.update(
        {name: row.error for name, row in rows.items() if row.health in {"unreachable", "lost"} and row.error and name not in incomplete}
    )
    return Listing(items=tuple(rows[member.name] for member in members.all), incomplete=incomplete)
