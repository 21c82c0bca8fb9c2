"""What a look at the devices found."""

import os

import msgspec

from gpuctl.clusters.local import locks
from gpuctl.model.place import Device, Holder

_NOBODYS = frozenset({"Xorg", "X", "Xwayland", "gnome-shell", "kwin_x11", "kwin_wayland", "sddm", "nvidia-persiste", "nvidia-cuda-mps"})
"""Processes (as /proc/PID/comm cuts them, at 15 bytes) that are on a GPU for everybody: a desktop does not make it taken."""


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A compute process on a device (by index), as the driver tells it. Memory in bytes, None where the driver does not say.

    In a container the driver may tell pids of the host's; then ``user`` is None.
    """

    device: int
    pid: int
    user: str | None = None
    memory: int | None = None


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """The devices by index; ``Device.holder`` is set where a compute process is on it, whoever's (leases tell whether it is a job).

    ``notes`` are sentences for people about what did not work or needs knowing.
    """

    devices: tuple[Device, ...] = ()
    processes: tuple[GpuProcess, ...] = ()
    notes: tuple[str, ...] = ()
    driver: str | None = None
    """Version of the NVIDIA or AMD driver."""


def holder(processes: list[GpuProcess]) -> Holder | None:
    """Who has a device, judged by its compute processes: the first of them."""
    return Holder(user=processes[0].user, pid=processes[0].pid) if processes else None


def process(device: int, pid: int, memory: int | None, *, proc: str = "/proc") -> GpuProcess | None:
    """The process ``pid``, or None if it is part of the desktop or of the driver."""
    try:
        with open(f"{proc}/{pid}/comm", "rb") as file:
            if file.read(64).decode("utf-8", "replace").strip() in _NOBODYS:
                return None
        user = locks.user_name(os.stat(f"{proc}/{pid}").st_uid)
    except OSError:
        user = None
    return GpuProcess(device=device, pid=pid, user=user, memory=memory)
