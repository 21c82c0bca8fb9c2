"""Telling the keeper of the queue that something changed, and starting one where there is none."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence

from gpuctl.clusters.local.bell import ring


class KeeperCall:
    """How to reach the keeper.

    Args:
        pipe: the named pipe on which it waits; None where there is no queue.
        argv: starts one; empty: none is started from here.
    """

    def __init__(self, pipe: str | None, argv: Sequence[str]) -> None:
        self._pipe = pipe
        self._argv = list(argv)
        self._woken_at = 0.0

    def wake(self, *, at_most_every: float = 0.0) -> bool:
        """Tell the keeper that something changed, unless it was told less than so many seconds ago; False when there is none."""
        now = time.monotonic()
        if self._pipe is None or now - self._woken_at < at_most_every:
            return True
        self._woken_at = now
        return ring(self._pipe)

    def call(self, null: int) -> None:
        """Wake the keeper, or start one, with the descriptor ``null`` (of /dev/null) for its streams."""
        if not self.wake() and self._argv:
            self._start(null)

    def _start(self, null: int) -> None:
        with contextlib.suppress(OSError):
            os.posix_spawnp(
                self._argv[0],
                self._argv,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, null, target) for target in range(3)],
                setsid=True,
                setsigmask=(),
                setsigdef=[signal.SIGPIPE, signal.SIGHUP, signal.SIGINT],
            )
