"""Choosing the main reason among the evidence."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from gpuctl.model.job import Job, State
from gpuctl.model.reason import Evidence, Explanation, Reason
from gpuctl.policy.explain.ends import ENDS
from gpuctl.policy.explain.losses import LOSSES
from gpuctl.policy.explain.rule import Case, Rule, Trust
from gpuctl.policy.explain.standing import failed_tasks, standing
from gpuctl.policy.explain.waits import WAITS

RULES: dict[str, Rule] = {rule.code: rule for rule in (*ENDS, *LOSSES, *WAITS)}
MOST_ALSO = 6
"""Further reasons shown beside the main one."""


def explain(job: Job, evidence: Sequence[Evidence], now: datetime) -> Explanation:
    """Why ``job`` stands where it stands. Evidence of unknown codes is carried along and judged by nobody."""
    case = Case(job, now)
    ranked = sorted((one for one in evidence if one.code in RULES), key=lambda one: _order(case, one))
    current = [one for one in ranked if one.attempt is None or one.attempt == _last_attempt(job, evidence)]
    main = next((one for one in current if job.state in RULES[one.code].states and RULES[one.code].trust is not Trust.NOTE), None)
    if main is not None and _said_better(job, main):
        main = None
    if main is None:
        reason = standing(case, tuple(evidence))
        basis = tuple(one for one in evidence if one.code == reason.code)
    else:
        reason = _judged(case, main)
        basis = (main, *(one for one in current if one is not main and one.code == main.code))
    return Explanation(reason=reason, evidence=basis, also=_also(case, reason, main, current, ranked))


def _judged(case: Case, evidence: Evidence) -> Reason:
    """The reason that follows; its command reads the log of the task it is about, where that is one of many."""
    reason = RULES[evidence.code].judge(case, evidence)
    if evidence.task is None or reason.command is None:
        return reason
    logs = f"gpuctl logs {case.name}"
    return msgspec.structs.replace(reason, command=reason.command.replace(logs, f"{logs}_{evidence.task}"))


def _order(case: Case, evidence: Evidence) -> tuple[object, ...]:
    """From the most telling on. A condition or a queue's word is worth the more the newer it is, an end the earlier it was."""
    rule = RULES[evidence.code]
    at = evidence.at
    age = float("inf") if at is None else -at.timestamp() if rule.trust >= Trust.WAITING else at.timestamp()
    first = case.first_failing_rank
    elsewhere = evidence.rank != first if first is not None and rule.trust in (Trust.CAUSE, Trust.CONSEQUENCE, Trust.TERMINATED) else False
    return rule.trust, elsewhere, age, evidence.rank if evidence.rank is not None else -1, evidence.code, evidence.text, evidence.node or ""


def _last_attempt(job: Job, evidence: Iterable[Evidence]) -> int | None:
    """The attempt that is being explained: the job's last, or the last that left evidence."""
    numbers = [attempt.number for attempt in job.attempts] or [one.attempt for one in evidence if one.attempt is not None]
    return max(numbers, default=None)


def _said_better(job: Job, main: Evidence) -> bool:
    """A waiting job's own scheduler knows the line better than evidence of the line does."""
    return job.state is State.QUEUED and job.reason is not None and RULES[main.code].trust >= Trust.SCHEDULER


def _also(case: Case, reason: Reason, main: Evidence | None, current: Sequence[Evidence], ranked: Sequence[Evidence]) -> tuple[Reason, ...]:
    """Notes first, then the tasks, then what else was seen, each code once."""
    notes = [one for one in ranked if RULES[one.code].trust is Trust.NOTE]
    others = [one for one in current if one is not main and RULES[one.code].trust is not Trust.NOTE]
    if case.job.state is State.QUEUED:
        # Why the attempt before this wait ended is worth knowing, whatever its number.
        others = [one for one in ranked if one is not main and RULES[one.code].trust is not Trust.NOTE]
    if case.job.state is State.SUCCEEDED:
        others = []
    # That a rank which raised an exception then ended with 1 is no news.
    told = {(one.rank, one.task) for one in current if RULES[one.code].trust is Trust.CAUSE}
    others = [one for one in others if RULES[one.code].trust is not Trust.TERMINATED or (one.rank, one.task) not in told]
    reasons = [RULES[one.code].judge(case, one) for one in notes]
    tasks = failed_tasks(case.job)
    reasons += [tasks] if tasks is not None else []
    reasons += [_judged(case, one) for one in others]
    seen = {reason.code}
    kept: list[Reason] = []
    for one in reasons:
        if one.code not in seen or (one.code == "note" and one not in kept):
            kept.append(one)
            seen.add(one.code)
    return tuple(kept[:MOST_ALSO])
