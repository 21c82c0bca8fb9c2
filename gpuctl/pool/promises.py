"""Which promises a specification asks for, by the flag that asked."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from gpuctl.model.spec import JobSpec
from gpuctl.port.capability import Capability


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One promise: what it needs, the flag that asks for it, whether a spec asks, and the fields that no longer do."""

    capability: Capability
    flag: str
    asked: Callable[[JobSpec], bool]
    without: dict[str, Any]


PROMISES: tuple[Promise, ...] = (
    Promise(capability=Capability.RETRIES, flag="--retries", asked=lambda spec: spec.retries > 0, without={"retries": 0}),
    Promise(capability=Capability.REQUEUE, flag="--requeue", asked=lambda spec: spec.requeue, without={"requeue": False}),
    Promise(capability=Capability.AFTER, flag="--after", asked=lambda spec: bool(spec.after), without={"after": ()}),
    Promise(capability=Capability.NOTIFY, flag="--notify", asked=lambda spec: spec.notify is not None, without={"notify": None}),
    Promise(capability=Capability.MAX_COST, flag="--max-cost", asked=lambda spec: spec.max_cost is not None, without={"max_cost": None}),
    Promise(capability=Capability.FIT_WINDOW_WAIT, flag="--fit-window", asked=lambda spec: spec.fit_window, without={"fit_window": False}),
    Promise(capability=Capability.SIGNAL, flag="--signal", asked=lambda spec: spec.signal is not None, without={"signal": None}),
    Promise(capability=Capability.HOLD, flag="--hold", asked=lambda spec: spec.hold, without={"hold": False}),
    Promise(capability=Capability.SNAPSHOT, flag="--snapshot", asked=lambda spec: spec.snapshot, without={"snapshot": False}),
)

ARRAY = Promise(
    capability=Capability.ARRAY_PARALLEL, flag="--array", asked=lambda spec: spec.array is not None and spec.nodes > 1, without={}
)
"""An array of jobs of several nodes. Not among those that ``--best-effort`` can drop: without it, it would be another job."""


def asked(spec: JobSpec) -> tuple[Promise, ...]:
    """The promises that the spec needs somebody to keep."""
    return tuple(promise for promise in (*PROMISES, ARRAY) if promise.asked(spec))


def unkept(promises: Iterable[Promise], capabilities: frozenset[Capability]) -> tuple[Promise, ...]:
    """Those of ``promises`` that nothing with these capabilities keeps."""
    return tuple(promise for promise in promises if promise.capability not in capabilities)


def without(spec: JobSpec, dropped: Iterable[Promise]) -> JobSpec:
    """The spec that no longer asks for them (``--best-effort``)."""
    fields: dict[str, Any] = {}
    for promise in dropped:
        fields.update(promise.without)
    return msgspec.structs.replace(spec, **fields) if fields else spec
