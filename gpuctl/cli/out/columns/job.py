"""How a job looks in a list.

REASON says the most useful word there is: for a waiting job what it waits for, for a failed one what ended it, for an array how far it
is. ELAPSED is the time since the job last started, LEFT what its limit leaves it; a job without a limit has no LEFT.
"""

import shlex
from datetime import datetime
from typing import Any

from gpuctl.base import clock
from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Column, Context
from gpuctl.model.job import Exit, Job, State
from gpuctl.model.spec import JobSpec

_ORDER = {state: position for position, state in enumerate(State)}
_STYLE = {
    State.RUNNING: "good",
    State.STARTING: "busy",
    State.QUEUED: "busy",
    State.FAILED: "bad",
    State.CUT: "bad",
    State.LOST: "bad",
    State.SUCCEEDED: "faint",
    State.CANCELLED: "faint",
}


def name(job: Job) -> str:
    """The ``-o name`` form."""
    return f"job/{job.name}"


def elapsed(job: Job, context: Context) -> float | None:
    """Seconds that the job has run (or ran); None before it started, or where its end is unknown."""
    if job.started_at is None or (job.final and job.ended_at is None):
        return None
    return clock.elapsed(job.started_at, job.ended_at or context.now)


def left(job: Job, context: Context) -> float | None:
    """Seconds until its limit ends it; None without a limit, or while it does not run."""
    return clock.elapsed(context.now, job.ends_by) if job.ends_by is not None and job.state.active else None


def exit_text(end: Exit | None) -> str:
    """``3``, or ``signal 9``."""
    if end is None:
        return cells.ABSENT
    return f"signal {end.signal}" if end.signal is not None else cells.known(end.code)


def program(spec: JobSpec) -> str:
    """What it runs, as one would type it."""
    words = [spec.script, *spec.args] if spec.script else [*spec.command] if spec.command else ["-"] if spec.stdin_script else []
    return shlex.join(words) or cells.ABSENT


def shape(spec: JobSpec) -> str:
    """``4x8``: nodes x GPUs of each."""
    return f"{spec.nodes}x{spec.gpus}"


def state_text(job: Job) -> str:
    """Its state; ``?`` where its cluster does not answer."""
    return cells.UNKNOWN if _away(job) else job.state.value


def state_style(state: State) -> str:
    """How a state is coloured, of a job or of one attempt."""
    return _STYLE[state]


def _away(job: Job) -> bool:
    return "state" in job.unknown


def _grey(job: Job) -> str | None:
    return "faint" if _away(job) else None


def _elapsed_cell(job: Job, context: Context) -> str:
    if _away(job):
        return cells.UNKNOWN
    if job.started_at is None:
        return cells.UNKNOWN if job.state is State.RUNNING else cells.ABSENT
    ran = elapsed(job, context)
    return cells.UNKNOWN if ran is None else cells.seconds(ran)


def _left_cell(job: Job, context: Context) -> str:
    if _away(job):
        return cells.UNKNOWN if job.spec.time is not None else cells.ABSENT
    rest = left(job, context)
    if rest is None and job.state.active and job.spec.time is not None:
        return cells.UNKNOWN
    return cells.seconds(rest)


def _where(job: Job) -> str:
    if job.where is not None:
        return job.where
    if (job.tasks is not None or _away(job)) and job.cluster is not None:  # its tasks have a place each
        return job.cluster
    return cells.UNKNOWN if job.state.active else cells.ABSENT


def _progress(job: Job) -> str | None:
    if job.tasks is None:
        return None
    counts = job.tasks
    parts = [f"{counts.succeeded}/{counts.total} ok"]
    for word in ("running", "failed", "cancelled", "cut", "lost"):
        number = getattr(counts, word)
        if number:
            parts.append(f"{number} {word}")
    return ", ".join(parts)


_BARE = ("exit-code", "signal")
"""Reasons that say nothing but the end itself: which code or signal it was says more."""


