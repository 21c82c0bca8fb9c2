"""Drivers and their tools, as recorded, and machines without any."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpuctl.base.errors import InvalidInput
from gpuctl.clusters.local.devices import amd, discover, nvidia, seen
from gpuctl.clusters.local.leases import process_owner


class NvmlError(Exception):
    """What ``pynvml.NVMLError`` prints like."""


def gpu(name: str, number: int, **changes: Any) -> dict[str, Any]:
    """One GPU in the shapes in which nvidia-ml-py 12 and 13 answer."""
    return {
        "UUID": f"GPU-5e7e4b1a-0000-4000-8000-00000000000{number}",
        "Name": name,
        "Serial": f"165432100000{number}",
        "MemoryInfo": SimpleNamespace(total=85520809984, free=84911325184, used=609484800),
        "UtilizationRates": SimpleNamespace(gpu=37, memory=12),
        "MigMode": [0, 0],
        "ComputeRunningProcesses": [],
    } | changes


class FakeNvml:
    """A stand-in for the pynvml module. A value that is an exception is raised."""

    NVMLError: type[Exception] = NvmlError

    def __init__(self, *gpus: dict[str, Any] | Exception, init: Exception | None = None) -> None:
        self._gpus = gpus
        self._init = init
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if self._init:
            raise self._init
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.86.15"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        return answer(self._gpus[index])

    def __getattr__(self, name: str) -> Any:
        assert name.startswith("nvmlDeviceGet"), name
        return lambda handle: answer(handle[name.removeprefix("nvmlDeviceGet")])


def answer(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


def on_gpu(pid: int, memory: int | None = 1 << 30) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=memory, gpuInstanceId=4294967295, computeInstanceId=4294967295)


def test_nvidia_gpus_with_all_that_is_known() -> None:
    me = os.getpid()
    nvml = FakeNvml(gpu("NVIDIA H100 80GB HBM3", 0), gpu("NVIDIA H100 80GB HBM3", 1, ComputeRunningProcesses=[on_gpu(me)]))
    found = discover({}, {}, nvml=nvml)
    first, second = found.devices
    assert (first.index, first.uuid, first.type, first.name, first.kind) == (
        0,
        "GPU-5e7e4b1a-0000-4000-8000-000000000000",
        "H100",
        "NVIDIA H100 80GB HBM3",
        "nvidia",
    )
    assert (first.memory_total, first.memory_used, first.utilisation, first.serial) == (85520809984, 609484800, 37, "1654321000000")
    assert first.free
    assert second.holder is not None
    assert (second.holder.pid, second.holder.user) == (me, process_owner(me))
    (process,) = found.processes
    assert (process.device, process.pid, process.memory) == (1, me, 1 << 30)
    assert found.driver == "570.86.15"
    assert found.notes == ()
    assert nvml.open == 0


def test_a_question_that_fails_leaves_only_its_own_field_unknown() -> None:
    no = NvmlError("Not Supported")
    odd = gpu("NVIDIA GB10", 0, MemoryInfo=no, UtilizationRates=no, Serial=no, MigMode=no, ComputeRunningProcesses=no)
    (device,) = discover({}, {}, nvml=FakeNvml(odd)).devices
    assert device.type == "GB10"
    assert (device.memory_total, device.memory_used, device.utilisation, device.serial, device.holder) == (None,) * 5


def test_old_releases_answer_in_bytes() -> None:
    (device,) = discover({}, {}, nvml=FakeNvml(gpu("", 0, Name=b"Tesla T4", UUID=b"GPU-abc", Serial=b"123"))).devices
    assert (device.uuid, device.type, device.serial) == ("GPU-abc", "T4", "123")


def test_a_lost_gpu_is_left_out_and_told() -> None:
    found = discover({}, {}, nvml=FakeNvml(gpu("NVIDIA H200", 0), NvmlError("GPU is lost"), gpu("NVIDIA H200", 2)))
    assert [device.index for device in found.devices] == [0, 2]
    assert found.notes == ("GPU 1 is left out, it does not answer: GPU is lost",)


def test_mig_is_left_as_it_is_and_told() -> None:
    found = discover({}, {}, nvml=FakeNvml(gpu("NVIDIA H100 80GB HBM3", 0, MigMode=[1, 1])))
    assert len(found.devices) == 1
    assert "GPU 0 is in MIG mode" in found.notes[0]


def test_a_driver_that_does_not_answer_gives_slots_and_a_note() -> None:
    found = discover({"slots": "3"}, {}, nvml=FakeNvml(init=NvmlError("Driver/library version mismatch")))
    assert [device.uuid for device in found.devices] == ["slot-0", "slot-1", "slot-2"]
    assert found.notes == ("the NVIDIA driver does not answer, so no GPU is used: Driver/library version mismatch",)


def test_the_desktop_does_not_take_a_gpu(tmp_path: Path) -> None:
    for pid, name in ((7, "gnome-shell"), (8, "python3")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(name + "\n")
    assert seen.process(0, 7, None, proc=str(tmp_path)) is None
    assert seen.process(0, 8, None, proc=str(tmp_path)) is not None
    elsewhere = seen.process(0, 9, None, proc=str(tmp_path))
    assert elsewhere is not None
    assert elsewhere.user is None, "a process of another container has no name here"


def test_the_library_is_found_by_files_alone(tmp_path: Path) -> None:
    empty, cache = tmp_path / "lib", tmp_path / "ld.so.cache"
    empty.mkdir()
    assert not nvidia.present({}, directories=(str(empty),), cache=str(cache))
    cache.write_bytes(b"glibc-ld.so.cache1.1\0libnvidia-ml.so.1\0/opt/x/libnvidia-ml.so.1\0")
    assert nvidia.present({}, directories=(str(empty),), cache=str(cache))
    cache.unlink()
    (empty / "libnvidia-ml.so.1").touch()
    assert nvidia.present({"LD_LIBRARY_PATH": f"/nowhere:{empty}"}, directories=(), cache=str(cache))


def test_without_a_driver_pynvml_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it would raise, and be noted
    monkeypatch.setattr(nvidia, "present", lambda env: False)
    assert discover({"devices": "nvidia"}, {}).notes == ("there is no nvidia GPU on this machine",)
    monkeypatch.setattr(nvidia, "present", lambda env: True)
    assert "pip install nvidia-ml-py" in discover({}, {}, tools=FakeAmd(device="/nowhere")).notes[0]


@pytest.mark.parametrize(
    ("options", "env", "expected"),
    [
        ({}, {}, max(len(os.sched_getaffinity(0)), 8)),
        ({"slots": "2"}, {}, 2),
        ({"slots": "2"}, {"GPUCTL_LOCAL_SLOTS": "5"}, 5),
    ],
)
def test_slots(options: dict[str, str], env: dict[str, str], expected: int) -> None:
    found = discover(options | {"devices": "slots"}, env)
    assert [device.index for device in found.devices] == list(range(expected))
    assert {device.kind for device in found.devices} == {"slot"}


@pytest.mark.parametrize("text", ["0", "-1", "many", "4097", "1.5", "²"])
def test_a_wrong_number_of_slots_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        discover({"devices": "slots"}, {"GPUCTL_LOCAL_SLOTS": text})
    assert [(problem.field, problem.got) for problem in error.value.problems] == [("GPUCTL_LOCAL_SLOTS", text)]


def test_a_wrong_kind_of_device_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput) as error:
        discover({"devices": "nvida"}, {})
    assert error.value.problems[0].nearest == "nvidia"


class FakeAmd(amd.Tools, frozen=True, kw_only=True):
    """AMD's tools with recorded answers by the tool's name and its first word; anything else fails."""

    answers: Mapping[str, str] = {}

    def find(self, name: str) -> str | None:
        return name if any(key.startswith(name) for key in self.answers) else None

    def run(self, argv: Sequence[str]) -> str:
        key = " ".join(argv[:2])
        if key not in self.answers:
            raise OSError(f"{argv[0]} ended with 255: ERROR: Unable to load AMDGPU")
        return self.answers[key]


# As amd-smi 24 of ROCm 6.2 prints them on a node of MI300X, cut to what is read and one thing more of each.
_LIST = """[
  {"gpu": 0, "bdf": "0000:0c:00.0", "uuid": "8bff74a1-0000-1000-80ea-ddee1c8fd1c2", "kfd_id": 43178, "node_id": 2, "partition_id": 0},
  {"gpu": 1, "bdf": "0000:22:00.0", "uuid": "49ff74a1-0000-1000-8034-7bc1aa24d2b5", "kfd_id": 27920, "node_id": 3, "partition_id": 0}
]"""
_STATIC = """[
  {"gpu": 0, "asic": {"market_name": "AMD Instinct MI300X", "vendor_id": "0x1002", "asic_serial": "0x8BEADDEE1C8FD1C2", "oam_id": 7}},
  {"gpu": 1, "asic": {"market_name": "AMD Instinct MI300X", "vendor_id": "0x1002", "asic_serial": "0x49347BC1AA24D2B5", "oam_id": 5}}
]"""
_METRIC = """[
  {"gpu": 0, "usage": {"gfx_activity": {"value": 98, "unit": "%"}, "umc_activity": {"value": 12, "unit": "%"}},
   "mem_usage": {"total_vram": {"value": 196592, "unit": "MB"}, "used_vram": {"value": 283, "unit": "MB"}}},
  {"gpu": 1, "usage": "N/A", "mem_usage": {"total_vram": {"value": 196592, "unit": "MB"}, "used_vram": {"value": "N/A", "unit": "MB"}}}
]"""
_AMD_SMI = {"amd-smi list": _LIST, "amd-smi static": _STATIC, "amd-smi metric": _METRIC}

# rocm-smi of ROCm 5.7.
_ROCM_SMI = """WARNING: AMD GPU device(s) is/are in a low-power state. Check power control/runtime_status

