"""Ending pods for the next owner: through the Eviction API, which disruption budgets may refuse, or without asking; signals before that."""

from collections.abc import Callable

import msgspec

from gpuctl.base import clock
from gpuctl.controllers.windows import observed
from gpuctl.kube.api import Api
from gpuctl.kube.errors import ApiFailure, Conflict, NotFound, TooMany
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.remotecommand import exec_
from gpuctl.kube.resources import PODS
from gpuctl.policy.windows.marked import End, Holding, Warn

EXEC_S = 10.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one pod took it. ``protected``: a disruption budget says not now; ``failed``: why it could not be asked."""

    pod: Holding
    done: bool = False
    protected: bool = False
    failed: ApiFailure | None = None


class PodEnder:
    """Carries out the steps about pods. ``may``: whether this process may act now; asked before every write."""

    def __init__(self, api: Api, *, may: Callable[[], bool]) -> None:
        self._api = api
        self._may = may

    def end(self, step: End) -> list[Outcome]:
        """Evict or delete the pods of the step, each only if it is the very pod that was meant."""
        return [self._one(step, pod) for pod in step.pods if self._may()]

    def warn(self, step: Warn) -> list[Outcome]:
        """Send the signal to the first process of every pod, which hands it on in jobs of ours; each pod gets it once."""
        return [self._signal(step, pod) for pod in step.pods if self._may()]

    def _one(self, step: End, pod: Holding) -> Outcome:
        path = PODS.path(pod.namespace, pod.name)
        grace = step.grace.get(pod.uid, pod.grace)
        try:
            if step.how == "delete":
                # Never 0: that removes the object before its processes are gone, and the next owner would meet them.
                self._api.delete(path, uid=pod.uid, grace_s=max(1, grace))
            else:
                options = {"gracePeriodSeconds": max(1, grace), "preconditions": {"uid": pod.uid}}
                metadata = {"name": pod.name, "namespace": pod.namespace}
                body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata, "deleteOptions": options}
                self._api.create(PODS.path(pod.namespace, pod.name, "eviction"), body, Object)
        except (NotFound, Conflict):
            return Outcome(pod=pod)  # it is gone, and another may bear its name
        except TooMany:
            return Outcome(pod=pod, protected=True)
        except ApiFailure as error:
            return Outcome(pod=pod, failed=error)
        return Outcome(pod=pod, done=True)

    def _signal(self, step: Warn, pod: Holding) -> Outcome:
        path = PODS.path(pod.namespace, pod.name)
        name = step.signal.upper().removeprefix("SIG")
        note = {"metadata": {"uid": pod.uid, "annotations": {observed.SIGNALLED: clock.rfc3339(step.end.at)}}}
        try:
            self._api.patch(path, note, Object)  # first: a signal that comes twice may end what writes its checkpoint
            with exec_(self._api, pod.name, ["/bin/sh", "-c", f"kill -s {name} 1"], namespace=pod.namespace) as running:
                while running.read(EXEC_S) is not None:
                    pass
        except (NotFound, Conflict):
            return Outcome(pod=pod)
        except ApiFailure as error:
            return Outcome(pod=pod, failed=error)
        return Outcome(pod=pod, done=running.exit_code == 0)
