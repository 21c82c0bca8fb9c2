"""Waiting for a job to start, and saying on stderr why it does not yet."""

from gpuctl.cli import outcome
from gpuctl.cli.session import Session
from gpuctl.cli.show.progress import Progress
from gpuctl.model.job import Attempt, Job, State
from gpuctl.port.stream import Stop

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


def until_started(session: Session, job: Job, *, stop: Stop) -> Job:
    """The job as it is once it is no longer queued, or as it was when ``stop`` was set."""
    if not _waits(job):
        return job
    pause = _FIRST_PAUSE
    with Progress(session, waiting_sentence(job)) as progress:
        while _waits(job) and not stop.wait(pause):
            job = session.pool.job(job.name)
            if _waits(job):
                progress.update(waiting_sentence(job))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    return job


def _waits(job: Job) -> bool:
    return job.state is State.QUEUED


def waiting_sentence(job: Job) -> str:
    """``job/train-k3f9 is queued behind 2 jobs``; between attempts ``job/train-k3f9: attempt 1 failed (exit code 3); ...``."""
    last = ended_attempt(job)
    if last is not None:
        return f"job/{job.name}: attempt {last.number} {_how(last)}; {_why(job) or f'attempt {last.number + 1} follows'}"
    return f"job/{job.name} {outcome.with_standing(job, _why(job))}"


def standing(job: Job) -> str:
    """``job/train-k3f9, queued behind 2 jobs``: after a preposition."""
    return f"job/{job.name}, {outcome.with_standing(job, _why(job)).removeprefix('is ')}"


def ended_attempt(job: Job) -> Attempt | None:
    """The last attempt of a job that may have another one, if that has ended; None for an array, whose tasks have attempts of their own."""
    last = max(job.attempts, key=lambda attempt: attempt.number, default=None) if job.tasks is None else None
    return last if last is not None and last.ended_at is not None else None


def _how(ended: Attempt) -> str:
    what = f"was {ended.state.value}" if ended.state in {State.CUT, State.LOST} else ended.state.value
    if ended.exit is None:
        return what
    return f"{what} ({f'signal {ended.exit.signal}' if ended.exit.signal is not None else f'exit code {ended.exit.code}'})"


def _why(job: Job) -> str:
    return (job.reason.sentence or job.reason.code) if job.reason is not None else ""
