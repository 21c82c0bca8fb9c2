"""What a pod may say about whose it is: the expressions of the policy on pods.

The taints of windows are NoSchedule, so a toleration counts by what it lets a pod past:

- ``gpuctl.io/owner`` and ``gpuctl.io/lends`` with the team of the pod's namespace: its own nodes.
- ``gpuctl.io/lends`` with any value: only for pods that may be stopped. Those say so by a label, by which the controller and people find
  them, and have a priority below zero, by which the scheduler itself makes room for the owner's pods, without anybody in between. The
  number counts and not the class: an administrator's class below zero is as good as the one that comes with the manifests.
- no key at all: every taint. Whoever has to run on every node does that (node agents, log collectors), so only pods with GPUs may not.
- ``gpuctl.io/window-closing``: nobody, what has to run everywhere tolerates without a key.

A pod that names its node by hand is not scheduled, and no taint stops it.
"""

import re
from collections.abc import Sequence
from typing import Any

from gpuctl.clusters.kubernetes import names

_NAMESPACE = "namespaceObject.metadata.name"
_OWN = "(!has(t.operator) || t.operator == 'Equal') && has(t.value) && t.value != '' && t.value == variables.team"
_OF_TEAM = (
    f"(variables.team == '' ? 'namespace ' + {_NAMESPACE} + ' has no label {names.TEAM}' "
    f": 'the team of namespace ' + {_NAMESPACE} + ' is ' + variables.team)"
)


def variables(gpu_resources: Sequence[str]) -> dict[str, str]:
    """What the rules speak of, in the order in which one needs the other."""
    pattern = "|".join(re.escape(each).replace(r"\*", ".*").replace(r"\-", "-") for each in gpu_resources)

    def asks(kind: str) -> str:
        found = f"c.resources.{kind}"
        return f"has({found}) && {found}.exists(r, r.matches(r'^({pattern})$') && string({found}[r]) != '0')"

    def borrows(of: str) -> str:
        lends = f"has(t.key) && t.key == '{names.LENDS_TAINT}' && has(t.operator) && t.operator == 'Exists'"
        return f"has({of}.spec.tolerations) && {of}.spec.tolerations.exists(t, {lends})"

    def may_stop(of: str) -> str:
        label = f"{of}.metadata.?labels[?'{names.PREEMPTIBLE}'].orValue('') == 'true'"
        return f"{label} && has({of}.spec.priority) && {of}.spec.priority < 0"

    containers = "(has(object.spec.initContainers) ? object.spec.initContainers : [])"
    return {
        "team": f"namespaceObject.metadata.?labels[?'{names.TEAM}'].orValue('')",
        # Tolerations can only be added to a pod; those that it had are let be.
        "tolerations": (
            "!has(object.spec.tolerations) ? [] : object.spec.tolerations.filter(t,\n"
            "  oldObject == null || !has(oldObject.spec.tolerations) || !(t in oldObject.spec.tolerations))"
        ),
        # What devices a claim stands for is not written in the pod, so a claim counts as one for GPUs.
        "gpus": (
            "has(object.spec.resourceClaims) ||\n"
            f"(object.spec.containers + {containers}).exists(c, has(c.resources) && (\n"
            f"  {asks('limits')} ||\n"
            f"  {asks('requests')}))"
        ),
        "borrows": f"{borrows('object')} &&\n!({may_stop('object')})",
        "borrowed": f"oldObject != null && {borrows('oldObject')} &&\n!({may_stop('oldObject')})",
    }


def validations() -> list[dict[str, Any]]:
    """The rules, each with what it says to whoever broke it."""
    owner, lends, closing = names.OWNER_TAINT, names.LENDS_TAINT, names.CLOSING_TAINT
    label = f"metadata.?labels[?'{names.TEAM}']"
    return [
        _rule(
            f"variables.tolerations.all(t, !has(t.key) || t.key != '{owner}' ||\n  ({_OWN}))",
            f"a pod tolerates {owner} only with the team of its namespace as the value",
            of_team=True,
        ),
        _rule(
            f"variables.tolerations.all(t, !has(t.key) || t.key != '{lends}' ||\n"
            f"  (has(t.operator) && t.operator == 'Exists') || ({_OWN}))",
            f"a pod tolerates {lends} only with the team of its namespace as the value, or with operator Exists if it may be stopped",
            of_team=True,
        ),
        _rule(
            "!variables.borrows || variables.borrowed",
            f"a pod that tolerates {lends} with operator Exists has the label {names.PREEMPTIBLE}=true and a priority below zero, "
            f"such as by the priority class {names.PREEMPTIBLE_CLASS}",
        ),
        _rule(
            f"variables.tolerations.all(t, !has(t.key) || t.key != '{closing}')",
            f"no pod tolerates {closing}: nothing starts on a node that is about to change hands",
        ),
        _rule(
            "!variables.gpus || variables.tolerations.all(t,\n"
            "  (has(t.key) && t.key != '') || (has(t.effect) && t.effect in ['NoExecute', 'PreferNoSchedule']))",
            "a toleration without a key matches every taint, and is not for pods that ask for GPUs: name the keys",
        ),
        _rule(
            "request.operation != 'CREATE' || !variables.gpus || !has(object.spec.nodeName) || object.spec.nodeName == ''",
            "a pod that asks for GPUs leaves spec.nodeName to the scheduler: use a node selector",
        ),
        _rule(
            f"object.{label}.orValue(variables.team) == variables.team ||\n(oldObject != null && object.{label} == oldObject.{label})",
            f"the label {names.TEAM} of a pod is that of its namespace",
            of_team=True,
        ),
    ]


def _rule(expression: str, message: str, *, of_team: bool = False) -> dict[str, Any]:
    words = {"messageExpression": f"{message + '; '!r} + {_OF_TEAM}"} if of_team else {}
    return {"expression": expression, "message": message, **words, "reason": "Forbidden"}
