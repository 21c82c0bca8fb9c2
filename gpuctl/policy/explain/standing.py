"""The reason of a job in whose state nothing is wrong, or about which nothing more is known than its own record."""

from gpuctl.base import clock, duration
from gpuctl.model.job import Job, State
from gpuctl.model.reason import Evidence, Reason
from gpuctl.policy.explain.ends import ENDS
from gpuctl.policy.explain.rule import Case, number

SILENT_AFTER = 600.0
"""Seconds without a log line from which on silence is worth the first word."""


def standing(case: Case, evidence: tuple[Evidence, ...]) -> Reason:
    """What the job's own record says."""
    state = case.job.state
    if state is State.RUNNING:
        return _running(case, evidence)
    if state is State.STARTING:
        return _starting(case)
    if state is State.SUCCEEDED:
        return _succeeded(case)
    if case.job.reason is not None:
        return case.job.reason
    if state is State.QUEUED:
        waited = duration.short(clock.elapsed(case.job.submitted_at, case.now))
        return Reason(code="queued", sentence=f"queued for {waited}, not looked at yet", what="wait", command=f"gpuctl job {case.name}")
    if state is State.FAILED:
        return _failed(case)
    code = {State.CANCELLED: "cancelled", State.CUT: "time-limit"}.get(state, "lost")
    return _by_rule(case, code)


def _running(case: Case, evidence: tuple[Evidence, ...]) -> Reason:
    job = case.job
    sentence = f"running for {duration.short(clock.elapsed(job.started_at, case.now))}"
    sentence += f" on {job.where}" if job.where else ""
    if job.tasks is not None:
        sentence += f", {job.tasks.ended} of {job.tasks.total} tasks ended"
    if job.ends_by is not None:
        sentence += f", {duration.short((job.ends_by - case.now).total_seconds())} left"
    quiet = next((seconds for one in evidence if one.code == "silent" and (seconds := number(one, "seconds")) is not None), None)
    if quiet is None or quiet < SILENT_AFTER:
        return Reason(code="running", sentence=sentence, command=f"gpuctl logs {case.name} -f")
    return Reason(
        code="silent",
        sentence=f"{sentence}, no log line for {duration.short(quiet)}",
        what="nothing",
        advice="see whether its processes do anything; a collective that hangs is silent too",
        command=f"gpuctl top {case.name}",
    )


def _starting(case: Case) -> Reason:
    since = max((attempt.started_at for attempt in case.job.attempts if attempt.started_at is not None), default=case.job.started_at)
    sentence = f"starting for {duration.short(clock.elapsed(since, case.now))}" if since else "starting"
    sentence += f" on {case.job.where}" if case.job.where else ""
    return Reason(code="starting", sentence=sentence, what="wait", command=f"gpuctl logs {case.name} -f")


def _succeeded(case: Case) -> Reason:
    job = case.job
    sentence = "succeeded"
    if job.started_at is not None and job.ended_at is not None:
        sentence += f" after {duration.short(clock.elapsed(job.started_at, job.ended_at))}"
    if job.tasks is not None:
        sentence += f", {job.tasks.succeeded} of {job.tasks.total} tasks"
    if job.attempt_count > 1:
        sentence += f", in attempt {job.attempt_count}"
    return Reason(code="succeeded", sentence=sentence, command=f"gpuctl logs {case.name}")


def _failed(case: Case) -> Reason:
    attempt = case.attempt
    ended = case.job.exit or (attempt.exit if attempt is not None else None)
    if attempt is not None and attempt.reason is not None:
        return attempt.reason
    rank = case.first_failing_rank
    if rank is not None and attempt is not None:
        ended = next(end.exit for end in attempt.ranks if end.rank == rank)
    if ended is None:
        return Reason(code="failed", sentence="failed, how is not known", what="change", command=f"gpuctl logs {case.name} --first-error")
    if ended.signal is not None:
        return _by_rule(case, "signal", rank=rank, data={"signal": str(ended.signal)})
    return _by_rule(case, "exit-code", rank=rank, data={"code": str(ended.status)})


def _by_rule(case: Case, code: str, *, rank: int | None = None, data: dict[str, str] | None = None) -> Reason:
    # Of a whole array it is worth knowing which task.
    task = case.attempt.task if case.job.tasks is not None and case.attempt is not None and rank is not None else None
    evidence = Evidence(code=code, rank=rank, task=task, data=data or {}, source="store")
    for rule in ENDS:
        if rule.code == code:
            return rule.judge(case, evidence)
    return Reason(
        code=code,
        sentence="its processes vanished without a word",
        what="escalate",
        advice="run it again; --requeue lets gpuctl do that by itself",
        command=f"gpuctl rerun {case.name} --requeue",
    )


def failed_tasks(job: Job) -> Reason | None:
    """How many tasks of an array ended badly, None for other jobs and when none did."""
    counts = job.tasks
    if counts is None or counts.total == 0:
        return None
    bad = [f"{count} {word}" for word, count in (("failed", counts.failed), ("cut", counts.cut), ("lost", counts.lost)) if count]
    if not bad:
        return None
    return Reason(
        code="tasks-failed",
        sentence=f"{', '.join(bad)} of {counts.total} tasks",
        what="change",
        advice="run only those again",
        command=f"gpuctl rerun {job.name} --failed",
    )
