"""Leader election by a Lease: of several replicas one acts.

The rules are those of client-go: a record that has not changed for its duration, as measured here since it was last seen to change, may be
taken over, so that no two clocks are ever compared. Who could not renew for two thirds of the duration leads no longer. The clock goes on
while the machine sleeps, and a process that was stopped finds itself deposed when it wakes.

Leading is no permission to be careless: a process may be stopped between asking and writing, so every write has preconditions of its own.
The election keeps replicas from doing each other's work, not from harm.

Source: https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
"""

import dataclasses
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from gpuctl.base import clock as wall
from gpuctl.kube.api import Api
from gpuctl.kube.errors import AlreadyExists, Conflict, NotFound
from gpuctl.kube.objects.meta import Meta
from gpuctl.kube.resources import Resource

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
DURATION_S = 15.0
RENEW_WITHIN_S = 10.0
RETRY_S = 2.0


class LeaseSpec(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """Who leads. Absent fields are None."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int | None = None


class LeaseObject(msgspec.Struct, rename="camel", frozen=True):
    """A Lease."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: LeaseSpec = LeaseSpec()


def monotonic() -> float:
    """Seconds on a clock that is never set and does not stop while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclasses.dataclass(frozen=True)
class _Observed:
    record: tuple[str, str]
    at: float


class Lease:
    """One candidate.

    Args:
        api: the cluster.
        namespace: of the Lease.
        name: of the Lease; candidates for one job name the same.
        identity: of this candidate, unique among them.
        clock: seconds; see :func:`monotonic`.
    """

    def __init__(self, api: Api, *, namespace: str, name: str, identity: str, clock: Callable[[], float] = monotonic) -> None:
        self.identity = identity
        self._api = api
        self._namespace = namespace
        self._path = LEASES.path(namespace, name)
        self._name = name
        self._clock = clock
        self._renewed: float | None = None
        self._observed: _Observed | None = None
        self.holder: str | None = None

    def held(self) -> bool:
        """Whether this candidate leads now, without asking anybody."""
        return self._renewed is not None and self._clock() - self._renewed < RENEW_WITHIN_S

    def attempt(self) -> bool:
        """Take or renew the Lease if that may be done; whether this candidate leads.

        Raises:
            ApiFailure: the Lease cannot be read or written.
        """
        asked = self._clock()
        try:
            found = self._api.get(self._path, LeaseObject)
        except NotFound:
            return self._create(asked)
        self._observe(found, asked)
        self.holder = found.spec.holder_identity or None
        mine = self.holder == self.identity
        if not mine and self.holder is not None and not self._expired(found, asked):
            self._renewed = None
            return False
        now = wall.now()
        spec = LeaseSpec(
            holder_identity=self.identity,
            lease_duration_seconds=int(DURATION_S),
            acquire_time=found.spec.acquire_time if mine else now,
            renew_time=now,
            lease_transitions=(found.spec.lease_transitions or 0) + (0 if mine else 1),
        )
        try:
            self._api.replace(self._path, self._body(spec, found.metadata.resource_version), LeaseObject)
        except (Conflict, NotFound):
            self._renewed = None
            return False
        self._renewed, self.holder = asked, self.identity
        return True

    def release(self) -> None:
        """Give the Lease back, so that the next one need not wait. Does nothing where this candidate does not lead."""
        if self._renewed is None:
            return
        self._renewed = None
        try:
            found = self._api.get(self._path, LeaseObject)
            if found.spec.holder_identity == self.identity:
                spec = LeaseSpec(lease_duration_seconds=1, renew_time=wall.now(), lease_transitions=found.spec.lease_transitions)
                self._api.replace(self._path, self._body(spec, found.metadata.resource_version), LeaseObject)
        except (Conflict, NotFound):
            pass

    def _create(self, asked: float) -> bool:
        now = wall.now()
        spec = LeaseSpec(
            holder_identity=self.identity, lease_duration_seconds=int(DURATION_S), acquire_time=now, renew_time=now, lease_transitions=0
        )
        try:
            self._api.create(LEASES.path(self._namespace), self._body(spec, None), LeaseObject)
        except AlreadyExists:
            return False
        self._renewed, self.holder = asked, self.identity
        return True

    def _observe(self, found: LeaseObject, at: float) -> None:
        record = (found.metadata.uid, found.metadata.resource_version)
        if self._observed is None or self._observed.record != record:
            self._observed = _Observed(record, at)

    def _expired(self, found: LeaseObject, at: float) -> bool:
        assert self._observed is not None
        return at - self._observed.at >= (found.spec.lease_duration_seconds or DURATION_S)

    def _body(self, spec: LeaseSpec, version: str | None) -> dict[str, Any]:
        metadata = {"name": self._name, "namespace": self._namespace}
        if version is not None:
            metadata["resourceVersion"] = version
        times = {"acquireTime": spec.acquire_time, "renewTime": spec.renew_time}
        written = {key: _micro(each) for key, each in times.items() if each is not None}
        rest = {key: each for key, each in msgspec.to_builtins(spec).items() if key not in times}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": {**rest, **written}}


def _micro(at: datetime) -> str:
    """As the API wants a MicroTime."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