{"card0": {"Unique ID": "0x8beaddee1c8fd1c2", "GPU use (%)": "3", "VRAM Total Memory (B)": "68702699520",
  "VRAM Total Used Memory (B)": "11259904", "PCI Bus": "0000:0C:00.0", "Card series": "AMD Instinct MI250X", "Card model": "0x0b0c",
  "Card vendor": "Advanced Micro Devices, Inc. [AMD/ATI]", "Card SKU": "D65201"},
 "card1": {"Unique ID": "N/A", "GPU use (%)": "N/A", "PCI Bus": "0000:22:00.0", "Card Series": "AMD Radeon RX 7900 XTX"},
 "system": {"Driver version": "6.2.4"}}"""


def kfd(root: Path, *, pid: int) -> str:
    """The kernel's files for two GPUs behind a CPU, with a queue of ``pid`` on the second GPU."""
    for node, (number, unique) in enumerate([("0", 0), ("43178", 0x8BEADDEE1C8FD1C2), ("27920", 0x49347BC1AA24D2B5)]):
        directory = root / "topology" / "nodes" / str(node)
        directory.mkdir(parents=True)
        (directory / "gpu_id").write_text(number + "\n")
        (directory / "properties").write_text(f"cpu_cores_count 0\nsimd_count 1216\nunique_id {unique}\n")
    queue = root / "proc" / str(pid) / "queues" / "0"
    queue.mkdir(parents=True)
    (queue / "gpuid").write_text("27920\n")
    (root / "proc" / str(pid) / "vram_27920").write_text("4096\n")
    return str(root)


