"""What follows an attempt that has ended: another one, or the end of the job.

* A failure of the job's own uses up one of its retries and is followed by a growing pause: 10 s, 20 s, 40 s ... at most 10 min.
* A loss that was not the job's fault (``infrastructure``, or the state lost) is followed by another attempt, uncounted, if retries or
  requeue were asked for: starting a program a second time is only right when its owner said that it may be. If
  the program never began, it is tried again in any case, up to 5 attempts.
* What a window or its time limit cut is started again at once if requeue was asked for.
"""

from datetime import datetime, timedelta

from gpuctl.base import duration
from gpuctl.model.job import State
from gpuctl.model.reason import Reason
from gpuctl.policy.values import EndedAttempt, Finish, QueueJob, Retry

FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=10)
MOST_UNBEGUN = 5
"""Attempts of a job that asked for nothing and whose program never began."""


def pause(attempt: int) -> timedelta:
    """How long to wait after attempt number ``attempt`` (from 1): 10 s x 2^(attempt - 1), at most 10 min."""
    doublings = min(max(0, attempt - 1), 16)
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << doublings))


def judge(job: QueueJob, ended: EndedAttempt, now: datetime) -> Retry | Finish:
    """Whether attempt ``ended`` is the job's end. An end in the future (the clock went back) counts as now."""
    since = min(ended.at, now)
    if ended.state in (State.FAILED, State.LOST) and (ended.infrastructure or ended.state is State.LOST):
        asked = job.requeue or job.retries > 0 or job.retries_left > 0
        if asked or (not ended.began and ended.number < MOST_UNBEGUN):
            return _again(job, ended, since + pause(ended.number), counts=False, why="was lost through no fault of its own")
    elif ended.state is State.FAILED and job.retries_left > 0:
        left = job.retries_left - 1
        why = f"failed ({_how(ended)}), {left} {'retry' if left == 1 else 'retries'} left after the next"
        return _again(job, ended, since + pause(ended.number), counts=True, why=why)
    elif ended.state is State.CUT and job.requeue:
        return _again(job, ended, since, counts=False, why="was cut and may be started again")
    return Finish(job=job.id, state=ended.state, exit=ended.exit)


def _again(job: QueueJob, ended: EndedAttempt, at: datetime, *, counts: bool, why: str) -> Retry:
    wait = (at - min(ended.at, at)).total_seconds()
    when = f"in {duration.short(wait)}" if wait else "at once"
    reason = Reason(code="retrying", sentence=f"attempt {ended.number} {why}; attempt {ended.number + 1} starts {when}", what="wait")
    return Retry(job=job.id, not_before=at, counts=counts, reason=reason)


def _how(ended: EndedAttempt) -> str:
    if ended.exit is None:
        return "no exit code"
    return f"signal {ended.exit.signal}" if ended.exit.signal is not None else f"exit code {ended.exit.code}"
