"""What a rule is: one kind of evidence, and the reason that follows from it."""

import re
from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from gpuctl.model.job import Attempt, Job, State
from gpuctl.model.reason import Evidence, Reason

PENDING = frozenset({State.QUEUED, State.STARTING})
LIVE = PENDING | {State.RUNNING}
AT_WORK = frozenset({State.STARTING, State.RUNNING})
FAILED = frozenset({State.FAILED})
ENDED_BADLY = frozenset({State.FAILED, State.LOST})
NOWHERE: frozenset[State] = frozenset()
"""For notes: never the main reason, always worth a line of their own."""


class Trust(IntEnum):
    """How far a kind of evidence is believed; the lowest number wins.

    A consequence is what other ranks say when one has died (NCCL, a lost connection): it explains only what nothing else does.
    """

    KILLED = 0
    """Somebody ended it: the kernel, the kubelet, a limit, a person."""
    CAUSE = 1
    """What the program itself said about its end."""
    CONSEQUENCE = 2
    TERMINATED = 3
    """The bare end: a code or a signal."""
    WAITING = 4
    """What a container waits for."""
    EVENT = 5
    SCHEDULER = 6
    QUEUE = 7
    NOTE = 8


class Case(NamedTuple):
    """What is being explained."""

    job: Job
    now: datetime

    @property
    def name(self) -> str:
        """The job's name, for commands."""
        return self.job.name

    @property
    def attempt(self) -> Attempt | None:
        """The attempt whose end is being explained: the last one that failed of those with the highest number (an array has many)."""
        last = max((attempt.number for attempt in self.job.attempts), default=0)
        final = [attempt for attempt in self.job.attempts if attempt.number == last]
        bad = [attempt for attempt in final if attempt.state in ENDED_BADLY]
        return next(iter(bad or final), None)

    @property
    def first_failing_rank(self) -> int | None:
        """The rank that ended first with anything but 0, if ranks' ends are known."""
        attempt = self.attempt
        ends = [end for end in attempt.ranks if end.exit.status != 0] if attempt is not None else []
        return min(ends, key=lambda end: (end.at, end.rank)).rank if ends else None


class Rule(NamedTuple):
    """One row of the table.

    Attributes:
        code: of the evidence it reads; its reason has the same code unless the rule says otherwise.
        states: of a job for which it may be the main reason.
        judge: makes the reason.
        reads: the keys of ``Evidence.data`` it looks at, all optional.
    """

    code: str
    trust: Trust
    states: frozenset[State]
    judge: Callable[[Case, Evidence], Reason]
    reads: tuple[str, ...] = ()


def who(evidence: Evidence) -> str:
    """``rank 3 on node-b``, ``rank 3``, ``rank 0 of task 7``, ``task 7``, or ``the job``."""
    task = f"task {evidence.task}" if evidence.task is not None else None
    subject = (f"rank {evidence.rank}" + (f" of {task}" if task else "")) if evidence.rank is not None else task or "the job"
    return f"{subject} on {evidence.node}" if evidence.node else subject


def number(evidence: Evidence, key: str) -> float | None:
    """A number of the evidence's data, None when it is absent or not a number."""
    text = evidence.data.get(key, "")
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None


def clipped(text: str, most: int = 160) -> str:
    """Text of a program on one line, without a final period, at most ``most`` characters."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= most else line[: most - 3].rstrip() + "..."
