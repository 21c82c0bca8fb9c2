"""One look without a controller that stays: what is due, and doing it while nobody else does."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from gpuctl.base.errors import ConflictError, GpuctlError
from gpuctl.controllers.lease import DURATION_S, RETRY_S, Lease
from gpuctl.controllers.logs import Log
from gpuctl.controllers.windows.controller import Election
from gpuctl.controllers.windows.look import Due, Looker, Settings
from gpuctl.controllers.windows.metrics import Metrics
from gpuctl.controllers.windows.sources import Listed
from gpuctl.controllers.windows.timekeeping import ServerClock
from gpuctl.kube.api import Api


class Looked(NamedTuple):
    """What was due on a cluster, and whether all of it was done (or nothing was to be)."""

    cluster: str
    due: Due
    well: bool


def once(api: Api, settings: Settings, election: Election, log: Log, *, metrics: Metrics, dry_run: bool) -> Looked:
    """Look once, and carry out what is due unless ``dry_run``.

    Raises:
        ApiFailure: the cluster cannot be read.
        ConflictError: ``another-leads``: a controller runs, and does this anyway.
    """
    lease = Lease(api, namespace=election.namespace, name=election.name, identity=election.identity)
    clock = ServerClock(api)
    looker = Looker(api, Listed(api), settings, log=log, metrics=metrics, may=lease.held, now=clock.now)
    if dry_run:
        return Looked(settings.cluster, looker.due(clock.now()), well=True)
    with _leading(lease, settings.cluster):
        now = clock.now()
        due = looker.due(now)  # decided by who leads, not before
        well = looker.carry_out(due, now)
        looker.close()
    return Looked(settings.cluster, due, well)


@contextmanager
def _leading(lease: Lease, cluster: str) -> Iterator[None]:
    """Hold the Lease meanwhile. One whose holder died runs out after its duration, and only watching it tells."""
    ends = time.monotonic() + DURATION_S + RETRY_S
    while not lease.attempt():
        if time.monotonic() > ends:
            raise ConflictError(
                f"cannot act on {cluster}: {lease.holder or 'another controller'} leads there",
                code="another-leads",
                hint="gpuctl controller windows --dry-run    shows what is due without acting",
            )
        time.sleep(1.0)
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lease, done), name="lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join(10)
        lease.release()


def _renew(lease: Lease, done: threading.Event) -> None:
    while not done.wait(RETRY_S):
        try:
            lease.attempt()
        except GpuctlError:
            continue  # who cannot renew loses it, and then nothing is written any more
