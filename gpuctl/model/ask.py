"""What is asked of a pool and of a cluster: submissions, queries, changes; and the shape of their answers."""

from datetime import datetime
from typing import Generic, Literal, TypeVar

import msgspec

from gpuctl.model.job import Code, Job, State
from gpuctl.model.place import Health
from gpuctl.model.plan import Plan as Plan  # noqa: PLC0414
from gpuctl.model.plan import PlanOption as PlanOption  # noqa: PLC0414
from gpuctl.model.spec import JobSpec

T = TypeVar("T")


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a submit hands over. ``environment`` and ``secrets`` are sealed at once and never printed.

    Attributes:
        base_name: the part of the name a person chose or the script's stem.
        request_id: random per invocation unless given; the same id with the same spec is the same job.
        explicit_request_id: whether a person gave it.
        environment: the job's whole environment, without GPUCTL_TOKEN*.
        secrets: values by name, already resolved.
        code: the code it runs; ``code.workdir`` is absolute.
        interpreter: absolute path of the Python, for kinds that need one.
    """

    spec: JobSpec
    base_name: str
    request_id: str
    environment: dict[str, str]
    code: Code
    explicit_request_id: bool = False
    secrets: dict[str, str] = {}
    labels: dict[str, str] = {}
    interpreter: str | None = None
    rerun_of: str | None = None
    best_effort: bool = False
    placement: tuple[PlanOption, ...] = ()
    """Where a pool of several places decided that it goes, the chosen first (its ``tier`` is the one to run in), then why not elsewhere."""

    def __repr__(self) -> str:
        """Which job it is; never the environment or the secrets, so that no log or traceback holds them."""
        return f"<Submission {self.base_name} request {self.request_id}>"


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The accepted job, whether it was there before (same request id), one sentence on where, and notes for stderr."""

    job: Job
    existed: bool = False
    sentence: str = ""
    notes: tuple[str, ...] = ()


class JobQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs. None means any. ``recent_seconds``: finished jobs only if they ended within so many seconds."""

    user: str | None = None
    team: str | None = None
    states: frozenset[State] | None = None
    name: str | None = None
    """A shell-style pattern on the name (``llama*``)."""
    since: datetime | None = None
    """Submitted at or after."""
    labels: dict[str, str] = {}
    recent_seconds: int | None = None
    limit: int | None = None
    tasks: bool = False
    """Whether each task of an array is a row of its own."""


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list and what is missing from it: ``incomplete`` names clusters that could not be read, with the error's sentence.

    ``health`` has the word for those of them that answered and refused us; the others are unreachable.
    """

    items: tuple[T, ...] = ()
    incomplete: dict[str, str] = {}
    health: dict[str, Health] = {}


class JobChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``gpuctl update``: only what is not None changes."""

    time: str | None = None
    priority: int | None = None
    tier: str | None = None
    hold: bool | None = None


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """One job that was acted upon: ``already`` when it was so before."""

    job: Job
    already: bool = False
    sentence: str = ""


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which log lines.

    Attributes:
        ranks: global ranks, None for all.
        node: index of the node, for its agent's lines and its ranks.
        attempt: 1-based, None for the last.
        since: lines at or after.
        tail: only the last so many lines of the merged stream.
        follow: go on until the job has ended.
        fold: fold identical lines of several ranks that came together.
        prefix: put ``[rank] `` before each line.
        timestamps: put the instant before each line.
        as_json: one JSON object a line instead (``at``, ``rank``, ``node``, ``attempt``, ``task``, ``stream``, ``text``); nothing is
            folded or prefixed.
    """

    ranks: frozenset[int] | None = None
    node: int | None = None
    task: int | None = None
    attempt: int | None = None
    since: datetime | None = None
    tail: int | None = None
    follow: bool = False
    failed: bool = False
    first_error: bool = False
    fold: bool = True
    prefix: bool | None = None
    timestamps: bool = False
    as_json: bool = False


Mode = Literal["all", "node", "rank"]


class ExecTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where ``exec`` runs: one rank, one node, or all nodes."""

    rank: int | None = None
    node: int | None = None
    all: bool = False


class Forward(msgspec.Struct, frozen=True, kw_only=True):
    """One open port-forward: where to point a browser. ``name``: the service, if it was asked for by name; ``job``: whose."""

    host: str
    local_port: int
    remote_port: int
    name: str | None = None
    job: str | None = None
