"""Leases of devices: one lock file per device, held by whoever runs on it.

Whether a device is free is decided by its lock and by the driver's list of processes, both; what the lock file says about its holder is for
people to read. The keeper takes the locks, the supervisor inherits them as open descriptors, and the kernel frees them when it dies.
"""

import os
from collections.abc import Iterable
from datetime import datetime

import msgspec

from gpuctl.base.errors import UnavailableError
from gpuctl.clusters.local import locks
from gpuctl.clusters.local.launchplan import Lease
from gpuctl.clusters.local.locks import LockDirectory
from gpuctl.model import decoding
from gpuctl.model.place import Device, Holder

_LONGEST = 64


class DeviceHeld(UnavailableError):
    """Somebody has one of the devices. ``device`` and ``holder`` say which and who."""

    default_code = "device-held"

    def __init__(self, device: Device, holder: Holder) -> None:
        super().__init__(f"cannot lease device {device.index}: {held_by(holder)}")
        self.device = device
        self.holder = holder


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a holder writes into its lock file."""

    user: str = ""
    pid: int = 0
    job: str = ""
    since: datetime | None = None


_DECODER = decoding.decoder(_Record)


class Leases:
    """Devices that this process holds. Closing gives them back, unless another process has inherited the descriptors."""

    def __init__(self, items: tuple[Lease, ...]) -> None:
        self.items = items
        """One lease per device, in the order in which the devices were given."""

    @property
    def fds(self) -> tuple[int, ...]:
        """The locked descriptors, for ``pass_fds`` of the process that shall hold them."""
        return tuple(item.fd for item in self.items if item.fd is not None)

    def annotate(self, holder: Holder) -> None:
        """Write down who holds them now (a supervisor puts its own pid)."""
        record = _record(holder)
        for fd in self.fds:
            locks.write_record(fd, record)

    def close(self) -> None:
        """Close our descriptors. May be called twice."""
        for fd in self.fds:
            os.close(fd)
        self.items = ()


def acquire(devices: Iterable[Device], holder: Holder, *, directory: LockDirectory) -> Leases:
    """Take all of ``devices``, or none. Never waits for a holder.

    Locks are taken in the order of their UUIDs whatever the order of ``devices``, so that of two who want overlapping sets one gets all.
    A device that ``devices.discover`` saw in use by a foreign process (``device.holder``) is refused.

    Raises:
        DeviceHeld: one of them is not free; nothing is held then.
        UnavailableError: a lock file cannot be used (``lock-unusable``).
    """
    wanted = tuple(devices)
    for device in wanted:
        now = device.holder or look(device, directory=directory)
        if now is not None:
            raise DeviceHeld(device, now)
    record = _record(holder)
    taken: dict[str, Lease] = {}
    try:
        for device in sorted(wanted, key=lambda device: device.uuid):
            path = directory.file(device.uuid)
            fd = locks.take(path)
            if fd is None:
                raise DeviceHeld(device, look(device, directory=directory) or Holder())
            taken[device.uuid] = Lease(index=device.index, uuid=device.uuid, kind=device.kind, lock=path, fd=fd)
            locks.write_record(fd, record)
    except BaseException:
        for lease in taken.values():
            if lease.fd is not None:
                os.close(lease.fd)
        raise
    return Leases(tuple(taken[device.uuid] for device in wanted))


def take(leases: Iterable[Lease], holder: Holder) -> Leases:
    """Lock devices known by their lock's path only (a slot that an array's supervisor was given while it ran). All or none.

    Raises:
        DeviceHeld: one of them is not free.
    """
    wanted = tuple(leases)
    record = _record(holder)
    taken: dict[str, int] = {}
    try:
        for lease in sorted(wanted, key=lambda lease: lease.uuid):
            fd = locks.take(lease.lock)
            if fd is None:
                device = Device(index=lease.index, uuid=lease.uuid, type=lease.kind, kind=lease.kind)
                raise DeviceHeld(device, _holder(locks.probe(lease.lock)) or Holder())
            taken[lease.uuid] = fd
            locks.write_record(fd, record)
    except BaseException:
        for fd in taken.values():
            os.close(fd)
        raise
    return Leases(tuple(msgspec.structs.replace(lease, fd=taken[lease.uuid]) for lease in wanted))


def look(device: Device, *, directory: LockDirectory) -> Holder | None:
    """Who holds the device's lock, None when nobody does. Reads only; never in the way of somebody who takes it."""
    return _holder(locks.probe(directory.file(device.uuid)))


def free(devices: Iterable[Device], *, directory: LockDirectory) -> dict[int, Holder | None]:
    """Who has each device, by index: the holder of its lock, else the foreign process that the driver sees, else None: free."""
    return {device.index: look(device, directory=directory) or device.holder for device in devices}


def with_holders(devices: Iterable[Device], *, directory: LockDirectory) -> tuple[Device, ...]:
    """The devices with ``holder`` filled in from locks and the driver, for ``gpuctl nodes``."""
    known = tuple(devices)
    holders = free(known, directory=directory)
    return tuple(msgspec.structs.replace(device, holder=holders[device.index]) for device in known)


def held_by(holder: Holder) -> str:
    """``held by anna, pid 4242`` or ``held by anna (job llama-k3f9)``, with what is known."""
    text = f"held by {holder.user or 'somebody'}"
    if holder.job:
        return f"{text} (job {holder.job})"
    return f"{text}, pid {holder.pid}" if holder.pid else text


def process_owner(pid: int) -> str | None:
    """The login name of the owner of a process, None when it cannot be seen."""
    try:
        return locks.user_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return None


def _record(holder: Holder) -> bytes:
    job, user = (holder.job or "")[:_LONGEST], (holder.user or locks.user_name(os.geteuid()))[:_LONGEST]
    return msgspec.json.encode(_Record(user=user, pid=holder.pid or os.getpid(), job=job, since=holder.since)) + b"\n"


def _holder(found: locks.Probe) -> Holder | None:
    if not found.held:
        return None
    try:
        record = _DECODER.decode(found.record)
    except (msgspec.DecodeError, ValueError):
        record = _Record()
    pid = record.pid if 0 < record.pid < 1 << 31 else None
    owner = process_owner(pid) if pid else None
    fallback = locks.user_name(found.owner) if found.owner is not None and not record.user else None
    return Holder(user=owner or shown(record.user) or fallback, pid=pid, job=shown(record.job) or None, since=record.since)


def shown(text: str) -> str:
    """Text from somebody else, fit for a terminal: printable, at most 64 characters."""
    return "".join(c for c in text[:_LONGEST] if c.isprintable())
