"""Telling of attempts that failed while one stays with a job: between them its logs are silent."""

import time

from gpuctl.base.errors import GpuctlError
from gpuctl.cli.session import Session
from gpuctl.model.job import Attempt, Job, State
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
        last = max(job.attempts, key=lambda attempt: attempt.number, default=None)
        if job.state is not State.QUEUED or last is None or last.ended_at is None or last.number <= self._told:
            return
        self._told = last.number
        self._session.say(_sentence(job, last))


def _sentence(job: Job, last: Attempt) -> str:
    """``job/train-k3f9: attempt 1 failed (exit code 3); attempt 2 may start in 9s, at 20:13 UTC``."""
    what = f"was {last.state.value}" if last.state in {State.CUT, State.LOST} else last.state.value
    if last.exit is not None:
        how = f"signal {last.exit.signal}" if last.exit.signal is not None else f"exit code {last.exit.code}"
        what += f" ({how})"
    follows = job.reason.sentence if job.reason is not None and job.reason.sentence else f"attempt {last.number + 1} follows"
    return f"job/{job.name}: attempt {last.number} {what}; {follows}"
