"""What ``gpuctl doctor`` shows of a cluster. Nothing raises: what fails is a line."""

import dataclasses
from collections.abc import Callable, Iterator

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes import inventory, rbac
from gpuctl.clusters.kubernetes.rbac import Need
from gpuctl.clusters.kubernetes.surroundings import Surroundings, together
from gpuctl.kube.errors import ApiFailure, Forbidden, NotFound
from gpuctl.kube.objects.core import StorageClass
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.objects.nodes import Node as ApiNode
from gpuctl.kube.resources import NAMESPACES, NODES, STORAGE_CLASSES, Resource

_SKEW_SECONDS = 30.0
_RDMA = ("rdma/", "nvidia.com/hostdev", "mellanox.com/", "vpc.amazonaws.com/efa", "networking.gke.io.networks/", "openshift.io/mlnx")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One line: what was looked at, how it is (ok, note, problem), what was found, and what mends it."""

    name: str
    verdict: str
    text: str
    fix: str | None = None


def lines(around: Surroundings, *, engines: Callable[[], tuple[str, ...]]) -> tuple[Line, ...]:
    """All of them; only the first when the cluster does not answer."""
    try:
        version = around.api.version().git_version
        around.look_again()
    except GpuctlError as error:
        return (Line(name="API server", verdict="problem", text=_text(error), fix=error.hint),)
    found = [Line(name="API server", verdict="ok", text=f"{version} at {around.api.server}, namespace {around.namespace}")]
    for part in (_namespace, _clock, _access, lambda around: _engines(around, engines()), _nodes, _schedules, _queues, _classes):
        try:
            found += part(around)
        except GpuctlError as error:
            found.append(Line(name="check", verdict="problem", text=_text(error), fix=error.hint))
    return tuple(found)


def _text(error: GpuctlError) -> str:
    return error.message + (f" ({error.cause})" if error.cause else "")


def _namespace(around: Surroundings) -> Iterator[Line]:
    """Lists of a namespace that does not exist are empty: nothing else says so before the first submit."""
    try:
        around.api.get(NAMESPACES.path(name=around.namespace), Object)
    except NotFound:
        fix = f"kubectl --context {around.api.context} get namespaces, then namespace=NAME in the profile"
        yield Line(name="namespace", verdict="problem", text=f"{around.namespace} does not exist", fix=fix)
    except Forbidden:
        return


def _clock(around: Surroundings) -> Iterator[Line]:
    skew = around.api.clock_skew()
    if abs(skew) > _SKEW_SECONDS:
        ahead = "behind" if skew > 0 else "ahead of"
        text = f"this machine is {abs(skew):.0f} s {ahead} the API server"
        yield Line(name="clock", verdict="problem", text=text, fix="timedatectl set-ntp true")
    else:
        yield Line(name="clock", verdict="ok", text=f"within {max(1.0, abs(skew)):.0f} s of the API server's")


def _access(around: Surroundings) -> Iterator[Line]:
    """The access review: one question per verb and resource, all at once."""
    asked: list[tuple[Need, str, str | None]] = []
    for need in rbac.IN_NAMESPACE:
        if _served(around, need.resource):
            asked += [(need, verb, around.namespace) for verb in need.verbs]
    for need in rbac.CLUSTER_WIDE:
        if _served(around, need.resource):
            asked += [(need, verb, None) for verb in need.verbs]
    answers = together(lambda one: around.api.can_i(one[1], one[0].resource, namespace=one[2], sub=one[0].sub).allowed, asked)
    refused: dict[Need, list[str]] = {}
    unread: ApiFailure | None = None
    for (need, verb, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, ApiFailure):
            unread = answer
        elif answer is False:
            refused.setdefault(need, []).append(verb)
    if unread is not None:
        yield Line(name="access", verdict="note", text=f"could not be reviewed: {unread.message}")
    if not refused and unread is None:
        yield Line(name="access", verdict="ok", text=f"everything that gpuctl does is allowed ({len(asked)} questions)")
    for need, verbs in refused.items():
        what = f"{need.resource.plural}/{need.sub}" if need.sub else need.resource.plural
        where = "" if need in rbac.CLUSTER_WIDE else f" in {around.namespace}"
        text = f"may not {', '.join(verbs)} {what}{where}" + (f": {need.optional}" if need.optional else "")
        yield Line(
            name="access", verdict="note" if need.optional else "problem", text=text, fix="gpuctl doctor --rbac | kubectl apply -f -"
        )


def _served(around: Surroundings, resource: Resource) -> bool:
    return any(each.group == resource.group and each.plural == resource.plural for each in around.discovery.offered)


def _engines(around: Surroundings, found: tuple[str, ...]) -> Iterator[Line]:
    yield Line(name="engines", verdict="ok", text=", ".join(found))
    for group in around.discovery.unread:
        yield Line(
            name="engines",
            verdict="problem",
            text=f"the API group {group} is registered and does not answer",
            fix=f"kubectl --context {around.api.context} get apiservices",
        )
    from gpuctl.clusters.kubernetes.observe import gather, translate_root
    from gpuctl.clusters.kubernetes.observe.translate import Subject, parts

    for root in gather.roots(around).items:
        standing = parts(Subject(root=root)).standing
        operator = translate_root.OPERATORS.get(root.kind)
        if standing.untouched and operator is not None and not root.spec.suspend:
            yield Line(
                name="engines",
                verdict="problem",
                text=f"{root.kind} {root.metadata.name} is untouched: {operator} does not seem to run",
                fix=f"kubectl --context {around.api.context} get deployments -A",
            )
            return


def _nodes(around: Surroundings) -> Iterator[Line]:
    raw = list(around.api.list(NODES.path(), ApiNode))
    nodes = [inventory.node(each, around, None) for each in raw]
    gpus = [each for each in nodes if each.gpus]
    kinds: dict[str, int] = {}
    for each in gpus:
        kinds[each.gpu_type or "GPU"] = kinds.get(each.gpu_type or "GPU", 0) + (each.gpus or 0)
    text = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items())) or "no node has GPUs"
    fix = None if gpus else "install the vendor's device plugin, or: elastic=H100:64 in the profile when nodes come by themselves"
    yield Line(name="GPU nodes", verdict="ok" if gpus else "note", text=f"{text} on {len(gpus)} of {len(nodes)} nodes", fix=fix)
    nameless = [each for each in gpus if each.gpu_type in ("GPU", "AMD")]
    if nameless:
        yield Line(
            name="GPU nodes",
            verdict="note",
            text=f"{len(nameless)} nodes do not say which GPUs they have, so --gpu-type does not find them ({nameless[0].name})",
            fix="install GPU feature discovery, or: gpu-map=LABEL=VALUE:TYPE in the profile",
        )
    closed = [each for each in gpus if not each.ready]
    if closed:
        yield Line(
            name="GPU nodes",
            verdict="note",
            text=f"{len(closed)} cannot be used: {closed[0].name} {closed[0].why}",
            fix="gpuctl nodes -o wide",
        )
    offered = sorted({key for each in raw for key in (each.status.allocatable or {}) if key.startswith(_RDMA)})
    if offered and around.options.pod is None:
        yield Line(
            name="fabric",
            verdict="note",
            text=f"the nodes offer {', '.join(offered)}, which no job asks for: several nodes would train over TCP",
            fix="pod=FILE in the profile with these resources, IPC_LOCK and the NCCL variables of the site",
        )


def _schedules(around: Surroundings) -> Iterator[Line]:
    """Of a cluster that has schedules: whether they are obeyed, and by whom."""
    from gpuctl.clusters.kubernetes import schedules

    listing = schedules.listing(around)
    for reason in listing.incomplete.values():
        yield Line(name="schedules", verdict="note", text=f"{reason}: when nodes change their owner is unknown")
    right = []
    for each in listing.items:
        for problem in each.problems:
            fix = f"gpuctl windows show {each.name}"
            yield Line(name="schedules", verdict="problem", text=f"{each.name} is not obeyed: {problem}", fix=fix)
        for note in each.notes:
            fix = f"gpuctl controller windows --context {around.api.context}"
            yield Line(name="schedules", verdict="problem", text=f"{each.name}: {note}", fix=fix)
        if not each.problems and not each.nodes and each.node_count is not None:
            yield Line(name="schedules", verdict="note", text=f"{each.name} is about none of {each.node_count} nodes")
        elif not each.problems and not each.notes:
            right.append(each.name)
    if right:
        mine = f", my team is {around.owner_name}" if around.owner_name is not None else ""
        yield Line(name="schedules", verdict="ok" if mine else "note", text=", ".join(right) + (mine or ", but no team is set"))


def _queues(around: Surroundings) -> Iterator[Line]:
    queues = around.queues
    if around.kueue("localqueues") is None:
        yield Line(name="queues", verdict="note", text="no Kueue: one-node jobs wait for room, larger ones have to fit at once")
    elif queues is None:
        yield Line(name="queues", verdict="note", text="Kueue is there, its queues may not be listed", fix="queue=NAME in the profile")
    elif not queues:
        yield Line(name="queues", verdict="note", text=f"Kueue is there, namespace {around.namespace} has no LocalQueue")
    else:
        yield Line(name="queues", verdict="ok", text=", ".join(queues))


def _classes(around: Surroundings) -> Iterator[Line]:
    classes = list(around.api.list(STORAGE_CLASSES.path(), StorageClass))
    default = next((each.metadata.name for each in classes if each.default), None)
    if not classes:
        yield Line(name="storage", verdict="note", text="no storage class: volumes cannot be made here")
    else:
        names = ", ".join(each.metadata.name + (" (default)" if each.metadata.name == default else "") for each in classes)
        yield Line(name="storage", verdict="ok" if default else "note", text=names if default else f"{names}; none is the default")
