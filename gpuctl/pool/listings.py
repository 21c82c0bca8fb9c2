"""Lists over all clusters: the rows of those that answered, merged, and who is missing."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from gpuctl.model.ask import JobQuery, Listing
from gpuctl.model.job import Job
from gpuctl.model.place import ClusterStatus, Node
from gpuctl.policy import away
from gpuctl.pool.members import Members, Rows
from gpuctl.port.cluster import Cluster

T = TypeVar("T")


def flat(members: Members, question: Callable[[Cluster], Listing[T]]) -> Listing[T]:
    """The rows of every cluster, in the profile's order."""
    rows = members.rows(question)
    return _listing([item for answer in rows.given for item in answer.value], rows)


def jobs(members: Members, query: JobQuery, *, beside: bool = False) -> Listing[Job]:
    """Matching jobs, unfinished first, then newest first; a job that two contexts of one place show is one row.

    ``beside``: there are jobs from elsewhere, so that no cluster needs to have answered.
    """
    rows = members.rows(lambda cluster: cluster.jobs(query), beside=beside)
    if len(rows.given) == 1:
        return _listing(rows.given[0].value, rows)
    found: dict[tuple[str, str], Job] = {}  # the tasks of an array share its id
    for answer in rows.given:
        for job in answer.value:
            found.setdefault((job.id, job.name), job)
    ordered = sorted(found.values(), key=lambda job: (job.final, -job.submitted_at.timestamp(), job.id))
    return _listing(ordered[: query.limit], rows)


def nodes(members: Members) -> Listing[Node]:
    """Every node, once. A tier is the profile's word for a cluster; nodes that have none of their own get it."""
    rows = members.placed_rows(lambda cluster: cluster.nodes())
    placed: dict[tuple[str, str], Node] = {}
    for answer in rows.given:
        for node in answer.value:
            tiered = node if node.tier or not answer.member.tier else msgspec.structs.replace(node, tier=answer.member.tier)
            placed.setdefault((answer.place or answer.member.name, node.name), tiered)
    return _listing(placed.values(), rows)


def once(members: Members, question: Callable[[Cluster], Listing[T]]) -> Listing[T]:
    """The rows of every cluster, in the profile's order; rows that two contexts of one place both show count once, under the first name."""
    rows = members.placed_rows(question)
    seen: set[tuple[str | None, bytes]] = set()
    items: list[T] = []
    for answer in rows.given:
        mine = [(item, (answer.place, _anonymous(item))) for item in answer.value]
        items.extend(item for item, key in mine if answer.place is None or key not in seen)
        seen.update(key for _, key in mine)
    return _listing(items, rows)


def _anonymous(item: object) -> bytes:
    """What a row says, but for the name that the profile gives to its cluster."""
    facts = msgspec.to_builtins(item)
    return msgspec.json.encode({key: value for key, value in facts.items() if key not in {"cluster", "home"}}, order="sorted")


def clusters(members: Members) -> Listing[ClusterStatus]:
    """One row per cluster of the profile; one that does not answer has its reason in the row and in ``incomplete``.

    Of several contexts of one place the first has the counts, the others say which it is.
    """
    answers = members.ask(lambda cluster: cluster.status())
    rows = {
        answer.member.name: msgspec.structs.replace(answer.value, name=answer.member.name, tier=answer.value.tier or answer.member.tier)
        for answer in answers.given
    }
    for member, error in answers.failed:
        word = away.health(error)
        rows[member.name] = ClusterStatus(name=member.name, kind=member.kind, tier=member.tier, health=word, error=error.line)
    incomplete = answers.incomplete
    incomplete.update({name: row.error for name, row in rows.items() if row.error and name not in incomplete})
    ordered: list[ClusterStatus] = []
    places: dict[str, str] = {}
    for member in members.all:
        row = rows[member.name]
        first = places.setdefault(row.uid, row.name) if row.uid is not None else row.name
        ordered.append(row if first == row.name else _same(row, first))
    return Listing(items=tuple(ordered), incomplete=incomplete)


def _listing(items: Iterable[T], rows: Rows[Any]) -> Listing[T]:
    return Listing(items=tuple(items), incomplete=rows.incomplete, health=rows.health)


def _same(row: ClusterStatus, first: str) -> ClusterStatus:
    return msgspec.structs.replace(row, same_as=first, nodes=None, free={}, total={}, largest_shape=None)
