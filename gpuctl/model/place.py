"""Places where jobs run: clusters, nodes, devices, who holds them, and volumes."""

from datetime import datetime
from typing import Literal

import msgspec

from gpuctl.model.reason import Evidence, Reason

Health = Literal["healthy", "suspect", "unreachable", "unauthorized", "forbidden", "lost"]
"""``unauthorized``: it refuses our credentials, or there are none; ``forbidden``: it knows us and tells us nothing."""


class Seen(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of what was seen of a place. None means unknown, never zero."""


class Holder(Seen, frozen=True, kw_only=True):
    """Who has a device: a job of gpuctl, or a foreign process."""

    user: str | None = None
    pid: int | None = None
    job: str | None = None
    """The job's name, for jobs of gpuctl."""
    since: datetime | None = None


class Device(Seen, frozen=True, kw_only=True):
    """One GPU, or one process slot of a machine without GPUs.

    Memory in bytes, utilisation in percent (0 to 100). ``uuid`` is the driver's (``GPU-…``), or ``slot-N``.
    """

    index: int
    uuid: str
    type: str
    kind: Literal["nvidia", "amd", "slot"] = "slot"
    memory_total: int | None = None
    memory_used: int | None = None
    utilisation: int | None = None
    serial: str | None = None
    name: str | None = None
    """The driver's full product name (``NVIDIA H100 80GB HBM3``); ``type`` is the short one that ``--gpu-type`` takes."""
    holder: Holder | None = None
    """None: free."""

    @property
    def free(self) -> bool:
        """Whether nobody holds it."""
        return self.holder is None


class Node(Seen, frozen=True, kw_only=True):
    """One machine of a cluster. ``gpus_free`` counts devices nobody holds; CPU in thousandths of a core, memory in bytes."""

    name: str
    cluster: str
    tier: str | None = None
    ready: bool = True
    gpu_type: str | None = None
    gpus: int | None = None
    gpus_free: int | None = None
    cpu_millis: int | None = None
    cpu_millis_free: int | None = None
    memory: int | None = None
    memory_free: int | None = None
    owner: str | None = None
    lends: bool = False
    """Whether the owner lends what stands idle, to jobs that may be stopped."""
    closing: str | None = None
    """The next owner, while nothing new starts here until the node has changed hands."""
    schedule: str | None = None
    """The schedule by which it is switched."""
    devices: tuple[Device, ...] = ()
    taints: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    why: str | None = None
    """Why it cannot be used, if it cannot."""


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """What a job takes of a place besides devices, where it does not say so itself. CPU in thousandths of a core, memory in bytes.

    Attributes:
        cpu_millis, memory: of a pod without devices.
        share: how much of a node its devices divide among them: a pod gets their part of its CPU and memory. 0: nothing is counted.
        head_cpu_millis, head_memory: of one more pod without devices that goes with the gang, a Ray's head; 0 without.
    """

    cpu_millis: int = 0
    memory: int = 0
    share: float = 0.0
    head_cpu_millis: int = 0
    head_memory: int = 0


class ClusterStatus(Seen, frozen=True, kw_only=True):
    """One cluster of the pool. ``free`` and ``total`` count GPUs by type."""

    name: str
    kind: str
    tier: str | None = None
    health: Health = "healthy"
    version: str | None = None
    engines: tuple[str, ...] = ()
    nodes: int | None = None
    free: dict[str, int] = {}
    total: dict[str, int] = {}
    largest_shape: str | None = None
    """The largest ``NxM`` that would start now."""
    error: str | None = None
    uid: str | None = None
    """Identity of the place: the machine's id, or the UID of kube-system."""
    same_as: str | None = None
    """The cluster of the profile that is the same place: what is free there is counted in its row alone."""


class Volume(Seen, frozen=True, kw_only=True):
    """A named directory or claim. Sizes in bytes; ``home`` is the cluster it lives on.

    Of one that is ``pending``, ``reason`` says why, as far as the cluster told, and ``evidence`` in whose words.
    """

    name: str
    home: str
    phase: str = "bound"
    size: int | None = None
    used: int | None = None
    access: str = "rwx"
    storage_class: str | None = None
    path: str | None = None
    created_at: datetime | None = None
    mounted_by: tuple[str, ...] = ()
    """Names of the unfinished jobs that mount it."""
    managed: bool = True
    reason: Reason | None = None
    evidence: tuple[Evidence, ...] = ()


class VolumeFile(Seen, frozen=True, kw_only=True):
    """One entry below a volume: path relative to its root, size in bytes."""

    path: str
    size: int
    modified_at: datetime
    directory: bool = False


class UsageRow(Seen, frozen=True, kw_only=True):
    """GPU-seconds (integer) of one user on one day (UTC, YYYY-MM-DD) by the final or present state of the jobs that used them."""

    user: str
    day: str
    state: str
    jobs: int
    gpu_seconds: int
    cluster: str | None = None
    tier: str | None = None
    team: str | None = None


class Sample(Seen, frozen=True, kw_only=True):
    """What one job (or one rank of it) uses now: memory in bytes, CPU and GPU in percent, summed over the processes counted."""

    job: str
    rank: int | None = None
    node: str | None = None
    device: int | None = None
    cpu: float | None = None
    memory: int | None = None
    gpus: int | None = None
    """How many GPUs it holds: 0 where process slots stand in for them, None where that is not known."""
    gpu: int | None = None
    gpu_memory: int | None = None
    gpu_memory_total: int | None = None
    processes: int | None = 0
    silent_for: float | None = None
    """Seconds since the last log line."""
