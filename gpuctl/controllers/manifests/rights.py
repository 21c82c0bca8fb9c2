"""What the window controller may do, and the roles for people around it: exactly what each needs."""

from typing import Any

from gpuctl.clusters.kubernetes.names import POOL_SCHEDULES
from gpuctl.clusters.kubernetes.rbac import READ, Need, binding, role
from gpuctl.kube import resources
from gpuctl.kube.resources import Resource

CONTROLLER = "gpuctl-window-controller"
"""The name of the controller's objects, its account among them."""

_LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

IN_CLUSTER: tuple[Need, ...] = (
    Need(READ, POOL_SCHEDULES),
    Need(("patch",), POOL_SCHEDULES, "status"),
    Need((*READ, "patch"), resources.NODES),
    Need((*READ, "patch", "delete"), resources.PODS),
    Need(("create",), resources.PODS, "eviction"),
    Need(("patch",), resources.PODS, "status"),  # the condition that says whose fault an end was not
    # The signal of CheckpointThenEvict goes in by exec: a WebSocket begins with a GET, newer servers ask for create as well.
    Need(("create", "get"), resources.PODS, "exec"),
    Need(READ, resources.NAMESPACES),
    Need(("create", "patch"), resources.EVENTS),
    Need((*READ, "patch"), resources.CLUSTER_QUEUES),
    Need(READ, resources.RESOURCE_FLAVORS),
    *(
        Need(("get", "list", "patch"), each)  # a pod's job is found by its labels
        for each in (resources.JOBS, resources.JOB_SETS, resources.RAY_JOBS, resources.TRAIN_JOBS, resources.PYTORCH_JOBS)
    ),
)
IN_OWN_NAMESPACE: tuple[Need, ...] = (Need(("get", "create", "update"), _LEASES),)
VIEWER: tuple[Need, ...] = (Need(READ, POOL_SCHEDULES),)
PLANNER: tuple[Need, ...] = (Need((*READ, "create", "update", "patch", "delete"), POOL_SCHEDULES),)


def objects(namespace: str) -> tuple[dict[str, Any], ...]:
    """The controller's account with its roles; two roles to be bound to people: who may read schedules, and who may write them."""
    account = {"name": CONTROLLER, "namespace": namespace}
    subject = [{"kind": "ServiceAccount", **account}]
    return (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        role("ClusterRole", {"name": CONTROLLER}, IN_CLUSTER),
        binding("ClusterRoleBinding", {"name": CONTROLLER}, "ClusterRole", subject),
        role("Role", account, IN_OWN_NAMESPACE),
        binding("RoleBinding", account, "Role", subject),
        role("ClusterRole", {"name": "gpuctl-schedule-viewer"}, VIEWER),
        role("ClusterRole", {"name": "gpuctl-schedule-planner"}, PLANNER),
    )
