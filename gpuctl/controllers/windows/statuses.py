"""What a PoolSchedule's status tells: whether it is obeyed, whose its nodes are, what a switch waits for."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from gpuctl.clusters.kubernetes import names
from gpuctl.controllers.status import ACCEPTED, SWITCHED, Condition, PoolScheduleStatus
from gpuctl.controllers.windows.objects import WatchedSchedule
from gpuctl.kube.api import Api
from gpuctl.kube.errors import ApiFailure, NotFound
from gpuctl.kube.objects.meta import Object
from gpuctl.model import decoding
from gpuctl.policy.windows.marked import Standing

_LONGEST_MESSAGE = 1024
_SHOWN = 5


def status(standing: Standing, found: WatchedSchedule, now: datetime) -> PoolScheduleStatus:
    """The status of a schedule; conditions keep the instant at which they last turned."""
    before = {each.type: each for each in _conditions(found)}

    def condition(type_: str, true: bool, reason: str, message: str) -> Condition:
        value: Literal["True", "False"] = "True" if true else "False"
        old = before.get(type_)
        since = old.last_transition_time if old is not None and old.status == value else now.replace(microsecond=0)
        return Condition(
            type=type_,
            status=value,
            reason=reason,
            message=message[:_LONGEST_MESSAGE],
            last_transition_time=since,
            observed_generation=found.metadata.generation,
        )

    conditions = [condition(ACCEPTED, standing.accepted, standing.reason, standing.message)]
    if standing.accepted:
        behind = [f"{node} {text}" for node, text in sorted(standing.behind.items())]
        more = f"; and {len(behind) - _SHOWN} more" if len(behind) > _SHOWN else ""
        reason = "Waiting" if behind else "AsScheduled"
        conditions.append(condition(SWITCHED, not behind, reason, "; ".join(behind[:_SHOWN]) + more))
    return PoolScheduleStatus(
        observed_generation=found.metadata.generation,
        nodes=len(standing.nodes),
        owner=standing.owner,
        next_owner=standing.next_owner,
        next_change=standing.next_change,
        conditions=tuple(conditions),
    )


def _conditions(found: WatchedSchedule) -> tuple[Condition, ...]:
    try:
        return decoding.convert((found.status or {}).get("conditions") or [], tuple[Condition, ...])
    except msgspec.ValidationError:
        return ()  # somebody else's; ours take their place


def write(api: Api, standings: Iterable[Standing], found: Mapping[str, WatchedSchedule], now: datetime) -> list[ApiFailure]:
    """Write the statuses that have changed; what could not be written, and why."""
    failed: list[ApiFailure] = []
    for standing in standings:
        schedule = found.get(standing.name)
        if schedule is None:
            continue
        told = msgspec.json.decode(msgspec.json.encode(status(standing, schedule, now)))
        if told == schedule.status:
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
