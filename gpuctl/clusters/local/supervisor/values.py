"""What is known of a task while it runs: its main processes, how it ends, and evidence of why."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from gpuctl.clusters.local.kinds.step import Start, Step
from gpuctl.clusters.local.processes import Process

State = Literal["succeeded", "failed", "cancelled", "cut", "lost"]


class Main(msgspec.Struct, kw_only=True, eq=False):
    """A process that the supervisor itself started. ``status``: its exit code, or minus a signal's number; None while it runs."""

    start: Start
    step: Step
    process: Process
    status: int | None = None
    ended_at: float = 0.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ends, decided by whatever came first."""

    state: State
    code: int | None = None
    signal: int | None = None

    @classmethod
    def of(cls, state: State, status: int) -> "Verdict":
        """With the end of a process: its exit code, or minus a signal's number."""
        return cls(state=state, code=status) if status >= 0 else cls(state=state, signal=-status)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of evidence, as it goes into the journal."""

    code: str
    text: str = ""
    source: str = "journal"
    rank: int | None = None
    data: Mapping[str, str] = {}
