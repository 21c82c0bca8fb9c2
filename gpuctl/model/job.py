"""A job as it is: its states, attempts, placement, timeline and end."""

from datetime import datetime
from enum import Enum

import msgspec

from gpuctl.model.plan import PlanOption
from gpuctl.model.reason import Reason
from gpuctl.model.spec import JobSpec


class State(str, Enum):
    """Where a job stands. The last five are final."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CUT = "cut"
    """Ended by its time limit or by the end of a window."""
    LOST = "lost"
    """Its processes or cluster vanished without a word."""

    @property
    def final(self) -> bool:
        """Whether nothing follows any more."""
        return self in FINAL

    @property
    def active(self) -> bool:
        """Whether it holds devices now."""
        return self in {State.STARTING, State.RUNNING}

    @property
    def told(self) -> str:
        """What a sentence says of the job: ``is running``, ``has failed``, ``was cancelled``."""
        if self in {State.SUCCEEDED, State.FAILED}:
            return f"has {self.value}"
        return f"was {self.value}" if self.final else f"is {self.value}"


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.CUT, State.LOST})


class Fact(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of observed values: camelCase on the wire, unknown fields of a newer writer ignored."""


class Exit(Fact, frozen=True, kw_only=True):
    """How a process, attempt or job ended: an exit code, or the signal it died of (then ``code`` is absent)."""

    code: int | None = None
    signal: int | None = None

    @property
    def status(self) -> int:
        """The shell's single number: the code, or 128 + signal."""
        if self.signal is not None:
            return 128 + self.signal
        return self.code if self.code is not None else 1


class RankEnd(Fact, frozen=True, kw_only=True):
    """The end of one rank (a global rank; for a command, the copy's number)."""

    rank: int
    exit: Exit
    at: datetime
    node: str | None = None


class Pod(Fact, frozen=True, kw_only=True):
    """One node's share of an attempt: which node (``""``: gone without a trace), which devices (by index and UUID), which global ranks."""

    node: str
    devices: tuple[int, ...] = ()
    uuids: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()


class Attempt(Fact, frozen=True, kw_only=True):
    """One try at running a job (or one task of an array) on exactly one cluster. Numbers begin at 1."""

    number: int
    cluster: str
    state: State
    tier: str | None = None
    task: int | None = None
    """The array index, None for a job that is no array."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit: Exit | None = None
    reason: Reason | None = None
    pods: tuple[Pod, ...] = ()
    ranks: tuple[RankEnd, ...] = ()


class TaskCounts(Fact, frozen=True, kw_only=True):
    """How many tasks of an array are in which state."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    cut: int = 0
    lost: int = 0

    @property
    def total(self) -> int:
        """All tasks."""
        return self.queued + self.running + self.ended

    @property
    def ended(self) -> int:
        """Tasks in a final state."""
        return self.succeeded + self.failed + self.cancelled + self.cut + self.lost


class Code(Fact, frozen=True, kw_only=True):
    """Which code a job runs: directory, and the git commit when there is one."""

    workdir: str
    commit: str | None = None
    dirty: bool = False
    branch: str | None = None
    snapshot: str | None = None
    """Where the copy is, for ``--snapshot``."""
    fingerprint: dict[str, str] = {}
    """Content hashes of the script and what it was submitted with, to notice ``code changed after submit``."""


class TimelineEvent(Fact, frozen=True, kw_only=True):
    """One thing that happened to a job, in order."""

    at: datetime
    what: str
    """Stable word: submitted, queued, starting, running, rank-ended, retrying, cut, cancelled, ended, ..."""
    text: str = ""
    attempt: int | None = None


class Job(Fact, frozen=True, kw_only=True):
    """A job as a pool sees it now.

    ``gpus`` in tables is ``spec.total_gpus``. Lists carry neither timeline nor attempts beyond the last one; reading one job carries all.
    """

    id: str
    name: str
    base_name: str
    user: str
    spec: JobSpec
    state: State
    submitted_at: datetime
    team: str | None = None
    verified: bool = True
    """False where user and team are read from labels that anybody could write."""
    labels: dict[str, str] = {}
    request_id: str | None = None
    cluster: str | None = None
    tier: str | None = None
    where: str | None = None
    """Cluster and nodes or devices in one short word for the WHERE column: ``local:0,1``."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    ends_by: datetime | None = None
    """When its time limit or window will end it, while it runs."""
    expected_start: datetime | None = None
    exit: Exit | None = None
    reason: Reason | None = None
    tasks: TaskCounts | None = None
    attempts: tuple[Attempt, ...] = ()
    attempt_count: int = 0
    timeline: tuple[TimelineEvent, ...] = ()
    code: Code | None = None
    interpreter: str | None = None
    """The Python that runs it, resolved at submit."""
    environment: tuple[str, ...] | None = None
    """Names (never values) of the variables in its environment, sorted; None where they are not known. Lists leave it out."""
    ran_same_as: str | None = None
    """The id of the job this is a rerun of."""
    placement: tuple[PlanOption, ...] = ()
    """Where it could have gone at submit, the chosen place first; empty where there was no choice. Lists leave it out."""
    unknown: tuple[str, ...] = ()
    """Fields (by their names on the wire) that nobody can tell now, because its cluster does not answer: they are as they were last seen,
    tables show ``?`` for them and machine formats leave them out."""

    @property
    def final(self) -> bool:
        """Whether nothing follows any more."""
        return self.state.final
