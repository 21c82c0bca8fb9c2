"""What the end of a job means for whoever waited: one sentence, and one exit code."""

from collections.abc import Iterable

from gpuctl.base import clock, duration
from gpuctl.base.exitcodes import ExitCode
from gpuctl.model.job import Job, State


def code_of(job: Job) -> int:
    """The exit code that stands for an ended job: its own, 128 + n for a signal, 143 when cancelled, 125 when cut or lost.

    A job that failed without a code of its own is 1; one that has not ended is 8.
    """
    if job.state is State.SUCCEEDED:
        return ExitCode.OK
    if job.state is State.FAILED:
        return (job.exit.status if job.exit is not None else 0) or ExitCode.FAILED
    if job.state is State.CANCELLED:
        return ExitCode.CANCELLED
    if job.state.final:
        return ExitCode.INTERNAL
    return ExitCode.NOT_FINISHED


def highest(jobs: Iterable[Job]) -> int:
    """The code of several jobs: the highest of theirs."""
    return max((code_of(job) for job in jobs), default=ExitCode.OK)


def sentence(job: Job) -> str:
    """``job/train-k3f9 failed after 3m05s: rank 2 ended with exit code 1``."""
    detail = _detail(job)
    if job.started_at is None or job.ended_at is None:
        return f"job/{job.name} {with_standing(job, detail)}"
    text = f"job/{job.name} {standing(job)} after {duration.short(clock.elapsed(job.started_at, job.ended_at))}"
    detail = _beyond(job, detail)
    return f"{text}: {detail}" if detail else text


def with_standing(job: Job, said: str) -> str:
    """Standing and a sentence about it, without the state twice: ``was cancelled by ben``, ``is queued behind 2 jobs``, ``failed: ...``."""
    rest = _beyond(job, said)
    if rest == said:
        return f"{standing(job)}: {said}" if said else standing(job)
    return f"{standing(job)}{'' if rest.startswith(',') or not rest else ' '}{rest}"


def _beyond(job: Job, said: str) -> str:
    """What a sentence says beyond the state that it may begin with."""
    for word in (standing(job), job.state.value):
        if said == word or said.startswith((f"{word} ", f"{word},")):
            return said[len(word) :].lstrip(" ")
    return said


def standing(job: Job) -> str:
    """Its state as a verb: ``is queued``, ``failed``, ``was cut``."""
    if job.state in {State.CANCELLED, State.CUT, State.LOST}:
        return f"was {job.state.value}"
    return job.state.value if job.state.final else f"is {job.state.value}"


def _detail(job: Job) -> str:
    if job.state in {State.SUCCEEDED, State.RUNNING}:
        return ""
    if job.reason is not None and job.reason.sentence:
        return job.reason.sentence
    if job.state is State.FAILED and job.exit is not None:
        return f"signal {job.exit.signal}" if job.exit.signal is not None else f"exit code {job.exit.code}"
    return job.reason.code if job.reason is not None else ""
