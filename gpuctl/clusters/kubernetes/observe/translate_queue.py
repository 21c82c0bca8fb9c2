"""What Kueue says of a job's Workload: in line and where, over quota, evicted, stopped, never to be admitted.

Since Kueue 0.19 the reason of ``QuotaReserved=False`` is a word of its own; before that only the message told. Conditions are chosen by
their time. Source: https://kueue.sigs.k8s.io/docs/concepts/workload/
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpuctl.kube.objects.kueue import Workload
from gpuctl.kube.objects.meta import Condition, condition
from gpuctl.model.reason import Evidence

_TOO_LITTLE = re.compile(
    r"insufficient unused quota(?: in cohort)? for (?P<resource>\S+) in flavor (?P<flavor>[^,\s]+)(?:, (?P<missing>\S+) more needed)?"
)
_NEVER = re.compile(
    r"insufficient quota for (?P<resource>\S+) in flavor (?P<flavor>[^,\s]+).*?(?:"
    r"request > maximum capacity \((?P<asked>\S+) > (?P<most>[^)\s]+)\)|"
    r"current podset request \((?P<asked_now>[^)]+)\) > maximum capacity \((?P<most_now>[^)]+)\))"
)
_BORROWED = re.compile(r"borrowing limit for (?P<resource>\S+) in flavor (?P<flavor>\S+) exceeded")
_INACTIVE = re.compile(r"ClusterQueue (?P<name>\S+) is inactive")
_DUE = re.compile(r"due to (?P<why>.+?)\.?\Z", re.DOTALL)
_CODES = {
    "ExceedsMaxQuota": "never-fits",
    "NoMatchingFlavor": "no-such-gpu",
    "WaitingForQuota": "quota",
    "WaitingForPreemptedWorkloads": "queued",
    "WaitingForPodsReady": "queued",
    "PendingEvaluation": "queued",
    "TopologyPlacementFailed": "fragmented",
    "Misconfigured": "admission-refused",
    "Suspended": "window",
}


class Position(NamedTuple):
    """Place in line, 0 is the head."""

    in_cluster_queue: int
    in_local_queue: int


def inactive_queue(workload: Workload) -> str | None:
    """The ClusterQueue that admits nobody, where that is why the workload waits; the queue itself knows the reason."""
    reserved = condition(workload.status.conditions, "QuotaReserved")
    match = _INACTIVE.search(reserved.message) if reserved is not None and reserved.status != "True" else None
    return match["name"] if match else None


def evidence(workload: Workload, *, position: Position | None = None, queue: Condition | None = None) -> tuple[Evidence, ...]:
    """Why the job is not admitted, and what happened to an earlier admission. Nothing of one that is admitted and well.

    Args:
        workload: the job's.
        position: its place in line, where that is known.
        queue: what the ClusterQueue says of itself (``Active``), where it admits nobody and that could be read.
    """
    conditions = workload.status.conditions
    admitted = condition(conditions, "Admitted")
    if admitted is not None and admitted.status == "True":
        return ()
    found = list(_evicted(workload))
    if workload.spec.active is False:
        found.append(_seen("held", "its workload is switched off in Kueue", None))
        return tuple(found)
    reserved = condition(conditions, "QuotaReserved")
    if reserved is not None and reserved.status == "True":
        waits = condition(conditions, "Admitted")
        text = "its quota is reserved; waits for admission checks"
        found.append(_seen("queued", f"{text}: {waits.message}" if waits is not None and waits.message else text, waits))
    elif reserved is not None:
        found.append(_pending(reserved, position, queue))
    else:
        found.append(_seen("queued", _line(workload, position), None, position))
    return tuple(found)


def _pending(reserved: Condition, position: Position | None, queue: Condition | None) -> Evidence:
    message = reserved.message
    inactive = _INACTIVE.search(message)
    if inactive:
        why = f": {queue.message}" if queue is not None and queue.message else ""
        return _seen("queued", f"queue {inactive['name']} admits no jobs now{why}", reserved, by="Kueue")
    never = _NEVER.search(message)
    if never:
        asked, most = never["asked"] or never["asked_now"], never["most"] or never["most_now"]
        text = f"asks {asked} {never['resource']}, the queue may never hold more than {most} of flavor {never['flavor']}"
        return _seen("never-fits", text, reserved, needs=asked, total=most)
    short = _TOO_LITTLE.search(message)
    if short:
        missing = f", {short['missing']} more needed" if short["missing"] else ""
        ahead = f"{position.in_cluster_queue} ahead; " if position is not None and position.in_cluster_queue else ""
        return _seen("quota", f"{ahead}quota of {short['resource']} in flavor {short['flavor']} is in use{missing}", reserved, position)
    borrowed = _BORROWED.search(message)
    if borrowed:
        return _seen("quota", f"no more {borrowed['resource']} of flavor {borrowed['flavor']} may be borrowed", reserved, position)
    if re.search(r"LocalQueue \S+ doesn't exist|ClusterQueue \S+ doesn't exist|is inactive|namespace doesn't match", message):
        stopped = "inactive" in message or "stopped" in message.lower()  # of a LocalQueue
        return _seen("window", message, reserved) if stopped else _seen("admission-refused", message, reserved, by="Kueue")
    if re.search(r"StopPolicy|is stopped|on hold", message):
        return _seen("window", message, reserved)
    code = _CODES.get(reserved.reason, "quota" if "quota" in message.lower() else "queued")
    data = {"by": "Kueue"} if code == "admission-refused" else {}
    return _seen(code, message or f"{reserved.reason}", reserved, position, **data)


def _line(workload: Workload, position: Position | None) -> str:
    queue = workload.spec.queue_name
    if position is None:
        return f"in queue {queue}"
    return f"in queue {queue}, behind {position.in_cluster_queue} jobs" if position.in_cluster_queue else f"at the head of queue {queue}"


def _evicted(workload: Workload) -> Iterator[Evidence]:
    """Why it lost an earlier admission, as a note: it waits again."""
    told = eviction(workload)
    if told is not None:
        yield _seen("note", *told)


def eviction(workload: Workload) -> tuple[str, Condition] | None:
    """The words for the loss of an admission that was not followed by another one, and the condition that tells it."""
    evicted = condition(workload.status.conditions, "Evicted")
    if evicted is None or evicted.status != "True":
        return None
    preempted = condition(workload.status.conditions, "Preempted")
    told = preempted if evicted.reason == "Preempted" and preempted is not None and preempted.status == "True" else evicted
    words = {
        "Preempted": "was preempted",
        "PodsReadyTimeout": "lost its admission: its pods were not ready in time",
        "AdmissionCheck": "lost its admission: a check failed",
        "ClusterQueueStopped": "lost its admission: the queue was stopped",
        "LocalQueueStopped": "lost its admission: the queue was stopped",
        "NodeFailures": "lost its admission: a node failed",
        "Deactivated": "was switched off",
        "MaximumExecutionTimeExceeded": "ran longer than the queue allows",
    }.get(evicted.reason, "lost its admission")
    due = _DUE.search(told.message) if evicted.reason == "Preempted" else None
    if due:  # the rest names the other job by ids that say nothing to a person
        return f"{words} ({due['why']})", told
    plain = not told.message or evicted.reason in ("ClusterQueueStopped", "LocalQueueStopped", "Deactivated")
    return (words if plain else f"{words} ({told.message})"), told


def _seen(code: str, text: str, found: Condition | None, position: Position | None = None, **data: str) -> Evidence:
    if position is not None:
        data = {"ahead": str(position.in_cluster_queue), **data}
    at = found.last_transition_time if found is not None else None
    return Evidence(code=code, text=text, at=at, data=data, source="condition")
