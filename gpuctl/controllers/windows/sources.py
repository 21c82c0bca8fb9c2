"""Where the controller's picture of a cluster comes from: watches for one that stays, lists for one that looks once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes import names
from gpuctl.controllers.informer import Informer
from gpuctl.controllers.windows.objects import WatchedNamespace, WatchedNode, WatchedPod, WatchedSchedule
from gpuctl.kube.api import Api
from gpuctl.kube.resources import NAMESPACES, NODES, PODS

BOUND = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"


class Picture(NamedTuple):
    """A cluster as it was seen."""

    schedules: Sequence[WatchedSchedule]
    nodes: Sequence[WatchedNode]
    pods: Sequence[WatchedPod]
    namespaces: Sequence[WatchedNamespace]


class Source(Protocol):
    """Gives pictures."""

    def picture(self) -> Picture:
        """The cluster now.

        Raises:
            GpuctlError: a part of it cannot be read.
        """
        ...


class Listed:
    """Reads the cluster when it is asked."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def picture(self) -> Picture:
        """Four lists; pods last, so that none of them is on a node that was not seen."""
        schedules = self._api.list(names.POOL_SCHEDULES.path(), WatchedSchedule).items
        namespaces = self._api.list(NAMESPACES.path(), WatchedNamespace).items
        nodes = self._api.list(NODES.path(), WatchedNode).items
        pods = self._api.list(PODS.path(), WatchedPod, params={"fieldSelector": BOUND}).items
        return Picture(schedules, nodes, pods, namespaces)


class Watched:
    """Listens, and has the picture at hand.

    Args:
        api: the cluster.
        changed: called when something has changed.
    """

    def __init__(self, api: Api, *, changed: Callable[[], None]) -> None:
        self._schedules = Informer(api, names.POOL_SCHEDULES.path(), WatchedSchedule, changed=changed)
        self._nodes = Informer(api, NODES.path(), WatchedNode, changed=changed)
        self._namespaces = Informer(api, NAMESPACES.path(), WatchedNamespace, changed=changed)
        self._pods = Informer(api, PODS.path(), WatchedPod, changed=changed, params={"fieldSelector": BOUND})
        self._all = (self._schedules, self._nodes, self._namespaces, self._pods)

    def start(self) -> None:
        """Begin to listen."""
        for each in self._all:
            each.start()

    def stop(self) -> None:
        """Stop listening."""
        for each in self._all:
            each.stop()

    def error(self) -> GpuctlError | None:
        """Why a part cannot be read, None when all can."""
        return next((each.error for each in self._all if each.error is not None), None)

    def alive(self) -> bool:
        """Whether every part of it still listens."""
        return all(each.alive for each in self._all)

    def synced(self) -> bool:
        """Whether the whole cluster was read."""
        return all(each.synced for each in self._all)

    def picture(self) -> Picture:
        """What was heard so far."""
        error = self.error()
        if error is not None:
            raise error
        return Picture(self._schedules.items(), self._nodes.items(), self._pods.items(), self._namespaces.items())
