"""The keeper: ``python -m gpuctl.clusters.local.keeper --state DIR --cluster NAME [--options JSON]``.

One per user and machine, by a file lock; it lives for as long as something waits. It sleeps until it is woken: by a byte in the FIFO
(submits, updates, jobs' ends), by the death of a supervisor (pidfds), by an instant that the scheduler named; it polls once a second only
while what it waits for is held by others, or where the system has no pidfds.

How it leaves without missing anything: it gives up the lock, then the FIFO, then looks at the store once more. Who changed the store
before that look is seen by it; who changes it later finds neither lock nor reader and starts a keeper of its own.
"""

import argparse
import contextlib
import fcntl
import json
import os
import selectors
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from gpuctl.base import clock
from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.local import spawn
from gpuctl.clusters.local.bell import ring
from gpuctl.clusters.local.paths import StatePaths
from gpuctl.clusters.local.rounds import Outlook, Rounds
from gpuctl.clusters.local.tickets import Tickets

MODULE = "gpuctl.clusters.local.keeper"
_LOG_LIMIT = 1 << 20
_POLL_SECONDS = 1.0
_LONGEST_SLEEP = 600.0
_LOCK_PATIENCE = 60.0


def argv(*, state: str, cluster: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """The command line that starts a keeper for this store."""
    extra = ("--options", json.dumps(dict(sorted(options.items())))) if options else ()
    return spawn.python_argv(MODULE, "--state", state, "--cluster", cluster, *extra)


class Keeper:
    """The loop.

    Args:
        rounds: what a keeper does each time it wakes.
        paths: where the lock and the FIFO are.
        tickets: ours in the line of all users.
        stale: whether the store was set aside, or migrated by a newer gpuctl, since it was opened.
    """

    def __init__(self, rounds: Rounds, paths: StatePaths, *, tickets: Tickets, stale: Callable[[], bool]) -> None:
        self._rounds = rounds
        self._paths = paths
        self._tickets = tickets
        self._stale = stale

    def run(self) -> bool:
        """Keep until nothing waits, or return at once when another keeper does; whether a fresh process has to go on instead of this one.

        Raises:
            GpuctlError: the store cannot be used any more.
        """
        fd = os.open(self._paths.keeper_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while _lock(fd, self._paths):
                with contextlib.closing(Watch(self._paths.wake)) as watch:
                    outlook = self._rounds.run(held=self._tickets)
                    while outlook.waiting:
                        watch.sleep(outlook)
                        if self._stale():
                            return True
                        outlook = self._rounds.run(held=self._tickets)
                    fcntl.flock(fd, fcntl.LOCK_UN)
                if not self._rounds.anything_waits():
                    return False
            return False
        finally:
            os.close(fd)


class Watch:
    """Sleeps until something happens that a keeper cares for."""

    def __init__(self, fifo: str) -> None:
        # Open for writing too: with a writer of our own the FIFO never reads as ended.
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._fifo, selectors.EVENT_READ)
        self._supervisors: dict[int, int] = {}

    def sleep(self, outlook: Outlook) -> None:
        """Until a byte, a supervisor's death, or the instant at which to look again."""
        blind = self._follow(outlook.supervisors) or outlook.unknown > 0
        seconds = _POLL_SECONDS if outlook.poll or blind else _LONGEST_SLEEP
        if outlook.wake_at is not None:
            seconds = min(seconds, max(0.0, (outlook.wake_at - clock.now()).total_seconds()))
        self._selector.select(seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fifo, 4096):
                pass
        spawn.reap_children()

    def _follow(self, pids: Iterable[int]) -> bool:
        """Watch exactly these processes; whether one of them cannot be watched."""
        wanted = set(pids)
        for pid in self._supervisors.keys() - wanted:
            self._forget(pid)
        blind = False
        for pid in wanted - self._supervisors.keys():
            try:
                self._supervisors[pid] = os.pidfd_open(pid)
            except (AttributeError, OSError):
                blind = True  # no pidfds here, or it is dead already: the next round sees that
                continue
            self._selector.register(self._supervisors[pid], selectors.EVENT_READ)
        return blind

    def _forget(self, pid: int) -> None:
        fd = self._supervisors.pop(pid)
        self._selector.unregister(fd)
        os.close(fd)

    def close(self) -> None:
        """Stop listening: from now on nobody takes us for a keeper."""
        for pid in list(self._supervisors):
            self._forget(pid)
        self._selector.close()
        os.close(self._fifo)


def _lock(fd: int, paths: StatePaths) -> bool:
    """Take the keeper's lock; False when a keeper has it. A command in the middle of its rounds is waited for."""
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if ring(paths.wake):
                return False
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one keeper; 0 also when another one keeps already."""
    from gpuctl.clusters.local.cluster import build_at

    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}")
    parser.add_argument("--state", required=True)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--options", default="{}")
    chosen = parser.parse_args(arguments)
    os.umask(0o077)
    _rotate(StatePaths(root=chosen.state).keeper_log)
    try:
        cluster = build_at(chosen.state, chosen.cluster, json.loads(chosen.options))
        with contextlib.closing(cluster):
            cluster.keep()
    except GpuctlError as error:
        stamp = clock.rfc3339(clock.now())
        sys.stderr.write(f"{stamp} error[{error.code}]: {error.message}" + (f" ({error.cause})" if error.cause else "") + "\n")
        return int(error.exit_code)
    return 0


def _rotate(path: str) -> None:
    """Begin a new log when the present one is large; one old one is kept."""
    with contextlib.suppress(OSError):
        if os.stat(path).st_size > _LOG_LIMIT:
            os.replace(path, f"{path}.1")


if __name__ == "__main__":
    raise SystemExit(main())
