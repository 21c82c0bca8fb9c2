"""Where pods may go: selectors, exclusions, tolerations, priority."""

from typing import Any

from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.manifests.values import ClusterFacts, Settings
from gpuctl.model import gputype
from gpuctl.model.spec import JobSpec
from gpuctl.policy.placement import Placement


def scheduling(
    spec: JobSpec,
    *,
    team: str | None,
    facts: ClusterFacts,
    settings: Settings,
    placement: Placement | None,
    gpus: bool = True,
    head: bool = False,
    queued: bool = False,
) -> dict[str, Any]:
    """The part of a pod's spec that says where it may run.

    Args:
        spec: of the job.
        team: whose nodes it may use.
        facts: of the cluster.
        settings: of the profile.
        placement: where there was room.
        gpus: False for a pod that uses none.
        head: whether it is the head of a Ray, which uses none while the others do.
        queued: whether a queue decides when it starts, so that nobody knows now where there is room then.
    """
    found: dict[str, Any] = {}
    selector = _selector(spec, facts, settings, placement, gpus=gpus)
    if selector:
        found["nodeSelector"] = selector
    required = _required(spec, facts, gpus=gpus)
    if required:
        term = {"nodeSelectorTerms": [required]}
        found["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}
    place = placement.head if head and placement is not None and not queued else None
    if place is not None:
        # Elsewhere it might take what the others were promised; a wish only, for meanwhile that node may have been filled.
        wish = {"weight": 100, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [place]}]}}
        node_affinity = found.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        node_affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [wish]
    # Where GPU nodes keep others off, a head may go there only when it is to.
    beside = head and (place is None or any(node.name == place and node.gpus for node in facts.nodes))
    found["tolerations"] = _tolerations(spec, team, facts, settings, gpus=gpus or beside)
    if not found["tolerations"]:
        del found["tolerations"]
    lowest = facts.preemptible_class if borrows(spec, facts) else None
    priority = lowest or priority_class(spec.priority, settings)
    if priority is not None:
        found["priorityClassName"] = priority
    return found


def borrows(spec: JobSpec, facts: ClusterFacts) -> bool:
    """Whether the job may use what others lend: it can be stopped, and somebody here does lend.

    Such pods rank below everybody's, so that the scheduler itself makes room for the owner; elsewhere a job keeps its priority.
    """
    return spec.requeue and facts.lends


def priority_class(priority: int, settings: Settings) -> str | None:
    """The class of the highest priority that is not above the job's; the lowest class when all are above; None without classes."""
    classes = settings.priority_classes
    if not classes:
        return None
    below = [value for value in classes if value <= priority]
    return classes[max(below)] if below else classes[min(classes)]


def _selector(spec: JobSpec, facts: ClusterFacts, settings: Settings, placement: Placement | None, *, gpus: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    tier = placement.tier if placement is not None else (spec.tier if spec.tier != "any" else None)
    if tier is not None and facts.tier_labels:
        found[names.NODE_TIER] = tier
    if gpus and spec.gpus and spec.gpu_type is not None and not _products(spec, facts):
        for label, kind in settings.gpu_map.items():
            key, equals, value = label.partition("=")
            if equals and gputype.matches(spec.gpu_type, kind):
                found[key] = value
                break
    return found


def _required(spec: JobSpec, facts: ClusterFacts, *, gpus: bool) -> dict[str, Any]:
    term: dict[str, Any] = {}
    products = _products(spec, facts) if gpus and spec.gpus else []
    wanted = [{"key": facts.product_label, "operator": "In", "values": products}] if products else []
    if spec.fit_window and facts.too_short:
        wanted.append({"key": names.NODE_SCHEDULE, "operator": "NotIn", "values": list(facts.too_short)})
    if wanted:
        term["matchExpressions"] = wanted
    excluded = _excluded(spec, facts.name)
    if excluded:
        # By the node's own name: its hostname label may be another word.
        term["matchFields"] = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in excluded]
    return term


def _products(spec: JobSpec, facts: ClusterFacts) -> list[str]:
    if spec.gpu_type is None:
        return []
    return sorted({product for product in facts.products if gputype.matches(spec.gpu_type, product)})


def _excluded(spec: JobSpec, cluster: str) -> list[str]:
    """The nodes of this cluster among ``exclude``, which also names nodes and clusters elsewhere."""
    found = []
    for each in spec.exclude:
        where, slash, node = each.rpartition("/")
        if (not slash or where == cluster) and node != cluster and node not in found:
            found.append(node)
    return found


def _tolerations(spec: JobSpec, team: str | None, facts: ClusterFacts, settings: Settings, *, gpus: bool) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    if gpus and spec.gpus:
        found.append({"key": settings.gpu_resource, "operator": "Exists", "effect": "NoSchedule"})
    if team is not None and names.label_value(team):
        found.append({"key": names.OWNER_TAINT, "operator": "Equal", "value": names.label_value(team), "effect": "NoSchedule"})
    if borrows(spec, facts):
        found.append({"key": names.LENDS_TAINT, "operator": "Exists", "effect": "NoSchedule"})
    elif team is not None and names.label_value(team):
        found.append({"key": names.LENDS_TAINT, "operator": "Equal", "value": names.label_value(team), "effect": "NoSchedule"})
    return found
