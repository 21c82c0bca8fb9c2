"""Telling of attempts that failed while one stays with a job: between them its logs are silent."""

import time

from gpuctl.base.errors import GpuctlError
from gpuctl.cli import starting
from gpuctl.cli.session import Session
from gpuctl.model.job import Job, State
from gpuctl.port.stream import Stop

_EVERY = 1.0
"""Seconds between two looks at a job while nothing is heard of it."""


class TellingAttempts:
    """A ``Stop`` that uses the pauses of whoever waits with it to look at the job, and says once of each ended attempt what follows it.

    Args:
        session: streams and pool.
        job: may be started again; an array's tasks are too many to tell of.
        stop: what ends the wait.
    """

    def __init__(self, session: Session, job: Job, *, stop: Stop) -> None:
        self._session = session
        self._job = job
        self._stop = stop
        self._told = 0
        self._next = 0.0
        self._expected = job.spec.array is None and (job.spec.retries > 0 or job.spec.requeue)

    def is_set(self) -> bool:
        """Whether to stop now."""
        return self._stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep as the other one does; whether to stop now."""
        if self._expected and time.monotonic() >= self._next and not self._stop.is_set():
            self._look()
            self._next = time.monotonic() + _EVERY
        return self._stop.wait(timeout)

    def _look(self) -> None:
        try:
            job = self._session.pool.job(self._job.id)
        except GpuctlError:
            return  # whoever waits meets the same, and knows what to make of it
        last = starting.ended_attempt(job)
        if job.state is not State.QUEUED or last is None or last.number <= self._told:
            return
        self._told = last.number
        self._session.say(starting.waiting_sentence(job))
