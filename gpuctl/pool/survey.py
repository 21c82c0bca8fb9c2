"""What has to be known of each cluster before a job is placed: read from all of them at once, each no longer than its deadline."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gpuctl.base.errors import GpuctlError, NotAllowedError
from gpuctl.model.place import Footprint, Node
from gpuctl.model.quota import Quota
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.model.spec import JobSpec
from gpuctl.pool.members import Member, Members
from gpuctl.port.adding import Adding
from gpuctl.port.capability import Capability
from gpuctl.port.cluster import Cluster


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One cluster as it was seen.

    Attributes:
        member: which one.
        capabilities: what it keeps; None when it did not answer at all.
        place: its uid.
        nodes: with what is free.
        unknown: why it is not known what is free, though it answers (a 403): it may still be able to run jobs.
        error: why it cannot be used now.
        quotas: those that were read.
        volumes: names of those it has; None when they were not asked for or could not be read.
        volumes_error: why they could not.
        team: whose jobs mine are there, where some of its nodes are a team's.
        schedules: those that it obeys.
        footprint: what the job would take there besides devices; None: what it asks for.
    """

    member: Member
    capabilities: frozenset[Capability] | None = None
    place: str | None = None
    nodes: tuple[Node, ...] = ()
    unknown: str | None = None
    error: GpuctlError | None = None
    quotas: tuple[Quota, ...] = ()
    volumes: frozenset[str] | None = None
    volumes_error: str | None = None
    team: str | None = None
    schedules: tuple[ScheduleStatus, ...] = ()
    footprint: Footprint | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def readable(self) -> bool:
        """Whether a job can be handed to it."""
        return self.error is None


def survey(members: Members, among: Sequence[Member], *, spec: JobSpec, volumes: bool) -> tuple[Seen, ...]:
    """Every one of ``among``, in their order, as ``spec`` has to see it. ``volumes``: also which volumes it has."""
    by_cluster = {id(member.cluster): member for member in among}

    def look(cluster: Cluster) -> Seen:
        return _look(by_cluster[id(cluster)], spec, volumes=volumes)

    answers = members.ask(look, among=among)
    seen = {answer.member.name: answer.value for answer in answers.given}
    seen.update({member.name: Seen(member=member, error=error) for member, error in answers.failed})
    return tuple(seen[member.name] for member in among)


def _look(member: Member, spec: JobSpec, *, volumes: bool) -> Seen:
    cluster = member.cluster
    capabilities = cluster.capabilities
    unknown: str | None = None
    nodes: tuple[Node, ...] = ()
    footprint: Footprint | None = None
    try:
        listing = cluster.nodes()
        nodes = listing.items
        footprint = cluster.footprint(spec) if isinstance(cluster, Adding) else None
        unknown = next(iter(listing.incomplete.values()), None)
    except NotAllowedError as error:
        unknown = error.line
    except GpuctlError as error:
        return Seen(member=member, capabilities=capabilities, error=error)
    try:
        place = cluster.uid
    except GpuctlError:
        place = None  # then it counts as a place of its own
    quotas: tuple[Quota, ...] = ()
    notes: tuple[str, ...] = ()
    if Capability.QUOTA in capabilities:
        try:
            quotas = cluster.quota().items
        except GpuctlError as error:
            notes = (f"quotas of {member.name} are unknown: {error.line}",)
    schedules, windows_note = windows_of(member, nodes)
    names, volumes_error = _volumes(cluster) if volumes else (None, None)
    return Seen(
        member=member,
        capabilities=capabilities,
        place=place,
        nodes=nodes,
        unknown=unknown,
        quotas=quotas,
        volumes=names,
        volumes_error=volumes_error,
        team=cluster.team if owned(nodes) else None,
        schedules=schedules,
        footprint=footprint,
        notes=(*notes, *windows_note),
    )


def owned(nodes: Sequence[Node]) -> bool:
    """Whether any of the nodes is a team's."""
    return any(node.owner is not None or node.closing is not None for node in nodes)


def windows_of(member: Member, nodes: Sequence[Node]) -> tuple[tuple[ScheduleStatus, ...], tuple[str, ...]]:
    """The schedules of a cluster whose nodes have owners, and a note where they could not be read: then only the present is known."""
    if not owned(nodes):
        return (), ()
    try:
        listing = member.cluster.schedules()
    except GpuctlError as error:
        return (), (f"time windows of {member.name} are unknown: {error.line}",)
    unread = next(iter(listing.incomplete.values()), None)
    return listing.items, (f"time windows of {member.name} are unknown: {unread}",) if unread is not None else ()


def _volumes(cluster: Cluster) -> tuple[frozenset[str] | None, str | None]:
    try:
        listing = cluster.volumes()
    except GpuctlError as error:
        return None, error.line
    if listing.incomplete:
        return None, next(iter(listing.incomplete.values()))
    return frozenset(volume.name for volume in listing.items), None
