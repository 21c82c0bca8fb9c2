"""AMD GPUs, asked through ``amd-smi``, or ``rocm-smi`` where that is all there is; who is on them, from the kernel's KFD files.

Both tools print JSON whose shape moved between releases: a list, or an object with ``gpu_data``; values plain, or ``{"value", "unit"}``.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gpuctl.clusters.local.devices.seen import Discovery, GpuProcess, holder, process
from gpuctl.model import gputype
from gpuctl.model.place import Device

_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}  # amd-smi says MB and means MiB
_DEADLINE = 10.0


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """The world outside: the environment, the kernel's files, and how a tool is run; a test replaces it."""

    env: Mapping[str, str] = {}
    kfd: str = "/sys/class/kfd/kfd"
    device: str = "/dev/kfd"

    def find(self, name: str) -> str | None:
        """The path of a tool, on PATH or where ROCm puts it."""
        import shutil

        return shutil.which(name, path=f"{self.env.get('PATH', os.defpath)}:/opt/rocm/bin")

    def run(self, argv: Sequence[str]) -> str:
        """What a tool prints on stdout.

        Raises:
            OSError: it cannot run, fails, or takes longer than 10 s.
        """
        import subprocess

        try:
            done = subprocess.run(argv, capture_output=True, timeout=_DEADLINE, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise OSError(f"{argv[0]} took longer than {_DEADLINE:.0f} s") from None
        if done.returncode != 0:
            last = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            raise OSError(f"{argv[0]} ended with {done.returncode}{': ' + last[-1] if last else ''}")
        return done.stdout.decode("utf-8", "replace")


def present(tools: Tools) -> bool:
    """Whether the kernel has AMD's compute driver loaded; looks at one file."""
    return os.path.exists(tools.device)


def discover(tools: Tools) -> Discovery:
    """Every GPU that AMD's tools tell of. Never raises: what does not work becomes a note."""
    notes: list[str] = []
    for name, ask in (("amd-smi", _amd_smi), ("rocm-smi", _rocm_smi)):
        path = tools.find(name)
        if path is None:
            continue
        try:
            devices = ask(tools, path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f"{name} does not tell the GPUs: {type(error).__name__ if isinstance(error, KeyError) else ''}{error}")
            continue
        return _with_processes(tools, devices, notes)
    return Discovery(notes=tuple(notes) or ("an AMD driver is here but neither amd-smi nor rocm-smi: GPUs cannot be seen",))


def _amd_smi(tools: Tools, path: str) -> list[Device]:
    listed = _gpus(tools.run([path, "list", "--json"]))
    static = {entry["gpu"]: entry for entry in _gpus(tools.run([path, "static", "--asic", "--json"]))}
    metric = {entry["gpu"]: entry for entry in _gpus(tools.run([path, "metric", "--usage", "--mem-usage", "--json"]))}
    devices = []
    for entry in listed:
        index = int(entry["gpu"])
        asic = static.get(index, {}).get("asic", {})
        now = metric.get(index, {})
        memory = now.get("mem_usage", {})
        usage = now.get("usage", {})
        busy = _amount(usage.get("gfx_activity")) if isinstance(usage, dict) else None
        name = str(asic.get("market_name") or "AMD GPU")
        devices.append(
            _device(index, name, asic.get("asic_serial"), entry.get("bdf"), memory.get("total_vram"), memory.get("used_vram"), busy)
        )
    return devices


def _rocm_smi(tools: Tools, path: str) -> list[Device]:
    flags = ["--showuniqueid", "--showproductname", "--showmeminfo", "vram", "--showuse", "--showbus", "--json"]
    text = tools.run([path, *flags])
    cards = json.loads(text[text.index("{") :])  # warnings may come first
    devices = []
    for card, entry in cards.items():
        if not card.startswith("card"):
            continue
        lowered = {key.lower(): value for key, value in entry.items()}
        name = str(lowered.get("card series") or lowered.get("card model") or "AMD GPU")
        total, used = lowered.get("vram total memory (b)"), lowered.get("vram total used memory (b)")
        busy = _amount(lowered.get("gpu use (%)"))
        devices.append(_device(int(card[4:]), name, lowered.get("unique id"), lowered.get("pci bus"), total, used, busy))
    return sorted(devices, key=lambda device: device.index)


def _device(index: int, name: str, unique: Any, bus: Any, total: Any, used: Any, busy: int | None) -> Device:
    number = _unique(unique)
    uuid = f"GPU-{number:016x}" if number else f"amd-{bus or index}"  # the form that ROCR_VISIBLE_DEVICES takes
    return Device(
        index=index,
        uuid=uuid,
        type=gputype.short(name),
        name=name,
        kind="amd",
        memory_total=_amount(total),
        memory_used=_amount(used),
        utilisation=busy,
    )


def _gpus(text: str) -> list[dict[str, Any]]:
    found = json.loads(text)
    if isinstance(found, dict):
        found = found.get("gpu_data", [])
    return [entry for entry in found if isinstance(entry, dict) and "gpu" in entry]


def _amount(value: Any) -> int | None:
    """A number in its smallest unit (bytes, percent): plain, as text, or ``{"value": 196592, "unit": "MB"}``; None for ``N/A``."""
    factor = 1
    if isinstance(value, dict):
        factor = _UNITS.get(str(value.get("unit")), 1)
        value = value.get("value")
    try:
        return int(float(value)) * factor
    except (TypeError, ValueError):
        return None


def _unique(value: Any) -> int | None:
    try:
        return int(str(value), 16)
    except ValueError:
        return None


def _with_processes(tools: Tools, devices: list[Device], notes: list[str]) -> Discovery:
    by_kfd = {number: device.index for number, device in _kfd_numbers(tools, devices).items()}
    processes: list[GpuProcess] = []
    for pid, number in _queues(tools):
        index = by_kfd.get(number)
        seen = process(index, pid, _vram(tools, pid, number)) if index is not None else None
        if seen is not None and seen not in processes:
            processes.append(seen)
    held = [
        msgspec.structs.replace(device, holder=holder([entry for entry in processes if entry.device == device.index])) for device in devices
    ]
    return Discovery(devices=tuple(held), processes=tuple(processes), notes=tuple(notes), driver=_read("/sys/module/amdgpu/version"))


def _kfd_numbers(tools: Tools, devices: list[Device]) -> dict[str, Device]:
    """The kernel's own number of each GPU (``gpu_id``), matched by unique id; in the order of the nodes where GPUs have none."""
    nodes = []
    for node in _numbered(os.path.join(tools.kfd, "topology", "nodes")):
        number = _read(os.path.join(tools.kfd, "topology", "nodes", node, "gpu_id"))
        if number and number != "0":  # 0: a CPU
            lines = (_read(os.path.join(tools.kfd, "topology", "nodes", node, "properties")) or "").splitlines()
            properties = dict(line.split(" ", 1) for line in lines if " " in line)
            nodes.append((number, f"GPU-{int(properties.get('unique_id', '0')):016x}"))
    known = {device.uuid: device for device in devices}
    matched = {number: known[uuid] for number, uuid in nodes if uuid in known}
    if not matched and len(nodes) == len(devices):
        return {number: device for (number, _), device in zip(nodes, devices, strict=True)}
    return matched


def _queues(tools: Tools) -> list[tuple[int, str]]:
    """Which process has a compute queue on which GPU."""
    found = []
    root = os.path.join(tools.kfd, "proc")
    for pid in _numbered(root):
        for queue in _numbered(os.path.join(root, pid, "queues")):
            number = _read(os.path.join(root, pid, "queues", queue, "gpuid"))
            if number:
                found.append((int(pid), number))
    return found


def _vram(tools: Tools, pid: int, number: str) -> int | None:
    return _amount(_read(os.path.join(tools.kfd, "proc", str(pid), f"vram_{number}")))


def _numbered(path: str) -> list[str]:
    try:
        return sorted((name for name in os.listdir(path) if name.isdigit()), key=int)
    except OSError:
        return []


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 16).decode("utf-8", "replace").strip()
    except OSError:
        return None
