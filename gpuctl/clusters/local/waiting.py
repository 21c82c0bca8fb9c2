"""Waiting for jobs to end, without a daemon and without spinning.

Two cheap questions are asked between naps: did anybody change the store (``PRAGMA data_version``), and did a journal grow (one ``stat``
per running launch)? Only then is anything read. Naps grow from 20 ms to 250 ms while nothing happens.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from gpuctl.base.errors import TimeoutReachedError
from gpuctl.clusters.local import alive, ingest
from gpuctl.clusters.local.lookup import Found
from gpuctl.clusters.local.store import Database, launches
from gpuctl.port.stream import Stop

_FIRST_NAP = 0.02
_LONGEST_NAP = 0.25
_LOOK_AROUND_SECONDS = 2.0


def final_ones(
    database: Database,
    wanted: Sequence[Found],
    *,
    refresh: Callable[[], None],
    is_final: Callable[[Found], bool],
    stop: Stop,
    timeout: float | None,
) -> Iterator[Found]:
    """Yield each once it is final, in the order in which they end; return early when asked to stop.

    Args:
        database: the store.
        wanted: what to wait for.
        refresh: ingest, heal and see to the queue.
        is_final: whether one of them has ended, read from the store.
        stop: ends the waiting early.
        timeout: seconds, None for ever.

    Raises:
        TimeoutReachedError: some were not final within ``timeout`` seconds.
    """
    left = list(wanted)
    deadline = None if timeout is None else time.monotonic() + timeout
    nap = _FIRST_NAP
    seen: object = None
    looked = 0.0
    while True:
        present = _signature(database)
        if present != seen or time.monotonic() - looked > _LOOK_AROUND_SECONDS:
            refresh()
            seen, looked, nap = _signature(database), time.monotonic(), _FIRST_NAP
            ended = [each for each in left if is_final(each)]
            left = [each for each in left if each not in ended]
            yield from ended
        if not left:
            return
        if deadline is not None and time.monotonic() >= deadline:
            names = ", ".join(each.name for each in left)
            raise TimeoutReachedError(f"{names} did not end within {timeout:g} s", hint=f"gpuctl wait {left[0].name}")
        pause = nap if deadline is None else min(nap, max(0.0, deadline - time.monotonic()))
        if stop.wait(pause):
            return
        nap = min(nap * 1.5, _LONGEST_NAP)


def _signature(database: Database) -> object:
    """What differs when anything happened that could matter to us."""
    with database.read() as connection:
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        opened = launches.opened(connection)
    paths = database.paths
    return version, tuple(
        (launch.job, launch.number, ingest.has_news(paths, launch), alive.lives(alive.path_of(paths, launch.job, launch.number)))
        for launch in opened
    )
