"""The schedules that a cluster holds: what they say, which nodes each is about, and whether anybody switches these.

A controller writes the schedule of a node on the node; where none has, the nodes are those that the schedule selects. Somebody may have
written nonsense into an object by hand: it is shown as not obeyed, and the others go on.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from gpuctl.clusters.kubernetes import inventory, names
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.errors import Forbidden, NotFound
from gpuctl.kube.objects.meta import Condition, Meta, condition
from gpuctl.kube.objects.nodes import Node as ApiNode
from gpuctl.kube.resources import NODES
from gpuctl.model import decoding
from gpuctl.model.ask import Listing
from gpuctl.model.place import Node
from gpuctl.model.schedule import SCHEDULE_VERSION, PoolSchedule, ScheduleStatus, check_schedule
from gpuctl.policy.values import NodeState

_SHOWN = 3


class Status(msgspec.Struct, rename="camel", frozen=True):
    """What its controller says of it."""

    observed_generation: int = 0
    conditions: list[Condition] | None = None


class Held(NamedTuple):
    """One object of a cluster. ``schedule`` None: ``problems`` say why it cannot be made out."""

    meta: Meta
    schedule: PoolSchedule | None
    problems: tuple[str, ...]
    status: Status

    @property
    def name(self) -> str:
        """Of the schedule."""
        return self.meta.name


def served(around: Surroundings) -> bool:
    """Whether the cluster can hold schedules at all."""
    return around.discovery.has(names.POOL_SCHEDULES)


def held(around: Surroundings, *, now: datetime) -> tuple[Held, ...]:
    """Every schedule of the cluster, the oldest first.

    Raises:
        Forbidden: they may not be listed.
    """
    try:
        found = around.api.list(names.POOL_SCHEDULES.path(), dict)
    except NotFound:
        return ()
    return tuple(sorted((read(each, now=now) for each in found), key=_age))


def _age(one: Held) -> tuple[float, str]:
    created = one.meta.creation_timestamp
    return created.timestamp() if created is not None else 0.0, one.name


def read(document: Mapping[str, Any], *, now: datetime) -> Held:
    """One object, whatever it holds."""
    from gpuctl.policy.windows import cron, review  # a cluster without schedules never pays for them

    meta = decoding.convert(document["metadata"], Meta)
    try:
        status = decoding.convert(document.get("status") or {}, Status)
    except msgspec.ValidationError:
        status = Status()
    plain = {"name": meta.name, **({"labels": meta.labels} if meta.labels else {})}
    value = {"apiVersion": SCHEDULE_VERSION, "kind": "PoolSchedule", "metadata": plain, "spec": document.get("spec")}
    schedule, problems = check_schedule(value, cron_problem=cron.problem, knows_zone=cron.knows_zone)
    refused = _refused(status)
    if schedule is not None and refused is None and not _accepted(status, meta):
        problems = tuple(review.conflicts(schedule, now))
    said = tuple(str(problem) for problem in problems)
    return Held(meta, schedule, said or (() if refused is None else (refused,)), status)


def _accepted(status: Status, meta: Meta) -> bool:
    """Whether a controller has looked at this very text and found it right."""
    found = condition(status.conditions, "Accepted")
    return found is not None and found.status == "True" and status.observed_generation == meta.generation


def _refused(status: Status) -> str | None:
    found = condition(status.conditions, "Accepted")
    if found is None or found.status != "False":
        return None
    return f"the window controller refuses it: {found.message or found.reason or 'it does not say why'}"


def listing(around: Surroundings) -> Listing[ScheduleStatus]:
    """Every schedule with its nodes. What may not be read is unknown, never none."""
    if not served(around):
        return Listing()
    now = around.now()
    try:
        found = held(around, now=now)
    except Forbidden as error:
        return Listing(incomplete={around.name: error.message})
    if not found:
        return Listing()
    try:
        nodes = around.api.list(NODES.path(), ApiNode)
    except Forbidden as error:
        items = tuple(_status(around, each, None, (), now=now) for each in found)
        return Listing(items=items, incomplete={around.name: error.message})
    fleet = tuple(inventory.node(each, around, None) for each in nodes)
    labels = {each.metadata.name: each.metadata.labels or {} for each in nodes}
    return Listing(items=statuses(around, found, fleet, labels, now=now))


def statuses(
    around: Surroundings, found: Sequence[Held], fleet: Sequence[Node], labels: Mapping[str, Mapping[str, str]], *, now: datetime
) -> tuple[ScheduleStatus, ...]:
    """The schedules with their nodes among ``fleet``, whose labels are ``labels`` by name."""
    about, clashes = under(around.name, found, fleet, labels)
    members: dict[str, list[Node]] = {}
    for node in fleet:
        if node.name in about:
            members.setdefault(about[node.name], []).append(node)
    made = []
    for each in found:
        if each.name in clashes and not each.problems:
            each = each._replace(problems=(clashes[each.name],))
        made.append(_status(around, each, len(fleet), members.get(each.name, ()), now=now))
    return tuple(made)


def described(around: Surroundings, seen: inventory.Inventory, found: Sequence[Held], *, now: datetime) -> tuple[NodeState, ...]:
    """The nodes for the scheduler, with what the schedules say of their future."""
    plain = inventory.states(seen.nodes)
    if not found:
        return tuple(msgspec.structs.replace(each, at=now) if each.owner is not None else each for each in plain)
    from gpuctl.policy.windows import ownership

    return ownership.applied(plain, ownership.lines(statuses(around, found, seen.nodes, seen.labels, now=now), now), now)


def under(
    cluster: str, found: Sequence[Held], fleet: Sequence[Node], labels: Mapping[str, Mapping[str, str]]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """By node the schedule it is under, and by schedule why it cannot be: another, older one has nodes of it already."""
    from gpuctl.policy.windows import selection

    about: dict[str, str] = {}
    clashes: dict[str, str] = {}
    known = {each.name for each in found}
    marked = {node.name: node.schedule for node in fleet if node.schedule in known}
    usable = [each for each in found if each.schedule is not None and not each.problems]
    seen = [selection.PoolNode(cluster, node.name, labels.get(node.name, {})) for node in fleet if node.gpus]
    for each in usable:
        own = [node for node, schedule in marked.items() if schedule == each.name]
        if not own:
            assert each.schedule is not None
            own = [node for _, node in selection.chosen(each.schedule, seen) if node not in marked]
            taken = sorted({about[node] for node in own if node in about})
            if taken:
                clashes[each.name] = f"it selects nodes of {', '.join(taken)}, which is older"
                continue
        about |= dict.fromkeys(own, each.name)
    return about, clashes


def _status(around: Surroundings, one: Held, count: int | None, nodes: Sequence[Node], *, now: datetime) -> ScheduleStatus:
    kinds = {node.gpu_type for node in nodes if node.gpu_type is not None}
    return ScheduleStatus(
        cluster=around.name,
        name=one.name,
        schedule=one.schedule,
        nodes=() if one.problems else tuple(node.name for node in nodes),
        node_count=count,
        gpus=sum(node.gpus or 0 for node in nodes) if count is not None and not one.problems else None,
        gpu_type=kinds.pop() if len(kinds) == 1 else None,
        team=around.owner_name,
        problems=one.problems,
        notes=tuple(_notes(one, nodes, now=now)),
        clock_ahead=around.clock_ahead,
    )


def _notes(one: Held, nodes: Sequence[Node], *, now: datetime) -> Iterator[str]:
    """Whether nobody switches its nodes, or switches them late."""
    from gpuctl.policy.windows import ownership

    if one.problems or one.schedule is None or not nodes:
        return
    unmarked = [node.name for node in nodes if node.owner is None and node.closing is None]
    if unmarked:
        yield f"nobody switches {_few(unmarked, len(nodes))}: everybody may use them until gpuctl controller windows runs"
    due = ownership.due(one.schedule, now)
    late = [node.name for node in nodes if node.owner is not None and node.owner != due.owner]
    if late and due.until is not None and now > due.until:
        from gpuctl.policy.windows.clocks import when

        since = when(due.since, now, one.schedule.spec.time_zone)
        yield f"nobody has switched {_few(late, len(nodes))}: they should be {due.owner}'s since {since}"
    switched = condition(one.status.conditions, "Switched")
    if switched is not None and switched.status == "False" and switched.message and late:
        yield switched.message


def _few(nodes: Sequence[str], total: int) -> str:
    shown = ", ".join(nodes[:_SHOWN]) + (f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else "")
    return f"{len(nodes)} of its {total} nodes ({shown})" if total > 1 else f"its node ({shown})"
