"""Kueue's quotas, which follow the nodes: read as shares, written one queue at a time.

Only ClusterQueues that an administrator has labelled for it (``gpuctl.io/window-quota=true``, and ``gpuctl.io/team``) are touched, and of
these only the nominal quotas of GPU resources in flavors whose nodes a schedule has. What a team holds beside its windows stands in the
annotation ``gpuctl.io/window-quota-base``, devices by flavor: ``{"h100": 8}``.
"""

import copy
from collections.abc import Iterable, Sequence

import msgspec

from gpuctl.clusters.kubernetes import amounts, names
from gpuctl.clusters.kubernetes.surroundings import KUEUE
from gpuctl.kube.api import Api
from gpuctl.kube.errors import ApiFailure, NotFound
from gpuctl.kube.objects.kueue import ResourceFlavor
from gpuctl.kube.objects.meta import Document, Meta
from gpuctl.kube.resources import Resource
from gpuctl.model import decoding
from gpuctl.policy.windows.allotting import Move, Share

QUOTA = names.PREFIX + "window-quota"
BASE = names.PREFIX + "window-quota-base"


class RawQueue(msgspec.Struct, frozen=True, gc=False):
    """A ClusterQueue whose specification is kept as it is, for a write has to give it back."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: Document = msgspec.field(default_factory=dict)


class Queues:
    """The ClusterQueues of a cluster that follow windows."""

    def __init__(self, api: Api, *, gpu_resources: Sequence[str]) -> None:
        self._api = api
        self._gpu_resources = gpu_resources
        self._found: dict[str, RawQueue] = {}

    def shares(self) -> list[Share]:
        """Every share that follows windows now; none where Kueue is not there.

        Raises:
            ApiFailure: queues or flavors cannot be read.
        """
        kind, flavors = self._kind("clusterqueues"), self._kind("resourceflavors")
        if kind is None or flavors is None:
            return []
        try:
            listed = self._api.list(kind.path(), RawQueue, params={"labelSelector": f"{QUOTA}=true,{names.TEAM}"})
            self._found = {each.metadata.name: each for each in listed}
            if not self._found:
                return []
            labels = {each.metadata.name: each.spec.node_labels or {} for each in self._api.list(flavors.path(), ResourceFlavor)}
        except NotFound:
            return []  # Kueue has been removed since discovery
        return [share for queue in self._found.values() for share in _shares(queue, labels, self._gpu_resources)]

    def write(self, moved: Iterable[Move]) -> list[ApiFailure]:
        """Carry out moves, one write for each queue; what could not be written, and why.

        A queue that somebody else has changed meanwhile is left for the next look.
        """
        failed: list[ApiFailure] = []
        by_queue: dict[str, list[Move]] = {}
        for each in moved:
            by_queue.setdefault(each.share.queue, []).append(each)
        kind = self._kind("clusterqueues")
        for name, own in by_queue.items():
            queue = self._found[name]
            metadata = {"resourceVersion": queue.metadata.resource_version}
            body = {"metadata": metadata, "spec": {"resourceGroups": _moved(queue.spec.get("resourceGroups") or [], own)}}
            try:
                assert kind is not None
                self._found[name] = self._api.patch(kind.path(name=name), body, RawQueue)
            except ApiFailure as error:
                failed.append(error)
        return failed

    def _kind(self, plural: str) -> Resource | None:
        return self._api.discovery().find(KUEUE, plural, versions=("v1beta2", "v1beta1"))


def _shares(queue: RawQueue, flavors: dict[str, dict[str, str]], gpu_resources: Sequence[str]) -> Iterable[Share]:
    bases = _bases(queue.metadata.annotation(BASE))
    for group in queue.spec.get("resourceGroups") or []:
        for flavor in group.get("flavors") or []:
            labels = flavors.get(flavor["name"])
            if labels is None:
                continue
            for resource in flavor.get("resources") or []:
                if resource["name"] in gpu_resources:
                    yield Share(
                        queue=queue.metadata.name,
                        team=queue.metadata.label(names.TEAM),
                        flavor=flavor["name"],
                        resource=resource["name"],
                        labels=labels,
                        nominal=amounts.whole(resource.get("nominalQuota", 0)),
                        base=bases.get(flavor["name"], 0),
                    )


def _bases(text: str) -> dict[str, int]:
    """Devices by flavor. What cannot be read counts as nothing: a quota that is too low is asked about, one that is too high is used."""
    try:
        return decoding.decode(text, dict[str, int]) if text else {}
    except msgspec.DecodeError:
        return {}


def _moved(groups: list[Document], own: Sequence[Move]) -> list[Document]:
    wanted = {(each.share.flavor, each.share.resource): each.nominal for each in own}
    changed = copy.deepcopy(groups)
    for group in changed:
        for flavor in group.get("flavors") or []:
            for resource in flavor.get("resources") or []:
                nominal = wanted.get((flavor["name"], resource["name"]))
                if nominal is not None:
                    resource["nominalQuota"] = str(nominal)
    return changed
