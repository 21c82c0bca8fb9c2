"""What a PoolSchedule's status tells: whether it is obeyed, whose its nodes are, what a switch waits for."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from gpuctl.base import clock
from gpuctl.clusters.kubernetes import names
from gpuctl.controllers.windows.objects import WatchedSchedule
from gpuctl.kube.api import Api
from gpuctl.kube.errors import ApiFailure, NotFound
from gpuctl.kube.objects.meta import Document, Object
from gpuctl.policy.windows.marked import Standing

ACCEPTED, SWITCHED = "Accepted", "Switched"
_LONGEST_MESSAGE = 1024
_SHOWN = 5


def status(standing: Standing, found: WatchedSchedule, now: datetime) -> Document:
    """The status of a schedule; conditions keep the instant at which they last turned."""
    before = {each.get("type"): each for each in (found.status or {}).get("conditions") or []}
    generation = found.metadata.generation

    def condition(type_: str, true: bool, reason: str, message: str) -> Document:
        value = "True" if true else "False"
        old = before.get(type_, {})
        since = old.get("lastTransitionTime") if old.get("status") == value else None
        return {
            "type": type_,
            "status": value,
            "reason": reason,
            "message": message[:_LONGEST_MESSAGE],
            "observedGeneration": generation,
            "lastTransitionTime": since or clock.rfc3339(now),
        }

    conditions = [condition(ACCEPTED, standing.accepted, standing.reason, standing.message)]
    if standing.accepted:
        behind = [f"{node} {text}" for node, text in sorted(standing.behind.items())]
        more = f"; and {len(behind) - _SHOWN} more" if len(behind) > _SHOWN else ""
        reason = "Waiting" if behind else "AsScheduled"
        conditions.append(condition(SWITCHED, not behind, reason, "; ".join(behind[:_SHOWN]) + more))
    told: dict[str, Any] = {
        "observedGeneration": generation,
        "nodes": len(standing.nodes),
        "owner": standing.owner,
        "nextOwner": standing.next_owner,
        "nextChange": clock.rfc3339(standing.next_change) if standing.next_change is not None else None,
        "conditions": conditions,
    }
    return {key: value for key, value in told.items() if value is not None}


def write(api: Api, standings: Iterable[Standing], found: Mapping[str, WatchedSchedule], now: datetime) -> list[ApiFailure]:
    """Write the statuses that have changed; what could not be written, and why."""
    failed: list[ApiFailure] = []
    for standing in standings:
        schedule = found.get(standing.name)
        if schedule is None:
            continue
        told = status(standing, schedule, now)
        if msgspec.json.encode(told, order="sorted") == msgspec.json.encode(schedule.status or {}, order="sorted"):
            continue
        # A merge leaves what is not named, so what is no longer true is named as nothing.
        body = {"status": {**dict.fromkeys(schedule.status or {}), **told}}
        try:
            api.patch(names.POOL_SCHEDULES.path(name=standing.name, sub="status"), body, Object)
        except NotFound:
            continue  # deleted a moment ago
        except ApiFailure as error:
            failed.append(error)
    return failed
