"""The ValidatingAdmissionPolicies: who may say whose a pod, a namespace or a node is. For any API server from 1.30 on.

Pods are the truth: whatever makes them (Jobs, JobSets, operators) is judged by the pods it makes. What a pod, namespace or node already
says is let be, so that nothing that was there before the policies is stuck.
"""

from collections.abc import Sequence
from typing import Any

from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.names import POOL_SCHEDULES
from gpuctl.controllers.manifests import podrules

API_VERSION = "admissionregistration.k8s.io/v1"

NAMESPACE_LABELS = (names.TEAM, names.EXEMPT)
NODE_LABELS = (names.NODE_OWNER, names.NODE_SCHEDULE, names.NODE_TIER)
NODE_ANNOTATIONS = (names.CLOSING_SINCE,)
NODE_TAINTS = (names.OWNER_TAINT, names.LENDS_TAINT, names.CLOSING_TAINT)

_SCHEDULES = f"authorizer.group('{POOL_SCHEDULES.group}').resource('{POOL_SCHEDULES.plural}')"
MAY_PLAN = f"{_SCHEDULES}.check('update').allowed()"
"""Whoever may change schedules decides whose nodes these are, so this needs no right of its own."""
MAY_SWITCH = f"({MAY_PLAN} || {_SCHEDULES}.subresource('status').check('patch').allowed())"
"""The same, and whoever reports how schedules stand: the window controller."""


def policies(*, gpu_resources: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Every policy, each with its binding behind it.

    Args:
        gpu_resources: names of resources that are GPUs, ``*`` for any characters.
    """
    return (*_pods(gpu_resources), *_namespaces(), *_nodes())


def _pods(gpu_resources: Sequence[str]) -> tuple[dict[str, Any], ...]:
    return _policy(
        "gpuctl-pods",
        resources=("pods",),
        # A kubelet only makes the mirrors of its own static pods, and tells how pods are.
        conditions={"not-a-kubelet": "!('system:nodes' in request.userInfo.groups)"},
        variables=podrules.variables(gpu_resources),
        validations=podrules.validations(),
        namespaces={
            "matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
                {"key": names.EXEMPT, "operator": "NotIn", "values": ["true"]},
            ]
        },
    )


def _namespaces() -> tuple[dict[str, Any], ...]:
    message = f"the labels {' and '.join(NAMESPACE_LABELS)} of a namespace are set by those who may update poolschedules"
    return _policy(
        "gpuctl-namespaces",
        # Labels can be written through each of the three.
        resources=("namespaces", "namespaces/status", "namespaces/finalize"),
        variables={"changed": _changed("labels", NAMESPACE_LABELS)},
        validations=[_validation(f"!variables.changed || {MAY_PLAN}", message)],
    )


def _nodes() -> tuple[dict[str, Any], ...]:
    keys = ", ".join(f"'{key}'" for key in NODE_TAINTS)

    def taints(of: str) -> str:
        return f"has({of}.spec.taints) ? {of}.spec.taints.filter(t, t.key in [{keys}]) : []"

    marks = (names.NODE_OWNER, names.NODE_SCHEDULE)
    who = "those who may update poolschedules, and by the window controller"
    message = f"labels and taints of gpuctl.io on nodes ({', '.join((*NODE_LABELS, *NODE_TAINTS))}) are set by {who}"
    # Pools of nodes get their tier from the kubelet's own labels, and a node that were refused here could never join.
    tier = "(request.operation == 'CREATE' && 'system:nodes' in request.userInfo.groups)"
    return _policy(
        "gpuctl-nodes",
        resources=("nodes", "nodes/status"),  # a kubelet writes its labels through the status
        variables={
            "taints": taints("object"),
            "oldTaints": f"oldObject == null ? [] : ({taints('oldObject')})",
            "remarked": f"{_changed('labels', marks)} || {_changed('annotations', NODE_ANNOTATIONS)}",
            "retiered": _changed("labels", (names.NODE_TIER,)),
            "retainted": ("!(variables.taints.all(t, t in variables.oldTaints) && variables.oldTaints.all(t, t in variables.taints))"),
        },
        validations=[
            _validation(f"!(variables.remarked || variables.retainted) || {MAY_SWITCH}", message),
            _validation(f"!variables.retiered || {tier} || {MAY_SWITCH}", message),
        ],
    )


def _changed(field: str, keys: Sequence[str]) -> str:
    """Whether one of these keys is not what it was."""
    old = f"(oldObject == null ? optional.none() : oldObject.metadata.?{field}[?k])"
    return f"[{', '.join(repr(key) for key in keys)}].exists(k, object.metadata.?{field}[?k] != {old})"


def _validation(expression: str, message: str) -> dict[str, Any]:
    return {"expression": expression, "message": message, "reason": "Forbidden"}


def _policy(
    name: str,
    *,
    resources: Sequence[str],
    variables: dict[str, str],
    validations: Sequence[dict[str, Any]],
    conditions: dict[str, str] | None = None,
    namespaces: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": list(resources)}
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {**({"namespaceSelector": namespaces} if namespaces else {}), "resourceRules": [rule]},
        **({"matchConditions": _named(conditions)} if conditions else {}),
        "variables": _named(variables),
        "validations": list(validations),
    }
    return (
        {"apiVersion": API_VERSION, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {
            "apiVersion": API_VERSION,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    )


def _named(expressions: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "expression": expression} for name, expression in expressions.items()]
