"""The controller of one cluster: keeps its Lease, and looks whenever something has changed or the clock says so."""

import threading
from datetime import datetime
from typing import NamedTuple

from gpuctl.base import clock
from gpuctl.base.errors import GpuctlError
from gpuctl.controllers.lease import RETRY_S, Lease, monotonic
from gpuctl.controllers.logs import Log, Once
from gpuctl.controllers.windows.look import Due, Looker, Settings
from gpuctl.controllers.windows.metrics import Metrics
from gpuctl.controllers.windows.sources import Watched
from gpuctl.controllers.windows.timekeeping import TOLERATED_SKEW_S, ServerClock
from gpuctl.kube.api import Api

LEASE = "gpuctl-window-controller"
REST_S = 60.0
"""The longest time between two looks."""
BUSY_S = 5.0
"""The same while a switch waits for something that no watch tells: a disruption budget, a node that has to stay closed for a moment."""
GATHER_S = 0.5
"""So long changes are gathered before a look: a switch of a thousand nodes is a thousand changes."""
STUCK_S = 180.0
"""A look that takes longer has got stuck."""


class Election(NamedTuple):
    """Where replicas agree on who acts: a Lease of that name in that namespace; ``identity`` is this one's own."""

    namespace: str
    identity: str
    name: str = LEASE


class Controller:
    """Hands over the nodes of one cluster for as long as it runs.

    Args:
        api: the cluster.
        settings: see there.
        election: see there.
        log: is told everything.
        metrics: are counted.
    """

    def __init__(self, api: Api, settings: Settings, election: Election, log: Log, *, metrics: Metrics) -> None:
        self._api = api
        self._cluster = settings.cluster
        self._log = log
        self._metrics = metrics
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._source = Watched(api, changed=self._changed.set)
        self._lease = Lease(api, namespace=election.namespace, name=election.name, identity=election.identity)
        self._clock = ServerClock(api)
        self._looker = Looker(api, self._source, settings, log=log, metrics=metrics, may=self._lease.held, now=self._clock.now)
        self._once = Once()
        self._turned = monotonic()
        self._candidate = threading.Thread(target=self._campaign, name="lease", daemon=True)

    def run(self) -> None:
        """Run until :meth:`stop`; the Lease is given back at the end."""
        self._source.start()
        self._candidate.start()
        try:
            while not self._stop.is_set():
                self._turned = monotonic()
                wait = self._turn()
                self._changed.wait(wait)
                if self._changed.is_set():
                    self._stop.wait(GATHER_S)
        finally:
            self._stop.set()
            self._candidate.join(10)
            self._looker.close()
            try:
                self._lease.release()
            except GpuctlError as error:
                self._log.warning("the lease could not be given back", why=error.message)
            self._source.stop()

    def stop(self) -> None:
        """Ask :meth:`run` to end. May be called from a signal handler's thread."""
        self._stop.set()
        self._changed.set()

    def alive(self) -> str | None:
        """What is wrong with this process, None when it works: whether it still turns, listens and runs for the Lease."""
        if not self._stop.is_set() and not (self._candidate.is_alive() and self._source.alive()):
            return f"{self._cluster}: a part of it has died"
        silent = monotonic() - self._turned
        return f"{self._cluster}: stuck for {silent:.0f} s" if silent > STUCK_S + REST_S else None

    def ready(self) -> str | None:
        """Why it does not see its cluster, None when it does."""
        error = self._source.error()
        if error is not None:
            return f"{self._cluster}: {error.message}"
        return None if self._source.synced() else f"{self._cluster}: still reading"

    def now(self) -> datetime:
        """The present instant; what is odd about this machine's clock is told."""
        found = self._clock.now()
        self._metrics.skew.labels(self._cluster).set(self._clock.ahead)
        odd = abs(self._clock.ahead) > TOLERATED_SKEW_S
        text = "this machine's clock is not the API server's, which counts" if odd else None
        self._once.changed("skew", text, self._log.warning, seconds=round(self._clock.ahead))
        return found

    def _turn(self) -> float:
        """Look once, if this replica leads and sees everything; seconds until the next look at the latest."""
        self._changed.clear()
        if not self._lease.held() or not self._source.synced():
            error = self._source.error()
            self._once.changed("source", error.message if error else None, self._log.error, hint=error.hint if error else None)
            return RETRY_S
        try:
            now = self.now()
            with self._metrics.seconds.labels(self._cluster).time():
                due = self._looker.due(now)
                well = self._looker.carry_out(due, now)
        except GpuctlError as error:
            self._metrics.passes.labels(self._cluster, "failed").inc()
            self._once.changed("look", error.message, self._log.error, cause=error.cause)
            return BUSY_S
        self._once.changed("look", None, self._log.error)
        self._metrics.passes.labels(self._cluster, "done" if well else "held up").inc()
        if well:
            self._metrics.last_pass.labels(self._cluster).set(clock.now().timestamp())
        return _until_next(due, self.now(), well=well)

    def _campaign(self) -> None:
        led = False
        while not self._stop.is_set():
            try:
                self._lease.attempt()
                self._once.changed("lease", None, self._log.error)
            except GpuctlError as error:
                self._once.changed("lease", f"the lease cannot be kept: {error.message}", self._log.error, cause=error.cause)
            leads = self._lease.held()
            self._metrics.leader.labels(self._cluster).set(int(leads))
            if leads != led:
                self._log.info("leads now" if leads else "leads no longer", identity=self._lease.identity, holder=self._lease.holder)
                led = leads
                self._changed.set()
            self._stop.wait(RETRY_S)


def _until_next(due: Due, now: datetime, *, well: bool) -> float:
    most = BUSY_S if due.plan.busy or not well else REST_S
    if due.plan.wake_at is None:
        return most
    return max(0.1, min(most, (due.plan.wake_at - now).total_seconds()))
