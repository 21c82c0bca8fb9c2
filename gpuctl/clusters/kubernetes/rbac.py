"""What gpuctl may do in a cluster and what it needs to: the rules of ``doctor --rbac``, and the questions of its access review."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gpuctl.clusters.kubernetes.names import POOL_SCHEDULES
from gpuctl.kube import resources
from gpuctl.kube.resources import Resource


class Need(NamedTuple):
    """One thing gpuctl does. ``optional`` says what is missing without it; empty when nothing works then."""

    verbs: tuple[str, ...]
    resource: Resource
    sub: str = ""
    optional: str = ""


WRITE = ("create", "get", "list", "watch", "patch", "delete")
READ = ("get", "list", "watch")

_METRICS = Resource("metrics.k8s.io", "v1beta1", "pods", "PodMetrics")
_VISIBILITY = Resource("visibility.kueue.x-k8s.io", "v1beta2", "localqueues", "LocalQueue")

IN_NAMESPACE: tuple[Need, ...] = (
    Need(WRITE, resources.JOBS),
    Need(WRITE, resources.JOB_SETS, optional="jobs become plain Jobs"),
    Need(WRITE, resources.TRAIN_JOBS, optional="no TrainJobs"),
    Need(WRITE, resources.PYTORCH_JOBS, optional="no PyTorchJobs"),
    Need(WRITE, resources.RAY_JOBS, optional="Ray runs without its operator"),
    Need(("create", "get", "list", "watch", "patch", "delete"), resources.PODS),
    Need(("get",), resources.PODS, "log"),
    Need(("create", "get"), resources.PODS, "exec", "no exec, shell and cp"),
    Need(("create", "get"), resources.PODS, "portforward", "no port-forward"),
    Need(("create", "get", "patch", "delete"), resources.SECRETS),
    Need(("create", "get", "delete"), resources.SERVICES),
    Need(("get", "list"), _METRICS, optional="`top` asks the pods themselves"),
    Need(READ, resources.EVENTS, optional="`why` and `jobs` know less"),
    Need(WRITE, resources.VOLUME_CLAIMS, optional="no volumes"),
    Need(("get", "list"), resources.RESOURCE_QUOTAS, optional="`quota` knows less"),
    Need(("get", "list"), resources.LOCAL_QUEUES, optional="queues have to be named"),
    Need(("get", "list", "watch", "patch"), resources.WORKLOADS, optional="`why` knows less of the queue, no hold in a queue"),
    Need(("get",), _VISIBILITY, "pendingworkloads", "no place in line"),
    Need(("get", "list"), resources.TRAINING_RUNTIMES, optional="runtimes have to be named"),
)
CLUSTER_WIDE: tuple[Need, ...] = (
    Need(READ, resources.NODES, optional="what is free is unknown"),
    Need(("list", "watch"), resources.PODS, optional="what others use is unknown, so what is free is"),
    Need(("get",), resources.NAMESPACES, optional="the team has to be named in the profile"),
    Need(("get", "list"), resources.STORAGE_CLASSES, optional="classes are not checked before a volume is made"),
    Need(("get", "list"), resources.PRIORITY_CLASSES, optional="priorities have no effect"),
    Need(("get", "list"), resources.CLUSTER_QUEUES, optional="`quota` knows less"),
    Need(("get", "list"), resources.RESOURCE_FLAVORS, optional="`quota` knows less"),
    Need(("get", "list"), resources.CLUSTER_TRAINING_RUNTIMES, optional="runtimes have to be named"),
    Need(("get", "list"), POOL_SCHEDULES, optional="when nodes change their owner is unknown"),
)
OPERATING: tuple[Need, ...] = (
    Need(("get", "list", "watch", "patch"), resources.NODES),
    Need(("create",), resources.PODS, "eviction"),
    Need(("get", "list", "watch", "create", "patch", "delete"), resources.CLUSTER_QUEUES),
    Need(("get", "list", "watch", "create", "patch", "delete"), resources.RESOURCE_FLAVORS),
    Need(("get", "list", "watch", "create", "patch", "delete"), resources.LOCAL_QUEUES),
    Need(("get", "list", "watch", "patch"), resources.NAMESPACES),
    Need(("get", "list", "watch", "create", "patch", "delete"), POOL_SCHEDULES),
)


def documents(*, namespace: str) -> tuple[dict[str, Any], ...]:
    """Roles for a scientist (in the namespace, and what is read of the whole cluster) and for an operator, with bindings to fill in."""
    scientist = {"name": "gpuctl-scientist", "namespace": namespace}
    group = [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "scientists"}]
    operators = [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "gpu-operators"}]
    return (
        role("Role", scientist, IN_NAMESPACE),
        binding("RoleBinding", scientist, "Role", group),
        role("ClusterRole", {"name": "gpuctl-viewer"}, CLUSTER_WIDE),
        binding("ClusterRoleBinding", {"name": "gpuctl-viewer"}, "ClusterRole", group),
        role("ClusterRole", {"name": "gpuctl-operator"}, (*IN_NAMESPACE, *CLUSTER_WIDE, *OPERATING)),
        binding("ClusterRoleBinding", {"name": "gpuctl-operator"}, "ClusterRole", operators),
    )


def yaml(*, namespace: str) -> str:
    """The same as YAML for ``kubectl apply -f -``; the groups are to be replaced."""
    import yaml as writer

    head = f"# What gpuctl needs in namespace {namespace}. Put your own groups in place of scientists and gpu-operators.\n"
    return head + writer.safe_dump_all(documents(namespace=namespace), sort_keys=False)


def role(kind: str, metadata: dict[str, Any], needs: Sequence[Need]) -> dict[str, Any]:
    """A Role or ClusterRole that grants the needs, each resource's verbs once."""
    merged: dict[tuple[str, str], dict[str, None]] = {}
    for need in needs:
        name = f"{need.resource.plural}/{need.sub}" if need.sub else need.resource.plural
        merged.setdefault((need.resource.group, name), {}).update(dict.fromkeys(need.verbs))
    rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (api_group, name), verbs in merged.items():
        rules.setdefault((api_group, tuple(verbs)), []).append(name)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": dict(metadata),
        "rules": [{"apiGroups": [api_group], "resources": found, "verbs": list(verbs)} for (api_group, verbs), found in rules.items()],
    }


def binding(kind: str, metadata: dict[str, Any], role: str, subjects: Sequence[dict[str, str]]) -> dict[str, Any]:
    """A RoleBinding or ClusterRoleBinding to the ``role`` (its kind) of the same name."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": dict(metadata),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": metadata["name"]},
        "subjects": [dict(each) for each in subjects],
    }
