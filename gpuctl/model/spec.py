"""The specification of a job: what a person asked for, as the versioned document that ``-f`` reads and ``--dry-run -o yaml`` writes.

Durations and amounts stay in the spelling people use (``6h``, ``64Gi``); the properties give numbers. A secret's value is never part
of a spec.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from gpuctl.base import duration, quantity

API_VERSION = "gpuctl.io/v1"

Kind = Literal["pytorch", "ray", "command"]
Tier = Literal["reserved", "on-demand", "any"]
AfterMode = Literal["ok", "any", "fail"]


class Value(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Base of the values that are part of a job document: camelCase on the wire, unknown fields refused."""


class Dependency(Value, frozen=True, kw_only=True):
    """One ``--after MODE:JOB``: start only when ``job`` has ended so. ``job`` is a job's unique id once accepted."""

    job: str
    mode: AfterMode = "ok"


class ArraySpec(Value, frozen=True, kw_only=True):
    """``--array first-last%parallel``: one task per index; ``args`` (from ``--args-from``) holds one argument list per task, by position.

    ``only``: these indices alone, ascending and within first to last (``--array 1,5,9``, or what is left of an array to run again).
    """

    first: int = 0
    last: int = 0
    parallel: int | None = None
    args: tuple[tuple[str, ...], ...] = ()
    only: tuple[int, ...] = ()

    @property
    def indices(self) -> Sequence[int]:
        """Every task's index, in the order in which they start."""
        return self.only or range(self.first, self.last + 1)

    @property
    def count(self) -> int:
        """How many tasks there are."""
        return len(self.only) or self.last - self.first + 1


class VolumeMount(Value, frozen=True, kw_only=True):
    """``--volume name:/path[:ro]``. ``path`` is where a container would see it; on this machine only GPUCTL_VOLUME_<NAME> tells."""

    name: str
    path: str | None = None
    read_only: bool = False


class Checkpoint(Value, frozen=True, kw_only=True):
    """``--checkpoint VOLUME:/dir``: where attempts leave what the next one resumes from."""

    volume: str
    dir: str = "/"


class SignalBefore(Value, frozen=True, kw_only=True):
    """``--signal USR1@10m``: this signal to every rank, so long before the job's time limit or its window's end."""

    name: str
    before: str = "60s"

    @property
    def before_seconds(self) -> int:
        """Seconds before the end."""
        return duration.parse(self.before)


class GitSource(Value, frozen=True, kw_only=True):
    """``--git URL@REF``: the code is what ``ref`` (a branch, a tag, a whole commit) is in the repository at ``url``."""

    url: str
    ref: str


class JobSpec(Value, frozen=True, kw_only=True):
    """What to run and what it needs.

    ``nodes`` x ``gpus`` is ``-j NxM``. ``script`` with ``args`` is for kind pytorch and ray; ``command`` is a whole argv for kind command
    (and Ray's entrypoint when there is no script). ``cpus`` and ``memory`` are per node.
    """

    kind: Kind = "command"
    nodes: int = 1
    gpus: int = 1
    per: Literal["node", "gpu"] = "node"
    nproc_per_node: int | None = None
    script: str | None = None
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    stdin_script: str | None = None
    """The text of a script that came through stdin (SCRIPT ``-``)."""
    python: str | None = None
    setup: str | None = None
    workdir: str | None = None
    """Of a job with ``git``: below the root of the repository."""
    snapshot: bool = False
    git: GitSource | None = None
    code_volume: str | None = None
    """The volume by which code goes to a Kubernetes cluster that is too large to go with the job."""
    image: str | None = None
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    """Names only; the values travel beside the spec and are sealed."""
    cpus: str | None = None
    memory: str | None = None
    gpu_type: str | None = None
    devices: tuple[int, ...] = ()
    tier: Tier = "any"
    cluster: str | None = None
    queue: str | None = None
    exclude: tuple[str, ...] = ()
    priority: int = 0
    max_cost: float | None = None
    """Largest cost of the job in the profile's currency."""
    time: str | None = None
    grace: str = "30s"
    signal: SignalBefore | None = None
    retries: int = 0
    requeue: bool = False
    checkpoint: Checkpoint | None = None
    fit_window: bool = False
    hold: bool = False
    array: ArraySpec | None = None
    after: tuple[Dependency, ...] = ()
    volumes: tuple[VolumeMount, ...] = ()
    logs_to: str | None = None
    notify: str | None = None
    pod_patch: str | None = None

    @property
    def total_gpus(self) -> int:
        """GPUs (or process slots) of one task of the job."""
        return self.nodes * self.gpus

    @property
    def procs_per_node(self) -> int:
        """Ranks started on each node: explicit, else one per GPU for pytorch and ``--per gpu``, else one."""
        if self.nproc_per_node is not None:
            return self.nproc_per_node
        if self.kind == "pytorch" or self.per == "gpu":
            return max(1, self.gpus)
        return 1

    @property
    def time_seconds(self) -> int | None:
        """The time limit in seconds, None for no end."""
        return duration.parse(self.time) if self.time is not None else None

    @property
    def grace_seconds(self) -> int:
        """Seconds between SIGTERM and SIGKILL."""
        return duration.parse(self.grace)

    @property
    def memory_bytes(self) -> int | None:
        """Memory per node in bytes, None for the share of the node's GPUs."""
        return quantity.parse_memory(self.memory) if self.memory is not None else None

    @property
    def cpu_millis(self) -> int | None:
        """CPU per node in thousandths of a core, None for the share of the node's GPUs."""
        return quantity.parse_cpu(self.cpus) if self.cpus is not None else None


class Metadata(Value, frozen=True, kw_only=True):
    """Name and labels. ``name`` is the part a person chose (``llama``); the job's own name gets a tail (``llama-k3f9``)."""

    name: str | None = None
    labels: dict[str, str] = {}


class JobDocument(Value, frozen=True, kw_only=True):
    """A job file: ``apiVersion: gpuctl.io/v1``, ``kind: Job`` (both always written, both always required)."""

    api_version: Literal["gpuctl.io/v1"]
    kind: Literal["Job"]
    metadata: Metadata = Metadata()
    spec: JobSpec = JobSpec()
