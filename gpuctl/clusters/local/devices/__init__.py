"""The devices of this machine, as they are now: NVIDIA and AMD GPUs, or process slots where there are none.

What may live here: asking drivers and their tools, and translating their answers into ``model.place.Device``. Nothing here leases, and
nothing changes a device's settings (MIG, compute mode, clocks). Without a driver nothing heavy is imported.
"""

from gpuctl.clusters.local.devices.discovery import Discovery, GpuProcess, discover

__all__ = ["Discovery", "GpuProcess", "discover"]