def _reason(job: Job) -> str:
    if _away(job) and job.reason is not None:
        return job.reason.code
    progress = _progress(job)
    if progress is not None:
        return f"{progress}, {job.reason.code}" if job.reason is not None and job.state is State.QUEUED else progress
    if job.reason is not None and not (job.reason.code in _BARE and job.exit is not None):
        return job.reason.code
    if job.state in {State.FAILED, State.CUT, State.LOST}:
        return f"exit {job.exit.code}" if job.exit and job.exit.code is not None else exit_text(job.exit) if job.exit else cells.UNKNOWN
    return cells.UNKNOWN if job.state is State.QUEUED else cells.ABSENT


def _submitted(job: Job, _: Context) -> datetime:
    return job.submitted_at


def _team(job: Job) -> str:
    return cells.present(job.team)


def _user(job: Job) -> str:
    """A name that anybody could have written is marked."""
    return job.user if job.verified else f"{job.user}?"


def _state_key(job: Any, _: Context) -> int:
    return len(_ORDER) if _away(job) else _ORDER[job.state]


NAME = Column(name="NAME", cell=lambda job, _: job.name, tail=True, style=_grey)
STATE = Column(name="STATE", cell=lambda job, _: state_text(job), style=lambda job: _grey(job) or state_style(job.state), key=_state_key)
GPUS = Column(name="GPUS", cell=lambda job, _: str(job.spec.total_gpus), right=True, key=lambda job, _: job.spec.total_gpus, style=_grey)
WHERE = Column(name="WHERE", cell=lambda job, _: _where(job), shrink=True, style=_grey)
ELAPSED = Column(name="ELAPSED", cell=_elapsed_cell, right=True, key=elapsed, style=_grey)
LEFT = Column(name="LEFT", cell=_left_cell, right=True, key=left, style=_grey)
REASON = Column(name="REASON", cell=lambda job, _: _reason(job), shrink=True, style=_grey)
SUBMITTED = Column(name="SUBMITTED", cell=lambda job, context: cells.instant(job.submitted_at, context), key=_submitted, wide=True)
EXIT = Column(name="EXIT", cell=lambda job, _: exit_text(job.exit), key=lambda job, _: job.exit.status if job.exit else None, wide=True)

COLUMNS = (
    NAME,
    STATE,
    GPUS,
    WHERE,
    ELAPSED,
    LEFT,
    REASON,
    Column(name="ID", cell=lambda job, _: job.id, wide=True),
    Column(name="USER", cell=lambda job, _: _user(job), wide=True),
    Column(name="TEAM", cell=lambda job, _: _team(job), wide=True),
    Column(name="KIND", cell=lambda job, _: job.spec.kind, wide=True),
    Column(name="SHAPE", cell=lambda job, _: shape(job.spec), wide=True),
    Column(name="CLUSTER", cell=lambda job, _: cells.present(job.cluster), wide=True),
    Column(name="TIER", cell=lambda job, _: cells.present(job.tier), wide=True),
    SUBMITTED,
    EXIT,
    Column(name="ATTEMPT", cell=lambda job, _: str(job.attempt_count), right=True, key=lambda job, _: job.attempt_count, wide=True),
)
"""``gpuctl jobs``."""

HISTORY = (
    NAME,
    STATE,
    GPUS,
    Column(name="SUBMITTED", cell=SUBMITTED.cell, key=_submitted),
    Column(name="RAN", cell=_elapsed_cell, right=True, key=elapsed),
    Column(name="EXIT", cell=EXIT.cell, key=EXIT.key),
    Column(name="PROGRAM", cell=lambda job, _: program(job.spec), shrink=True),
    *(column for column in COLUMNS if column.name in {"ID", "KIND", "SHAPE", "CLUSTER", "ATTEMPT"}),
    Column(name="COMMIT", cell=lambda job, _: commit(job), wide=True),
    Column(name="WORKDIR", cell=lambda job, _: cells.present(job.code.workdir if job.code else None), wide=True),
)
"""``gpuctl history``."""


def commit(job: Job) -> str:
    """``3f9a01c``, with ``+`` where files were changed after it."""
    if job.code is None or job.code.commit is None:
        return cells.ABSENT
    return job.code.commit[:10] + ("+" if job.code.dirty else "")
