"""What a keeper hands to a supervisor: the plan of one launch, and the requests it may send later.

Files of one launch, below ``<state>/jobs/<job id>/l<launch>/``::

    plan.json    a LaunchPlan, written whole before the supervisor starts
    alive        locked (flock) by the supervisor for as long as it lives; inherited from the keeper, so there is no gap
    journal      what happened, append-only (see journal)
    control      requests for the supervisor, append-only JSON lines of Request; SIGUSR1 tells it to look, it looks every 0.5 s anyway
    supervisor.log   its own stderr

Logs lie in ``<state>/jobs/<job id>/logs/`` (see logs). The environment comes through the file descriptor ``env_fd`` as one JSON object and
is never on disk in clear. Device locks are inherited as open, locked file descriptors.
"""

from typing import Literal

import msgspec

from gpuctl.model.spec import JobSpec

LOG_LIMIT = 1 << 30
"""Bytes of log kept per rank where nobody says otherwise."""


SCRATCH_PREFIX = "gc-"
"""How the names of scratch directories begin."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """One leased device. ``fd`` is the inherited locked descriptor at launch; a grown slot has only ``lock`` (the path to lock)."""

    index: int
    uuid: str
    kind: Literal["nvidia", "amd", "slot"]
    lock: str
    fd: int | None = None


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of one task at a time: one tuple of leases per pod (node) of the gang."""

    pods: tuple[tuple[Lease, ...], ...]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One task to run: its array index (None for a job that is no array), attempt number, and its own arguments if it has some."""

    index: int | None = None
    attempt: int = 1
    args: tuple[str, ...] | None = None


class WindowEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of the window that the launch runs in.

    At ``at`` (UNIX seconds) nothing of it is left: SIGTERM goes out ``grace`` seconds before. ``owner``: whose the devices are then.
    ``signal`` is sent to the ranks ``signal_before`` seconds before the end, unless the job asked for one of its own. The job is told
    ``notify`` seconds before. ``lent``: it is no window that ends, the owner needs what it has lent.
    """

    at: float
    grace: int = 30
    owner: str | None = None
    window: str | None = None
    signal: str | None = None
    signal_before: int = 0
    notify: int = 0
    lent: bool = False


class LaunchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a supervisor needs to know. Paths are absolute; times in seconds; sizes in bytes.

    ``workdir`` is where the code runs (the snapshot, if there is one). ``scratch`` is a fresh 0700 directory of at most 40 bytes, removed
    at the end. ``time_limit`` counts from each task's start. ``volumes`` maps names to directories.
    """

    version: int = 1
    job_id: str
    name: str
    launch: int
    user: str
    node: str
    spec: JobSpec
    workdir: str
    directory: str
    logs: str
    scratch: str
    slots: tuple[Slot, ...]
    tasks: tuple[Task, ...]
    env_fd: int
    alive_fd: int
    interpreter: str | None = None
    time_limit: int | None = None
    grace: int = 30
    volumes: dict[str, str] = {}
    checkpoint: str | None = None
    log_limit: int = LOG_LIMIT
    """Bytes of log kept per rank; the oldest half goes first."""
    window: WindowEnd | None = None
    wake: str | None = None
    """Path of the keeper's wake-up FIFO."""
    keeper_argv: tuple[str, ...] = ()
    """How to start a keeper when the job has ended and none lives."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``control``.

    ``stop``: end everything (or the tasks named); ``time``: a new limit; ``window``: another end of the window (None: none any more);
    ``grow``/``shrink``: slots of an array; ``again``: tasks of it that were put back in line, to be run like those of the plan.
    """

    what: Literal["stop", "time", "window", "grow", "shrink", "again"]
    by: str = ""
    grace: int | None = None
    tasks: tuple[int, ...] = ()
    time_limit: int | None = None
    slots: tuple[Slot, ...] = ()
    count: int = 0
    again: tuple[Task, ...] = ()
    window: WindowEnd | None = None
    state: Literal["cancelled", "cut"] = "cancelled"
