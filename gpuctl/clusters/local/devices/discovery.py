"""One look at the devices of this machine: GPUs if a driver tells of any, else process slots."""

from collections.abc import Mapping

import msgspec

from gpuctl.base.errors import InvalidInput, Problem, nearest
from gpuctl.clusters.local.devices import amd, nvidia, slots
from gpuctl.clusters.local.devices.seen import Discovery, GpuProcess

__all__ = ["OPTION", "VARIABLE", "Discovery", "GpuProcess", "discover"]

OPTION = "devices"
VARIABLE = "GPUCTL_LOCAL_DEVICES"
_KINDS = ("auto", "nvidia", "amd", "slots")


def discover(
    options: Mapping[str, str], env: Mapping[str, str], *, nvml: nvidia.Nvml | None = None, tools: amd.Tools | None = None
) -> Discovery:
    """The devices of this machine with who is on them, in the order of their indices.

    Args:
        options: the cluster's options in the profile. ``devices``: auto (default), nvidia, amd or slots; ``slots``: how many.
        env: the environment; GPUCTL_LOCAL_DEVICES and GPUCTL_LOCAL_SLOTS come before the options.
        nvml: a stand-in for the ``pynvml`` module; it counts as a driver that is present.
        tools: a stand-in for AMD's command-line tools and the kernel's files.

    Raises:
        InvalidInput: an option is wrong. A driver that fails is no error: there are no GPUs then, and a note.
    """
    kind = _kind(options, env)
    notes: tuple[str, ...] = ()
    if kind in {"auto", "nvidia"} and (nvml is not None or nvidia.present(env)):
        found = nvidia.discover(nvml)
        if found.devices:
            return found
        notes += found.notes
    tools = tools or amd.Tools(env=env)
    if kind in {"auto", "amd"} and amd.present(tools):
        found = amd.discover(tools)
        if found.devices:
            return msgspec.structs.replace(found, notes=notes + found.notes)
        notes += found.notes
    if kind in {"nvidia", "amd"}:
        return Discovery(notes=notes or (f"there is no {kind} GPU on this machine",))
    return Discovery(devices=slots.discover(options, env), notes=notes)


def _kind(options: Mapping[str, str], env: Mapping[str, str]) -> str:
    for field, text in ((VARIABLE, env.get(VARIABLE)), (OPTION, options.get(OPTION))):
        if text:
            if text not in _KINDS:
                allowed = ", ".join(_KINDS)
                problem = Problem(field=field, message="is not a kind of device", got=text, allowed=allowed, nearest=nearest(text, _KINDS))
                raise InvalidInput("cannot look for the devices of this machine", [problem], code="bad-devices")
            return text
    return "auto"
