"""Writing the marks on nodes. Every write is one patch that is refused when the marks are no longer those it was decided on.

Foreign labels, annotations and taints, and whether a node is cordoned, are never touched. What a kubelet writes meanwhile does not matter:
the patch is then built anew from the node as it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from gpuctl.base import clock
from gpuctl.clusters.kubernetes import names
from gpuctl.controllers.windows import observed
from gpuctl.controllers.windows.objects import WatchedNamespace, WatchedNode, WatchedPod
from gpuctl.kube.api import Api
from gpuctl.kube.errors import Conflict, NotFound
from gpuctl.kube.objects.meta import Document
from gpuctl.kube.resources import NODES, PODS
from gpuctl.policy.windows.marked import Close, Holding, Own, Release

_TRIES = 4
_OURS = (names.OWNER_TAINT, names.LENDS_TAINT, names.CLOSING_TAINT)
_BOUND_TO = "spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
Marks = tuple[str | None, ...]


class Moved(Exception):
    """The node is no longer as it was when the step was decided; the next look decides anew."""


class NodeWriter:
    """Carries out the steps about nodes.

    Args:
        api: the cluster.
        gpu_resources: what GPUs are called there.
        namespaces: the namespaces as they are now.
        may: whether this process may act now; asked before every write.
        now: the present instant. A node that is closed late is closed since then, not since that was decided.
    """

    def __init__(
        self,
        api: Api,
        *,
        gpu_resources: Sequence[str],
        namespaces: Callable[[], Iterable[WatchedNamespace]],
        may: Callable[[], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._gpu_resources = gpu_resources
        self._namespaces = namespaces
        self._may = may
        self._now = now

    def close(self, step: Close, seen: WatchedNode) -> None:
        """Let nothing new start on the node.

        Args:
            step: what to do.
            seen: the node as it was when that was decided.

        Raises:
            Moved: its marks have changed.
        """
        note = {names.CLOSING_SINCE: clock.rfc3339(self._now())}
        self._patch(seen, lambda taints: [*_without(taints, names.CLOSING_TAINT), _taint(names.CLOSING_TAINT, step.next)], notes=note)

    def own(self, step: Own, seen: WatchedNode) -> None:
        """Give the node to its owner, unless a pod that may not stay is there after all.

        Raises:
            Moved: its marks have changed, or a pod has come.
        """
        if step.before != step.owner or seen.metadata.label(names.NODE_SCHEDULE) != step.schedule:
            staying = [pod for pod in self._live(step.node) if pod.gpus and not _may_stay(pod, step)]
            if staying:
                raise Moved(f"{staying[0].namespace}/{staying[0].name} is on {step.node} after all")
        kind = names.LENDS_TAINT if step.lends else names.OWNER_TAINT
        self._patch(
            seen,
            lambda taints: [*_without(taints, *_OURS), _taint(kind, step.owner)],
            labels={names.NODE_OWNER: step.owner, names.NODE_SCHEDULE: step.schedule},
            notes={names.CLOSING_SINCE: None},
        )

    def release(self, step: Release, seen: WatchedNode) -> None:
        """Take every mark off.

        Raises:
            Moved: its marks have changed.
        """
        self._patch(
            seen,
            lambda taints: _without(taints, *_OURS),
            labels={names.NODE_OWNER: None, names.NODE_SCHEDULE: None},
            notes={names.CLOSING_SINCE: None},
        )

    def _live(self, node: str) -> list[Holding]:
        """The pods on a node as the API server has them, not as we have heard."""
        found = self._api.list(PODS.path(), WatchedPod, params={"fieldSelector": _BOUND_TO.format(node=node)})
        return observed.pods(found, self._namespaces(), self._gpu_resources)

    def _patch(
        self,
        seen: WatchedNode,
        change: Callable[[list[Document]], list[Document]],
        *,
        labels: Mapping[str, str | None] | None = None,
        notes: Mapping[str, str | None],
    ) -> None:
        name = seen.metadata.name
        path = NODES.path(name=name)
        found = seen
        try:
            for _ in range(_TRIES):
                if _marks(found) != _marks(seen):
                    raise Moved(f"somebody else has changed the marks of {name}")
                metadata: dict[str, Any] = {"resourceVersion": found.metadata.resource_version, "annotations": dict(notes)}
                if labels:
                    metadata["labels"] = dict(labels)
                body = {"metadata": metadata, "spec": {"taints": change(found.spec.taints or [])}}
                if not self._may():
                    raise Moved("this replica leads no longer")
                try:
                    self._api.patch(path, body, WatchedNode)
                except Conflict:
                    found = self._api.get(path, WatchedNode)
                    continue
                return
        except NotFound:
            raise Moved(f"{name} is gone") from None
        raise Moved(f"{name} changes too often")


def _marks(found: WatchedNode) -> Marks:
    node = observed.marked(found, ())
    return node.schedule, node.owner, node.taints_owner, node.taints_lender, node.closing


def _may_stay(pod: Holding, step: Own) -> bool:
    return pod.team == step.owner or (step.lends and pod.preemptible)


def _without(taints: Sequence[Document], *keys: str) -> list[Document]:
    return [each for each in taints if not (each.get("key") in keys and each.get("effect") == "NoSchedule")]


def _taint(key: str, value: str) -> Document:
    return {"key": key, "value": value, "effect": "NoSchedule"}
