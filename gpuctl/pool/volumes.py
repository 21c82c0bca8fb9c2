"""Volumes' homes: a name lives on one cluster, or on several, and then the person has to say which."""

from gpuctl.base.errors import ConflictError, NotFoundError, NotKeptHere, UnavailableError, nearest
from gpuctl.model.place import Volume
from gpuctl.pool.members import Members
from gpuctl.port.capability import Capability
from gpuctl.port.cluster import Cluster


def for_new(members: Members, cluster: str | None) -> Cluster:
    """Where a new volume goes: the named cluster, else the first of the profile that keeps volumes.

    Raises:
        NotKeptHere: none does.
    """
    if cluster is not None:
        return members.named(cluster).cluster
    for member in members.all:
        if Capability.VOLUMES in member.cluster.capabilities:
            return member.cluster
    raise NotKeptHere("cannot create a volume: no cluster of this profile keeps volumes", hint="gpuctl clusters")


def home(members: Members, name: str, cluster: str | None) -> Cluster:
    """The cluster a volume lives on. With a lone or a named cluster nothing is read: it answers for itself."""
    if cluster is not None:
        return members.named(cluster).cluster
    if members.only is not None:
        return members.only.cluster
    return read(members, name, None)[0]


def read(members: Members, name: str, cluster: str | None) -> tuple[Cluster, Volume]:
    """The volume of that name and the cluster it lives on.

    Raises:
        NotFoundError: no cluster has it, and all were read.
        UnavailableError: none that could be read has it.
        ConflictError: several have it and none was named.
    """
    among = None if cluster is None else (members.named(cluster),)
    rows = members.rows(lambda one: one.volumes(), among=among)
    found = [(answer.member, volume) for answer in rows.given for volume in answer.value if volume.name == name]
    if len(found) > 1:
        homes = ", ".join(member.name for member, _ in found)
        raise ConflictError(
            f"cannot tell which volume {name} is: there is one on each of {homes}",
            code="ambiguous",
            hint=f"add --cluster {found[0][0].name}",
        )
    if found:
        return found[0][0].cluster, found[0][1]
    if rows.incomplete:
        away, why = next(iter(rows.incomplete.items()))
        raise UnavailableError(
            f"cannot tell whether volume {name} exists: cluster {away} could not be read", cause=why, hint="gpuctl clusters"
        )
    close = nearest(name, [volume.name for answer in rows.given for volume in answer.value])
    raise NotFoundError(f"there is no volume {name}", code="no-such-volume", hint=f"did you mean {close}?" if close else "gpuctl volumes")
