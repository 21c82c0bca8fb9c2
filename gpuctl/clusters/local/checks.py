"""What ``gpuctl doctor`` shows of this machine."""

import dataclasses
import os
import stat
from collections.abc import Callable, Iterator

from gpuctl.base import quantity
from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.local import cgroup, paths, rounds
from gpuctl.clusters.local.inventory import Machine
from gpuctl.clusters.local.store import Database

_LITTLE_SPACE = 1 << 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One line: what was looked at, how it is (ok, note, problem), what was found, and what mends it."""

    name: str
    verdict: str
    text: str
    fix: str | None = None


def lines(*, root: str, machine: Machine, open_store: Callable[[], Database]) -> tuple[Line, ...]:
    """All of them. Nothing raises: what fails is a line."""
    return (*_state(root, open_store), *_locks(machine), *_devices(machine), *_schedule(machine), _cgroup())


def _state(root: str, open_store: Callable[[], Database]) -> Iterator[Line]:
    try:
        database = open_store()
    except GpuctlError as error:
        yield Line(
            name="state directory",
            verdict="problem",
            text=f"{error.message}" + (f" ({error.cause})" if error.cause else ""),
            fix=error.hint,
        )
        return
    usage = os.statvfs(root)
    free = usage.f_bavail * usage.f_frsize
    mode = stat.S_IMODE(os.stat(root).st_mode)
    verdict = "note" if free < _LITTLE_SPACE else "ok"
    yield Line(
        name="state directory", verdict=verdict, text=f"{root}, mode {mode:04o}, {quantity.memory(free)} free, on this machine's disk"
    )
    for note in database.notes:
        yield Line(name="job store", verdict="note", text=note)
    listening = rounds.listening(paths.StatePaths(root=root))
    yield Line(name="keeper", verdict="ok", text="one is running: jobs wait" if listening else "none is running, and none is needed now")


def _locks(machine: Machine) -> Iterator[Line]:
    try:
        directory = machine.locks
    except GpuctlError as error:
        yield Line(name="device locks", verdict="problem", text=error.message, fix=error.hint)
        return
    if directory.shared:
        yield Line(name="device locks", verdict="ok", text=f"{directory.path}, shared by everybody on this machine")
    else:
        yield Line(name="device locks", verdict="note", text=directory.note or f"{directory.path}, yours alone", fix=directory.fix)


def _devices(machine: Machine) -> Iterator[Line]:
    try:
        found = machine.discover()
    except GpuctlError as error:
        yield Line(name="devices", verdict="problem", text=error.message, fix=error.hint)
        return
    kinds: dict[str, int] = {}
    for device in found.devices:
        kinds[device.type] = kinds.get(device.type, 0) + 1
    text = ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "none"
    if all(device.kind == "slot" for device in found.devices):
        text = f"no GPU; {len(found.devices)} process slots stand in for them"
    yield Line(
        name="devices", verdict="ok" if found.devices else "problem", text=text + (f", driver {found.driver}" if found.driver else "")
    )
    for note in found.notes:
        yield Line(name="devices", verdict="note", text=note)


def _schedule(machine: Machine) -> Iterator[Line]:
    if machine.schedule is None:
        return
    from gpuctl.clusters.local import windows

    path = machine.schedule.path
    try:
        found = windows.status(machine.schedule, machine)
    except GpuctlError as error:
        yield Line(name="schedule", verdict="problem", text=error.message, fix=f"gpuctl windows check {path}")
        return
    name = found.name
    if not found.nodes:
        yield Line(name="schedule", verdict="note", text=f"{name} in {path} is not about this machine")
    elif machine.team is None:
        yield Line(name="schedule", verdict="note", text=f"{name} in {path}, but no team is set", fix="export GPUCTL_TEAM=NAME")
    else:
        yield Line(name="schedule", verdict="ok", text=f"{name} in {path}, my team is {machine.team}")


def _cgroup() -> Line:
    if cgroup.base() is not None:
        return Line(name="cgroup", verdict="ok", text="each job gets its own, so none of its processes escapes")
    return Line(
        name="cgroup", verdict="note", text="none may be made here; a job's processes are found by descent and by their environment"
    )
