"""The instant by the API server's clock, by which replicas on machines that disagree agree; it never goes back."""

import threading
from datetime import datetime, timedelta

from gpuctl.base import clock
from gpuctl.kube.api import Api

TOLERATED_SKEW_S = 2.0
"""Differences below this are the Date header's own (it tells whole seconds) and that of several API servers."""


class ServerClock:
    """A clock that follows the API server's answers.

    The offset is kept until it is off by more than the tolerance: one that flickered around it would jump, and an edge that has been passed
    must not lie ahead again.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._latest: datetime | None = None
        self.ahead = 0.0
        """Seconds that the server's clock is ahead of this machine's, as far as that matters."""

    def now(self) -> datetime:
        """The present instant in UTC.

        Raises:
            ApiFailure: no answer has come yet, and none can be had.
        """
        told = self._api.clock_skew()
        with self._lock:
            if abs(told - self.ahead) > TOLERATED_SKEW_S:
                self.ahead = told if abs(told) > TOLERATED_SKEW_S else 0.0
            found = clock.now() + timedelta(seconds=self.ahead)
            if self._latest is None or found > self._latest:
                self._latest = found
            return self._latest
