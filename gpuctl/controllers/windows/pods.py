"""Ending pods for the next owner: through the Eviction API, which disruption budgets may refuse, or without asking; signals before that."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import GpuctlError
from gpuctl.controllers.windows import observed
from gpuctl.kube.api import Api
from gpuctl.kube.errors import ApiFailure, Conflict, NotFound, TooMany
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.remotecommand import exec_
from gpuctl.kube.resources import PODS
from gpuctl.policy.windows.marked import End, GangEnd, Holding, Warn

EXEC_S = 10.0
"""The longest that sending a signal may take once it has begun: the shell in the pod is its user's, and may be anything."""
AT_A_TIME = 16
"""Signals that are under way at once; they are sent beside the looks, since a node that does not answer must not hold up the others."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one pod took it. ``protected``: a disruption budget says not now; ``failed``: why it could not be asked."""

    pod: Holding
    done: bool = False
    protected: bool = False
    failed: GpuctlError | None = None


class PodEnder:
    """Carries out the steps about pods.

    Args:
        api: the cluster.
        may: whether this process may act now; asked before every write.
    """

    def __init__(self, api: Api, *, may: Callable[[], bool]) -> None:
        self._api = api
        self._may = may
        self._signals = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="signals")

    def end(self, step: End) -> list[Outcome]:
        """Evict or delete the pods of the step, each only if it is the very pod that was meant."""
        return [self._one(step, pod) for pod in step.pods if self._may()]

    def warn(self, step: Warn, report: Callable[[Outcome], None]) -> None:
        """Begin to send the signal to the first process of every pod, which hands it on in jobs of ours; each pod gets it once.

        ``report`` is told how each took it, from another thread.
        """
        for pod in step.pods:
            if self._may() and self._mark(step, pod):
                self._signals.submit(self._signal, step, pod).add_done_callback(lambda sent: _told(sent, report))

    def close(self) -> None:
        """Wait for the signals that are under way."""
        self._signals.shutdown(wait=True)

    def _one(self, step: End, pod: Holding) -> Outcome:
        path = PODS.path(pod.namespace, pod.name)
        grace = max(1, step.grace.get(pod.uid, pod.grace))  # never 0: that removes the object before its processes are gone
        try:
            if step.how == "delete":
                self._disrupt(step.end, pod)
                self._api.delete(path, uid=pod.uid, grace_s=grace)
            else:
                options = {"gracePeriodSeconds": grace, "preconditions": {"uid": pod.uid}}
                metadata = {"name": pod.name, "namespace": pod.namespace}
                body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata, "deleteOptions": options}
                self._api.create(PODS.path(pod.namespace, pod.name, "eviction"), body, Object)
        except (NotFound, Conflict):
            return Outcome(pod=pod)  # it is gone, and another may bear its name
        except TooMany:
            return Outcome(pod=pod, protected=True)
        except GpuctlError as error:
            return Outcome(pod=pod, failed=error)
        return Outcome(pod=pod, done=True)

    def _disrupt(self, end: GangEnd, pod: Holding) -> None:
        """Say on the pod that it is not its own fault, as an eviction does: Jobs count that differently, and start it again if they may.

        Source: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
        """
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "WindowEnded",
            "message": f"the window ended and the node goes to {end.next}",
            "lastTransitionTime": clock.rfc3339(clock.now()),
        }
        body = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}
        try:
            self._api.patch(PODS.path(pod.namespace, pod.name, "status"), body, Object, kind="strategic")
        except (NotFound, Conflict):
            raise
        except ApiFailure:
            pass  # without it the job is told less, and the node is needed all the same

    def _mark(self, step: Warn, pod: Holding) -> bool:
        """Write down that the pod gets its signal, before it does: one that came twice might end what writes the checkpoint."""
        note = {"metadata": {"uid": pod.uid, "annotations": {observed.SIGNALLED: clock.rfc3339(step.end.at)}}}
        try:
            self._api.patch(PODS.path(pod.namespace, pod.name), note, Object)
        except ApiFailure:
            return False  # it is gone, or the next look tries again
        return True

    def _signal(self, step: Warn, pod: Holding) -> Outcome:
        command = ["/bin/sh", "-c", f"kill -s {step.signal.upper().removeprefix('SIG')} 1"]
        ends = time.monotonic() + EXEC_S
        try:
            with exec_(self._api, pod.name, command, namespace=pod.namespace, container=pod.container or None) as running:
                while (left := ends - time.monotonic()) > 0 and running.read(left) is not None:
                    pass
        except GpuctlError as error:
            return Outcome(pod=pod, failed=error)
        return Outcome(pod=pod, done=running.exit_code == 0)


def _told(sent: "Future[Outcome]", report: Callable[[Outcome], None]) -> None:
    if not sent.cancelled() and sent.exception() is None:
        report(sent.result())
