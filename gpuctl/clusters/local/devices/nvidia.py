"""NVIDIA GPUs, asked through NVML.

``pynvml`` (nvidia-ml-py) is imported only when the driver's library is there. Whether it is there is told by files alone, in well under a
millisecond, since most machines that run ``gpuctl jobs`` have no GPU. Every question may fail for itself (unified memory has no total, MIG
no utilisation): such a field is None, unknown.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from gpuctl.clusters.local.devices.seen import Discovery, GpuProcess, holder, process
from gpuctl.model import gputype
from gpuctl.model.place import Device

T = TypeVar("T")

LIBRARY = "libnvidia-ml.so.1"
_DIRECTORIES = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/run/opengl-driver/lib",
)
_LOADER_CACHE = "/etc/ld.so.cache"


class Nvml(Protocol):
    """The part of the ``pynvml`` module that is used; a test passes its own. Handles and answers are NVML's, hence Any."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: D102, N802 - NVML's names
    def nvmlShutdown(self) -> None: ...  # noqa: D102, N802
    def nvmlSystemGetDriverVersion(self) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetUUID(self, handle: Any) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetName(self, handle: Any) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetSerial(self, handle: Any) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetMigMode(self, handle: Any) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any: ...  # noqa: D102, N802


def present(env: Mapping[str, str], *, directories: tuple[str, ...] = _DIRECTORIES, cache: str = _LOADER_CACHE) -> bool:
    """Whether the driver's library lies where the loader would find it. Opens at most one file."""
    places = [path for path in env.get("LD_LIBRARY_PATH", "").split(":") if path] + list(directories)
    if any(os.path.exists(os.path.join(place, LIBRARY)) for place in places):
        return True
    try:
        with open(cache, "rb") as file:
            return LIBRARY.encode() in file.read()
    except OSError:
        return False


def discover(nvml: Nvml | None = None) -> Discovery:
    """Every GPU that the driver tells of. Never raises: what does not work becomes a note."""
    if nvml is None:
        try:
            import pynvml
        except ImportError:
            return Discovery(notes=("an NVIDIA driver is here but nvidia-ml-py is not: GPUs cannot be seen (pip install nvidia-ml-py)",))
        nvml = pynvml
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Discovery(notes=(f"the NVIDIA driver does not answer, so no GPU is used: {error}",))
    try:
        return _all(nvml)
    except nvml.NVMLError as error:
        return Discovery(notes=(f"the NVIDIA driver does not tell its GPUs, so none is used: {error}",))
    finally:
        try:
            nvml.nvmlShutdown()
        except nvml.NVMLError:
            pass  # nothing of ours is left in it


def _all(nvml: Nvml) -> Discovery:
    devices: list[Device] = []
    processes: list[GpuProcess] = []
    notes: list[str] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(nvml.nvmlDeviceGetUUID(handle))
        except nvml.NVMLError as error:
            notes.append(f"GPU {index} is left out, it does not answer: {error}")
            continue
        name = _text(_try(nvml, nvml.nvmlDeviceGetName, handle) or "NVIDIA GPU")
        memory = _try(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = _try(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
        serial = _try(nvml, nvml.nvmlDeviceGetSerial, handle)
        mig = _try(nvml, nvml.nvmlDeviceGetMigMode, handle)
        if mig and mig[0]:
            notes.append(f"GPU {index} is in MIG mode; it is leased whole, and a job sees its first instance")
        on_it = _processes(nvml, index, handle)
        processes += on_it
        devices.append(
            Device(
                index=index,
                uuid=uuid,
                type=gputype.short(name),
                name=name,
                kind="nvidia",
                memory_total=int(memory.total) if memory is not None else None,
                memory_used=int(memory.used) if memory is not None else None,
                utilisation=int(rates.gpu) if rates is not None else None,
                serial=_text(serial) if serial else None,
                holder=holder(on_it),
            )
        )
    version = _try(nvml, lambda _: nvml.nvmlSystemGetDriverVersion(), None)
    return Discovery(
        devices=tuple(devices), processes=tuple(processes), notes=tuple(notes), driver=_text(version) if version is not None else None
    )


def _processes(nvml: Nvml, index: int, handle: Any) -> list[GpuProcess]:
    found = []
    for entry in _try(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ():
        used = entry.usedGpuMemory
        seen = process(index, int(entry.pid), int(used) if used is not None else None)
        if seen is not None:
            found.append(seen)
    return found


def _try(nvml: Nvml, ask: Callable[[Any], T], handle: Any) -> T | None:
    try:
        return ask(handle)
    except nvml.NVMLError:
        return None


def _text(value: Any) -> str:
    """NVML's strings: bytes in old releases of the package, str since."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