def tools(tmp_path: Path, answers: Mapping[str, str]) -> FakeAmd:
    (tmp_path / "dev").touch()
    return FakeAmd(answers=answers, kfd=kfd(tmp_path / "kfd", pid=os.getpid()), device=str(tmp_path / "dev"))


def test_amd_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "present", lambda env: False)
    found = discover({}, {}, tools=tools(tmp_path, _AMD_SMI))
    first, second = found.devices
    assert (first.uuid, first.type, first.kind) == ("GPU-8beaddee1c8fd1c2", "MI300X", "amd")
    assert (first.memory_total, first.memory_used, first.utilisation, first.holder) == (196592 << 20, 283 << 20, 98, None)
    assert (second.memory_used, second.utilisation) == (None, None)
    assert second.holder is not None
    assert second.holder.pid == os.getpid()
    assert [(process.device, process.memory) for process in found.processes] == [(1, 4096)]


def test_newer_amd_smi_wraps_its_answers(tmp_path: Path) -> None:
    wrapped = {key: f'{{"gpu_data": {text}}}' for key, text in _AMD_SMI.items()}
    assert discover({"devices": "amd"}, {}, tools=tools(tmp_path, wrapped)).devices[0].memory_total == 196592 << 20


def test_rocm_smi_where_there_is_no_amd_smi(tmp_path: Path) -> None:
    found = discover({"devices": "amd"}, {}, tools=tools(tmp_path, {"rocm-smi --showuniqueid": _ROCM_SMI}))
    first, second = found.devices
    assert (first.uuid, first.type, first.memory_total, first.utilisation) == ("GPU-8beaddee1c8fd1c2", "MI250X", 68702699520, 3)
    assert (second.uuid, second.type, second.memory_total) == ("amd-0000:22:00.0", "RX-7900-XTX", None)


def test_a_tool_that_fails_is_told_and_the_next_one_asked(tmp_path: Path) -> None:
    answers = {"amd-smi nothing": "", "rocm-smi --showuniqueid": _ROCM_SMI}
    found = discover({"devices": "amd"}, {}, tools=tools(tmp_path, answers))
    assert len(found.devices) == 2
    assert found.notes == ("amd-smi does not tell the GPUs: amd-smi ended with 255: ERROR: Unable to load AMDGPU",)


def test_tools_that_print_nonsense_give_slots_and_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "present", lambda env: False)
    answers = {"amd-smi list": "{]", "rocm-smi --showuniqueid": "no json"}
    found = discover({"slots": "1"}, {}, tools=tools(tmp_path, answers))
    assert [device.kind for device in found.devices] == ["slot"]
    assert len(found.notes) == 2


def test_a_real_tool_is_run_and_its_last_word_kept(tmp_path: Path) -> None:
    script = tmp_path / "amd-smi"
    script.write_text("#!/bin/sh\necho one >&2; echo broken >&2; exit 3\n")
    script.chmod(0o755)
    real = amd.Tools(env={"PATH": str(tmp_path)})
    assert real.find("amd-smi") == str(script)
    with pytest.raises(OSError, match="ended with 3: broken"):
        real.run([str(script)])
