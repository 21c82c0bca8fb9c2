"""Telling a job what its window does to it: annotations on its object and its pods, an Event, and a webhook where one is given."""

import hashlib
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from gpuctl.base import clock
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.surroundings import KINDS
from gpuctl.controllers.windows.webhook import Report, Webhook
from gpuctl.kube.api import Api
from gpuctl.kube.errors import AlreadyExists, ApiFailure, Conflict, NotFound
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import EVENTS, PODS, Resource
from gpuctl.policy.windows.marked import End, GangEnd, Holding, Tell

COMPONENT = "gpuctl-window-controller"
_REMEMBERED = 20_000
"""Messages that are known to have been sent. One that is forgotten is sent again, to the same Event."""


class Told(NamedTuple):
    """What an Event and a webhook say, and when: a reason for machines, a sentence for people."""

    reason: str
    message: str
    at: datetime


class Teller:
    """Tells jobs. What cannot be told is reported, and keeps nothing from being done: who could keep a message away would keep the nodes.

    Args:
        api: the cluster.
        cluster: what schedules call it.
        webhook: a URL that gets every message as JSON, None for none.
        report: is told when a message could not be delivered.
    """

    def __init__(self, api: Api, *, cluster: str, webhook: str | None, report: Report) -> None:
        self._api = api
        self._cluster = cluster
        self._report = report
        self._webhook = Webhook(webhook, report=report) if webhook is not None else None
        self._lock = threading.Lock()
        self._done: dict[tuple[str, str, datetime], None] = {}

    def tell(self, step: Tell, *, now: datetime) -> None:
        """Say when the window ends, once for each job and each end."""
        notes = {**_window(step.end), names.WINDOW_ENDS: clock.rfc3339(step.end.at)}
        self._to(step.end, step.pods, notes, Told("WindowEnds", _ends(step.end), now))
        # The pods come last: their marks say that it was done, so that a crash in between tells twice rather than never.
        for pod in step.pods:
            self._annotate(PODS.path(pod.namespace, pod.name), pod.uid, notes)

    def cut(self, step: End, *, now: datetime) -> None:
        """Say that the window's end ends the job now, before anything of it is ended: its object must tell of it when its pods are gone."""
        since = {names.WINDOW_CUT: clock.rfc3339(now), names.WINDOW_NEXT: step.end.next}
        notes = {**_window(step.end), **since}
        if self._to(step.end, step.pods, notes, Told("WindowCut", _cuts(step.end), now)):
            for pod in step.pods if step.pods[0].job is not None else ():
                self._annotate(PODS.path(pod.namespace, pod.name), pod.uid, notes)  # tasks of an array are told apart by their pods

    def close(self) -> None:
        """Wait until the webhook has got everything, or could not be reached."""
        if self._webhook is not None:
            self._webhook.flush()

    def _to(self, end: GangEnd, pods: tuple[Holding, ...], notes: Mapping[str, str], told: Told) -> bool:
        """Tell the job's object and the webhook; False where that was done: what a disruption budget holds up is asked again and again."""
        done = (end.gang, told.reason, end.at)
        if done in self._done:
            return False
        roots, well = self._roots(pods[0]), True
        for kind, root in roots:
            meta = root.metadata
            well = self._annotate(kind.path(meta.namespace, meta.name), meta.uid, notes) and well
            self._event(kind.api_version, kind.kind, meta.namespace, meta.name, meta.uid, end, told)
        for pod in pods if not roots else ():
            self._event("v1", "Pod", pod.namespace, pod.name, pod.uid, end, told)
        if self._webhook is not None and (posted := (end.gang, f"{told.reason} posted", end.at)) not in self._done:
            self._webhook.post(self._document(end, pods, told))
            self._remember(posted)
        if well:  # else the next look tries again, as long as pods of it are there
            self._remember(done)
        return True

    def _remember(self, done: tuple[str, str, datetime]) -> None:
        with self._lock:
            self._done[done] = None
            while len(self._done) > _REMEMBERED:
                del self._done[next(iter(self._done))]

    def _roots(self, pod: Holding) -> list[tuple[Resource, Object]]:
        """The objects that are the pod's job, as far as they may be seen."""
        if pod.job is None:
            return []
        job_id, _, attempt = pod.job.partition("/")
        selector = f"{names.JOB_ID}={job_id},{names.ATTEMPT}={attempt}"
        found: list[tuple[Resource, Object]] = []
        try:
            served = self._api.discovery()
        except ApiFailure as error:
            self._report(f"jobs cannot be told: {error.message}")
            return []
        for kind in KINDS:
            if kind.group != "batch" and not served.has(kind):
                continue
            try:
                listed = self._api.list(kind.path(pod.namespace), Object, params={"labelSelector": selector})
            except ApiFailure as error:
                self._report(f"jobs of kind {kind.kind} cannot be told: {error.message}")
                continue
            found += [(kind, each) for each in listed if each.metadata.annotation(names.SPEC)]
        return found

    def _annotate(self, path: str, uid: str, notes: Mapping[str, str]) -> bool:
        """Write annotations; False where that has to be tried again."""
        try:
            self._api.patch(path, {"metadata": {"uid": uid, "annotations": dict(notes)}}, Object)
        except (NotFound, Conflict):
            pass  # it is gone: nobody is left to tell
        except ApiFailure as error:
            self._report(f"not annotated: {error.message}")
            return False
        return True

    def _event(self, api_version: str, kind: str, namespace: str, name: str, uid: str, end: GangEnd, told: Told) -> None:
        """One Event for each object, reason and end: its name makes a repeat the same one."""
        tail = hashlib.sha256(f"{uid}/{told.reason}/{clock.rfc3339(end.at)}".encode()).hexdigest()[:16]
        now = clock.rfc3339(told.at)
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name[:200]}.{tail}", "namespace": namespace},
            "involvedObject": {"apiVersion": api_version, "kind": kind, "namespace": namespace, "name": name, "uid": uid},
            "reason": told.reason,
            "message": told.message,
            "type": "Normal",
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._api.create(EVENTS.path(namespace), body, Object)
        except AlreadyExists:
            pass
        except ApiFailure as error:
            self._report(f"no event for {kind} {namespace}/{name}: {error.message}")

    def _document(self, end: GangEnd, pods: tuple[Holding, ...], told: Told) -> bytes:
        document = {
            "apiVersion": "gpuctl.io/v1",
            "kind": told.reason,
            "cluster": self._cluster,
            "message": told.message,
            "window": end.window,
            "at": clock.rfc3339(end.at),
            "cutAt": clock.rfc3339(end.cut_at) if end.cut_at is not None else None,
            "nextOwner": end.next,
            "team": pods[0].team,
            "pods": [f"{pod.namespace}/{pod.name}" for pod in pods],
        }
        return msgspec.json.encode({key: value for key, value in document.items() if value is not None})


def _window(end: GangEnd) -> dict[str, str]:
    return {names.WINDOW: end.window} if end.window is not None else {}


def _ends(end: GangEnd) -> str:
    what = f"window {end.window} ends" if end.window is not None else "these nodes change hands"
    cut = f"; what runs is cut at {clock.rfc3339(end.cut_at)}" if end.cut_at is not None else "; what runs may end by itself"
    return f"{what} at {clock.rfc3339(end.at)}, the nodes go to {end.next} then{cut}"


def _cuts(end: GangEnd) -> str:
    what = f"window {end.window} ends" if end.window is not None else "these nodes change hands"
    return f"{what} at {clock.rfc3339(end.at)}: making room for {end.next}"
