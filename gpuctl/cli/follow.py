"""Following a job to its end: why it waits, what it prints, how it ended. For ``run``, ``submit --follow`` and ``--wait``, ``shell``."""

import time

import msgspec

from gpuctl.base import duration
from gpuctl.base.errors import TimeoutReachedError
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli import outcome, starting
from gpuctl.cli.interrupt import Interrupt
from gpuctl.cli.retrying import TellingAttempts
from gpuctl.cli.session import Session
from gpuctl.model.ask import LogQuery
from gpuctl.model.job import Job
from gpuctl.port.stream import Stop

_PAUSE = 0.05
"""Seconds between the end of its logs and the next look at a job whose end is not recorded yet."""


class Deadline:
    """A ``Stop`` that is set by another one, or when the time is over."""

    def __init__(self, stop: Interrupt, timeout: float | None) -> None:
        self._stop = stop
        self._ends = None if timeout is None else time.monotonic() + timeout

    def is_set(self) -> bool:
        """Whether to stop now."""
        return self._stop.is_set() or self.passed

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep, but no longer than until there is a reason to stop; whether to stop now."""
        left = self.left
        self._stop.wait(left if timeout is None else timeout if left is None else min(timeout, left))
        return self.is_set()

    @property
    def left(self) -> float | None:
        """Seconds until the time is over, None without a limit."""
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self._ends is not None and time.monotonic() >= self._ends


def to_end(session: Session, job: Job, *, logs: bool, timeout: float | None = None, query: LogQuery | None = None) -> int:
    """Stay with ``job`` until it is final; its exit code (``outcome.code_of``), or 130 when Ctrl-C ended the wait.

    Why it waits goes to stderr whenever that changes, its logs to stdout, and how it (and each attempt before) ended to
    stderr. The end of its logs says nothing: the job is read again.

    Args:
        session: streams and pool.
        job: as it is known now.
        logs: whether to print what its ranks write.
        timeout: seconds to stay, None for as long as it takes.
        query: which logs, all of them by default; always followed.

    Raises:
        TimeoutReachedError: after ``timeout``; the job goes on.
    """
    with Interrupt(session, sentence=goes_on(job.name)) as interrupt:
        stop = Deadline(interrupt, timeout)
        job = starting.until_started(session, job, stop=stop)
        telling = TellingAttempts(session, job, stop=stop)
        if logs and not stop.is_set():  # also of a job that has ended meanwhile
            _print_logs(session, job, stop=telling, query=query)
        job = session.pool.job(job.id)
        while not job.final and not stop.wait(_PAUSE):
            _wait(session, job, stop=telling, timeout=stop.left)
            job = session.pool.job(job.id)
    if job.final:
        return _ended(session, job)
    if interrupt.is_set():
        return interrupt.code
    raise TimeoutReachedError(
        f"job/{job.name} did not end in {duration.short(timeout or 0)}: it is {job.state.value}",
        hint=f"gpuctl wait {job.name}    or: gpuctl cancel {job.name}",
    )


def goes_on(name: str) -> str:
    """What the first Ctrl-C says."""
    return f"job/{name} goes on without this terminal\nhint: gpuctl logs -f {name}    or: gpuctl cancel {name}"


def _ended(session: Session, job: Job) -> int:
    code = outcome.code_of(job)
    session.say(outcome.sentence(job))
    if code not in {ExitCode.OK, ExitCode.CANCELLED}:
        session.say(f"hint: gpuctl why {job.name}")
    return code


def _print_logs(session: Session, job: Job, *, stop: Stop, query: LogQuery | None) -> None:
    """Print until the job has ended or there is a reason to stop."""
    chosen = msgspec.structs.replace(query if query is not None else LogQuery(), follow=True)
    out = session.binary_out
    for block in session.pool.logs(job.id, chosen, stop=stop):
        out.write(block)
        out.flush()


def _wait(session: Session, job: Job, *, stop: Stop, timeout: float | None) -> None:
    try:
        for _ in session.pool.wait([job.id], stop=stop, timeout=timeout):
            pass
    except TimeoutReachedError:
        pass  # told by the caller, who knows what was waited for
