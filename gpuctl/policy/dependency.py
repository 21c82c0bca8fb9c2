"""Dependencies between jobs: satisfied, still open, or never to be satisfied.

``ok`` wants success; ``fail`` wants any end but success (Slurm's ``afternotok``: cancelled, cut and lost count);
``any`` wants an end. A job that is not there any more has ended somehow: that satisfies ``any`` and can satisfy nothing else.
"""

from collections.abc import Mapping
from enum import Enum

from gpuctl.model.job import State
from gpuctl.model.reason import Reason
from gpuctl.policy.values import After, QueueJob

_WANTED = {"ok": "succeed", "any": "end", "fail": "fail"}


class Standing(Enum):
    """How a dependency stands."""

    SATISFIED = "satisfied"
    OPEN = "open"
    NEVER = "never"


def standing(after: After, decided: Mapping[str, State]) -> Standing:
    """How ``after`` stands, given the states that this decision has just settled."""
    state = decided.get(after.job, after.state)
    if state is not None and not state.final:
        return Standing.OPEN
    if after.mode == "any":
        return Standing.SATISFIED
    if state is None:
        return Standing.NEVER
    succeeded = state is State.SUCCEEDED
    return Standing.SATISFIED if succeeded == (after.mode == "ok") else Standing.NEVER


def failed(job: QueueJob, decided: Mapping[str, State]) -> Reason | None:
    """Why the job can never start, naming the first dependency that rules it out, or None."""
    for after in job.after:
        if standing(after, decided) is not Standing.NEVER:
            continue
        state = decided.get(after.job, after.state)
        how = f"ended {state.value}" if state is not None else "is not there any more"
        return Reason(
            code="dependency-failed",
            sentence=f"was to start after {after.name} {_verb(after)}, but {after.name} {how}",
            what="change",
            advice=f"see why {after.name} {how}, then run this one again",
            command=f"gpuctl why {after.name}",
        )
    return None


def waits(job: QueueJob, decided: Mapping[str, State]) -> Reason | None:
    """What the job still waits for, or None when every dependency is satisfied."""
    still = [after for after in job.after if standing(after, decided) is Standing.OPEN]
    if not still:
        return None
    first = still[0]
    state = decided.get(first.job, first.state)
    sentence = f"waits for {first.name} to {_WANTED[first.mode]} ({state.value if state else 'gone'} now)"
    if len(still) > 1:
        sentence += f" and {len(still) - 1} more of {len(job.after)} jobs"
    return Reason(code="dependency", sentence=sentence, what="wait", command=f"gpuctl job {first.name}")


def _verb(after: After) -> str:
    return {"ok": "succeeded", "any": "ended", "fail": "failed"}[after.mode]
