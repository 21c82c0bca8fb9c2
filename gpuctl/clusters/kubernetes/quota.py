"""Who may hold how many GPUs: Kueue's ClusterQueues behind the namespace's queues, and ResourceQuotas of the namespace."""

import re
from collections.abc import Iterator

from gpuctl.clusters.kubernetes import amounts, inventory, names, schedules
from gpuctl.clusters.kubernetes.manifests import usual_queue
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.errors import Forbidden, NotFound
from gpuctl.kube.objects.core import ResourceQuota
from gpuctl.kube.objects.kueue import ClusterQueue, LocalQueue, ResourceFlavor
from gpuctl.kube.resources import RESOURCE_QUOTAS
from gpuctl.model.ask import Listing
from gpuctl.model.quota import Quota
from gpuctl.policy import quota as policy
from gpuctl.policy.values import NodeState

_HARD = re.compile(r"(?:requests\.)?(?P<resource>.+)\Z")


def rows(around: Surroundings) -> Listing[Quota]:
    """Every quota that concerns the namespace's jobs; without any the devices as they are.

    What may not be read is missing, and the answer says so.
    """
    found: list[Quota] = []
    hidden: list[str] = []
    for part in (_kueue, _namespace):
        try:
            found += part(around)
        except Forbidden as error:
            hidden.append(error.message)
        except NotFound:
            continue
    if not found and not hidden:
        try:
            seen = inventory.just_shown(around, keep=True) or inventory.read(around)
        except Forbidden as error:
            return Listing(incomplete={around.name: error.message})
        return Listing(items=policy.devices_as_they_are(_states(around, seen)) if seen.counted else ())
    return Listing(items=tuple(found), incomplete={around.name: "; ".join(hidden)} if hidden else {})


def _states(around: Surroundings, seen: inventory.Inventory) -> tuple[NodeState, ...]:
    """The nodes with their windows; by their marks alone where schedules may not be read."""
    now = around.now()
    try:
        found = schedules.held(around, now=now) if schedules.served(around) else ()
    except Forbidden:
        found = ()
    return schedules.described(around, seen, found, now=now)


def _kueue(around: Surroundings) -> Iterator[Quota]:
    local, cluster = around.kueue("localqueues"), around.kueue("clusterqueues")
    if local is None or cluster is None:
        return
    flavors = _flavors(around)
    leading: dict[str, list[str]] = {}
    for queue in around.api.list(local.path(around.namespace), LocalQueue):
        leading.setdefault(queue.spec.cluster_queue, []).append(queue.metadata.name)
    usual = usual_queue([name for there in leading.values() for name in there], around.options.queue)
    for name, queues in leading.items():
        found = around.api.get(cluster.path(name=name), ClusterQueue)
        yield from _of_queue(around, found, tuple(sorted(queues)), flavors, default=None if usual is None else usual in queues)


def _flavors(around: Surroundings) -> dict[str, dict[str, str]]:
    """Node labels by flavor; empty where flavors may not be read."""
    kind = around.kueue("resourceflavors")
    if kind is None:
        return {}
    try:
        return {each.metadata.name: each.spec.node_labels or {} for each in around.api.list(kind.path(), ResourceFlavor)}
    except (Forbidden, NotFound):
        return {}


def _of_queue(
    around: Surroundings, found: ClusterQueue, queues: tuple[str, ...], flavors: dict[str, dict[str, str]], *, default: bool | None
) -> Iterator[Quota]:
    usage = {
        (flavor.name, resource.name): resource
        for flavor in found.status.flavors_reservation or found.status.flavors_usage or ()
        for resource in flavor.resources or ()
    }
    for group in found.spec.resource_groups or ():
        for flavor in group.flavors or ():
            labels = flavors.get(flavor.name)
            for limit in flavor.resources or ():
                if limit.name not in around.gpu_resources:
                    continue
                nominal = amounts.whole(limit.nominal_quota)
                use = usage.get((flavor.name, limit.name))
                used = amounts.whole(use.total) if use is not None else None
                yield Quota(
                    cluster=around.name,
                    name=found.metadata.name if queues == (found.metadata.name,) else f"{', '.join(queues)} ({found.metadata.name})",
                    team=found.metadata.label(names.TEAM) or around.team,
                    tier=(labels or {}).get(names.NODE_TIER) or around.options.tier,
                    gpu_type=inventory.gpu_type(labels, None, around) if labels and _tells_type(labels, around) else flavor.name,
                    nominal=nominal,
                    borrowed=amounts.whole(use.borrowed) if use is not None else None,
                    borrowable=amounts.whole(limit.borrowing_limit)
                    if limit.borrowing_limit is not None
                    else (None if found.spec.cohort or found.spec.cohort_name else 0),
                    used=used,
                    free=max(0, nominal - used) if used is not None else None,
                    pending=found.status.pending_workloads,
                    source="kueue",
                    queues=queues,
                    default=default,
                )


def _tells_type(labels: dict[str, str], around: Surroundings) -> bool:
    mapped = {rule.partition("=")[0] for rule in around.options.gpu_map}
    return bool(labels.keys() & (set(inventory.PRODUCT_LABELS) | mapped))


def _namespace(around: Surroundings) -> Iterator[Quota]:
    for quota in around.api.list(RESOURCE_QUOTAS.path(around.namespace), ResourceQuota):
        hard = quota.status.hard or quota.spec.hard or {}
        for key, limit in hard.items():
            match = _HARD.match(key)
            if match is None or match["resource"] not in around.gpu_resources:
                continue
            nominal = amounts.whole(limit)
            used = amounts.whole((quota.status.used or {})[key]) if key in (quota.status.used or {}) else None
            yield Quota(
                cluster=around.name,
                name=quota.metadata.name,
                team=around.team,
                tier=around.options.tier,
                nominal=nominal,
                borrowed=0,
                borrowable=0,
                used=used,
                free=max(0, nominal - used) if used is not None else None,
                source="resource-quota",
            )
