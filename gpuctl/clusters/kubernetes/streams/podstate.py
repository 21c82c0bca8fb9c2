"""How the pods of a job stand, looked at once for all who read their logs."""

import threading
import time
from collections.abc import Mapping, Sequence

import msgspec

from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api
from gpuctl.kube.errors import NotFound
from gpuctl.kube.objects.pods import ContainerState, Pod
from gpuctl.kube.resources import PODS

MANY = 4
"""Pods from which on the namespace's list costs less than one call for each."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One container of a pod that is there.

    Attributes:
        started: it runs or has run, so that there is a log.
        over: it has ended and will not be started again.
        restarts: how often it was started again in its pod.
    """

    started: bool
    over: bool
    restarts: int


class PodStates:
    """The present pods, read again when asked for something newer than the last reading. For several threads.

    Args:
        selector: a label selector that matches all of ``targets``; without one every pod is read by its name.
    """

    def __init__(self, api: Api, targets: Sequence[PodTarget], *, selector: str | None = None) -> None:
        self._api = api
        self._targets = targets
        self._selector = selector if len(targets) >= MANY else None
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._pods: Mapping[tuple[str, str], Pod] = {}

    def look(self, target: PodTarget, container: str, *, after: float) -> Standing | None:
        """How a container stands, seen after the instant ``after`` (of ``time.monotonic``). None: the pod is gone.

        Raises:
            ApiFailure: it cannot be read.
        """
        if self._selector is None:
            pod = self._one(target)
        else:
            with self._lock:  # who waits here has its answer from the one who reads
                if self._read_at <= after:
                    began = time.monotonic()
                    self._pods = self._all()
                    self._read_at = began
                pod = self._pods.get((target.namespace, target.name))
        if pod is None or (target.uid and pod.metadata.uid != target.uid):
            return None
        return _standing(pod, container)

    def _one(self, target: PodTarget) -> Pod | None:
        try:
            return self._api.get(target.path, Pod)
        except NotFound:
            return None

    def _all(self) -> dict[tuple[str, str], Pod]:
        params = {"labelSelector": self._selector or ""}
        found = {}
        for namespace in {target.namespace for target in self._targets}:
            for pod in self._api.list(PODS.path(namespace), Pod, params=params):
                found[namespace, pod.metadata.name] = pod
        return found


def _standing(pod: Pod, container: str) -> Standing:
    init = {each.name: each for each in pod.status.init_container_statuses or ()}
    status = init.get(container) or next((each for each in pod.status.container_statuses or () if each.name == container), None)
    if status is None:
        return Standing(started=False, over=pod.ended, restarts=0)
    state, before = status.state or ContainerState(), status.last_state or ContainerState()
    terminated = state.terminated
    final = terminated is not None and (
        pod.spec.restart_policy == "Never"
        or (terminated.exit_code == 0 and (container in init or pod.spec.restart_policy == "OnFailure"))
        or pod.metadata.deletion_timestamp is not None
    )
    started = terminated is not None or state.running is not None or before.terminated is not None
    return Standing(started=started, over=pod.ended or final, restarts=status.restart_count)
