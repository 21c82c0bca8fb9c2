"""This machine as an inventory: its devices with their holders, and the one node that the scheduler sees."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from gpuctl.base import clock
from gpuctl.clusters.local import leases, locks
from gpuctl.clusters.local.devices import Discovery, discover
from gpuctl.clusters.local.locks import LockDirectory
from gpuctl.model.place import ClusterStatus, Device, Node
from gpuctl.policy import placement
from gpuctl.policy.values import NodeState, Running

if TYPE_CHECKING:
    from gpuctl.clusters.local.windows import ScheduleFile


class Machine:
    """What this machine has.

    Args:
        cluster: the name under which the profile knows it.
        options: the profile's options (``devices``, ``slots``, ``schedule``, ``team``).
        environ: the environment that options and lock directory may come from.
        state: the state directory; device locks fall back to a directory in it.
    """

    def __init__(self, *, cluster: str, options: Mapping[str, str], environ: Mapping[str, str], state: str) -> None:
        self.cluster = cluster
        self.node = host_name()
        self._options = options
        self._environ = environ
        self._state = state
        self._locks: LockDirectory | None = None

    @property
    def locks(self) -> LockDirectory:
        """Where device locks lie."""
        if self._locks is None:
            self._locks = locks.directory(self._environ, fallback=self._state)
        return self._locks

    def discover(self) -> Discovery:
        """A fresh look at the devices and the driver's processes."""
        return discover(self._options, self._environ)

    def devices(self) -> tuple[Device, ...]:
        """The devices now, each with its holder."""
        return leases.with_holders(self.discover().devices, directory=self.locks)

    def state(self, devices: Sequence[Device], running: Sequence[Running] = (), *, now: datetime | None = None) -> NodeState:
        """The node for the scheduler at ``now`` (this instant by default).

        Devices of ``running`` (our own jobs) are taken, whatever their locks say.
        """
        ours = {index for job in running for slot in job.slots for pod in slot for index in pod.devices}
        free = tuple(device.index for device in devices if device.free and device.index not in ours)
        busy = {device.index: leases.held_by(device.holder) for device in devices if device.holder is not None and device.index not in ours}
        cpu, memory = cpu_millis(), memory_bytes()
        used_cpu = sum(job.cpu_millis * job.pods * len(job.slots) for job in running)
        used_memory = sum(job.memory * job.pods * len(job.slots) for job in running)
        state = NodeState(
            cluster=self.cluster,
            name=self.node,
            gpu_type=devices[0].type if devices else None,
            gpus=len(devices),
            gpus_free=len(free),
            devices=tuple(device.index for device in devices),
            devices_free=free,
            busy=busy,
            cpu_millis=cpu,
            cpu_millis_free=max(0, cpu - used_cpu),
            memory=memory,
            memory_free=max(0, memory - used_memory) if memory is not None else None,
        )
        if self.schedule is None:
            return state
        from gpuctl.clusters.local import windows

        return windows.applied(state, self.schedule, self.labels(devices), now if now is not None else clock.now())

    @cached_property
    def schedule(self) -> "ScheduleFile | None":
        """The file that says whose this machine is, and when; None: everybody's, always."""
        path = self._options.get("schedule")
        if path is None:
            return None
        from gpuctl.clusters.local.windows import ScheduleFile

        return ScheduleFile(os.path.expanduser(path))

    @property
    def team(self) -> str | None:
        """The team that my jobs belong to."""
        return self._options.get("team")

    def labels(self, devices: Sequence[Device]) -> Mapping[str, str]:
        """The labels by which a schedule may select this machine."""
        from gpuctl.clusters.local import windows

        gpu = devices[0] if devices and devices[0].kind != "slot" else None
        return windows.labels(self.cluster, self.node, gpu.type if gpu else None, gpu.name if gpu else None)

    def shown(self) -> Node:
        """The node for people."""
        devices = self.devices()
        owned = self.state(devices)
        return Node(
            name=self.node,
            cluster=self.cluster,
            gpu_type=devices[0].type if devices else None,
            gpus=len(devices),
            gpus_free=sum(device.free for device in devices),
            cpu_millis=cpu_millis(),
            memory=memory_bytes(),
            memory_free=memory_available(),
            ready=owned.ready,
            why=owned.why,
            owner=owned.owner,
            lends=owned.lends_idle,
            devices=devices,
        )

    def status(self, *, uid: str, version: str) -> ClusterStatus:
        """The machine's row of ``gpuctl clusters``."""
        devices = self.devices()
        free: dict[str, int] = {}
        total: dict[str, int] = {}
        for device in devices:
            total[device.type] = total.get(device.type, 0) + 1
            free[device.type] = free.get(device.type, 0) + int(device.free)
        return ClusterStatus(
            name=self.cluster,
            kind="local",
            version=version,
            nodes=1,
            free=free,
            total=total,
            largest_shape=placement.largest_shape([self.state(devices)]),
            uid=uid,
        )


def host_name() -> str:
    """The machine's own name, without its domain."""
    return platform.node().split(".")[0] or "localhost"


def cpu_millis() -> int:
    """CPU that this process may use, in thousandths of a core."""
    affinity = getattr(os, "sched_getaffinity", None)
    return 1000 * (len(affinity(0)) if affinity is not None else os.cpu_count() or 1)


def memory_bytes() -> int | None:
    """Physical memory in bytes, None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def memory_available() -> int | None:
    """Memory that could be had without swapping, in bytes (Linux)."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def boot_id() -> str:
    """What changes with every boot of this machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return _booted_at()


def _booted_at() -> str:
    import subprocess

    try:  # macOS: { sec = 1700000000, usec = 0 } ...
        return subprocess.run(["sysctl", "-n", "kern.boottime"], capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
