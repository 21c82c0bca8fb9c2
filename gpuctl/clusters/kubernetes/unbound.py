"""Why a claim has no volume yet: what its events say."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.objects.core import Event, VolumeClaim
from gpuctl.kube.resources import EVENTS
from gpuctl.model.reason import Evidence, Reason

_MOST = 5
_WAITS_FOR_A_JOB = frozenset({"WaitForFirstConsumer", "WaitForPodScheduled"})
"""The class makes a volume only where a pod that mounts it is to run; nothing is wrong."""

_TRIES = "Provisioning"
"""What a provisioner says before each of its tries; how the last one ended tells more."""
_IN_SHORT = (
    (re.compile(r'^storageclass\.storage\.k8s\.io "(?P<name>[^"]+)" not found$'), "there is no storage class {name}"),
    (
        re.compile(r"^Waiting for a volume to be created either by the external provisioner '(?P<name>[^']+)'"),
        "waits for {name} to make it",
    ),
)
"""Sentences of Kubernetes that are long or speak of its types, and what they say."""


class Why(NamedTuple):
    """Why a claim is pending, as far as somebody said it; ``evidence`` are its events, the newest last."""

    reason: Reason
    evidence: tuple[Evidence, ...]


def pending(claim: VolumeClaim) -> bool:
    """Whether it has no volume yet."""
    return claim.status.phase in ("", "Pending")


def reasons(around: Surroundings, claims: Iterable[VolumeClaim]) -> dict[str, Why]:
    """Why those of the claims are pending that are, by name: one list call, and none where all are bound.

    Empty where events cannot be read.
    """
    waiting = {claim.metadata.uid: claim.metadata.name for claim in claims if pending(claim)}
    if not waiting:
        return {}
    about: dict[str, list[Event]] = {}
    try:
        selector = {"fieldSelector": "involvedObject.kind=PersistentVolumeClaim"}
        for event in around.api.list(EVENTS.path(around.namespace), Event, params=selector):
            if event.about.uid in waiting:
                about.setdefault(waiting[event.about.uid], []).append(event)
    except GpuctlError:
        return {}
    return {name: _read(events) for name, events in about.items()}


def _read(events: Sequence[Event]) -> Why:
    """Of each who speaks, the last word counts; a warning more than a word of progress, among equals the newest."""
    ordered = sorted(events, key=_when)
    last: dict[str, Event] = {}
    for event in ordered:
        if event.reason != _TRIES or event.by not in last:
            last[event.by] = event
    telling = max(last.values(), key=lambda event: (event.type == "Warning", _when(event)))
    return Why(_reason(telling), tuple(_evidence(event) for event in ordered[-_MOST:]))


def _when(event: Event) -> float:
    return event.at.timestamp() if event.at is not None else 0.0


def _reason(event: Event) -> Reason:
    if event.reason in _WAITS_FOR_A_JOB:
        return Reason(code="volume-unbound", sentence="it is made once a job that mounts it is to start", what="nothing")
    what = " ".join(event.text.split()).rstrip(".")
    for pattern, sentence in _IN_SHORT:
        found = pattern.search(what)
        what = sentence.format(**found.groupdict()) if found else what
    if event.type == "Warning":
        return Reason(code="volume-unbound", sentence=what, what="escalate", advice="ask the people who run the cluster")
    return Reason(code="volume-unbound", sentence=what, what="wait")


def _evidence(event: Event) -> Evidence:
    times = f" ({event.times} times)" if event.times > 1 else ""
    return Evidence(code="volume-unbound", text=f"{event.reason}{times}: {event.text}", at=event.at, source="event")
