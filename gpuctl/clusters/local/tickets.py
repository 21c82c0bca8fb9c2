"""Fairness between users of one workstation: who waits for devices, since when, for how many.

A keeper holds one locked ticket file per waiting job in ``<locks>/waiting/``. The name says since when, whose and which job
(``<nanoseconds, 20 digits>.<uid>.<job id>.lock``); the content says how many devices and the names. A ticket whose lock is free belongs to
a keeper that died: it counts for nothing, and its owner's next look removes it. Nothing in it is believed beyond its age: the user is
the owner of the file, amounts and lengths are bounded, whatever else lies there is passed over.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import UnavailableError
from gpuctl.clusters.local import locks
from gpuctl.clusters.local.leases import shown
from gpuctl.clusters.local.locks import LockDirectory
from gpuctl.model import decoding
from gpuctl.policy.values import Claim

_NAME = re.compile(r"(\d{20})\.(\d{1,10})\.([A-Za-z0-9_-]{1,64})\.lock\Z")
_MOST = 2000
"""More tickets than this are not looked at: nobody waits with so many, and nobody shall stop others by making them."""
_MOST_GPUS = 4096
_LATEST = 253402300799


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One waiting job of mine: since when it waits, how many devices it needs at once, its name for others to read."""

    since: datetime
    gpus: int
    name: str = ""


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    gpus: int = 0
    name: str = ""


_DECODER = decoding.decoder(_Content)


class Tickets:
    """The tickets that this keeper holds.

    Args:
        directory: where the locks are. In a private one tickets work too, nobody else reads them.
    """

    def __init__(self, directory: LockDirectory) -> None:
        self._waiting = LockDirectory(path=os.path.join(directory.path, "waiting"), shared=directory.shared)
        self._held: dict[str, tuple[Wanted, int]] = {}
        self.problem = _make(self._waiting)
        """Why no ticket can be held (others do not see that we wait then; we still get what is free), None when all is well."""

    def keep(self, wanted: Mapping[str, Wanted]) -> None:
        """Hold exactly these tickets, by job id: new ones are taken, the others given up. What goes wrong is put into ``problem``."""
        for job in [job for job, (value, _) in self._held.items() if wanted.get(job) != value]:
            self._give_up(job)
        for job, value in wanted.items():
            if job not in self._held:
                try:
                    fd = locks.take(self._path(job, value))
                except UnavailableError as error:
                    self.problem = f"{error.message}: {error.cause}" if error.cause else error.message
                    return
                if fd is not None:
                    locks.write_record(fd, msgspec.json.encode(_Content(gpus=value.gpus, name=value.name[:64])))
                    self._held[job] = (value, fd)

    def close(self) -> None:
        """Give up all of them. May be called twice."""
        for job in list(self._held):
            self._give_up(job)

    def _path(self, job: str, value: Wanted) -> str:
        nanos = max(0, round(value.since.timestamp() * 1_000_000)) * 1000
        return self._waiting.file(f"{nanos:020d}.{os.geteuid()}.{job}")

    def _give_up(self, job: str) -> None:
        value, fd = self._held.pop(job)
        try:
            os.unlink(self._path(job, value))
        except OSError:
            pass  # whoever cleared the directory has done it already
        os.close(fd)


def claims(directory: LockDirectory, *, uid: int | None = None, before: datetime | None = None) -> tuple[Claim, ...]:
    """What other users' keepers wait for, oldest first; with ``before`` only what waits longer than that.

    ``uid`` (default: this process's) is mine: my tickets are no claims against me, and those of a dead keeper of mine are removed.
    """
    me = os.geteuid() if uid is None else uid
    found = []
    for path, since, owner in _tickets(os.path.join(directory.path, "waiting")):
        look = locks.probe(path)
        if look.owner != owner:
            continue  # somebody wrote another user's number into the name
        if owner == me:
            if not look.held:
                _remove(path)
            continue
        if not look.held or (before is not None and since >= before):
            continue
        try:
            content = _DECODER.decode(look.record)
        except (msgspec.DecodeError, ValueError):
            continue
        if 0 < content.gpus <= _MOST_GPUS:
            found.append(Claim(user=locks.user_name(owner), since=since, gpus=content.gpus, name=shown(content.name) or None))
    return tuple(sorted(found, key=lambda claim: (claim.since, claim.user, claim.name or "")))


def _tickets(path: str) -> Iterator[tuple[str, datetime, int]]:
    try:
        names = sorted(os.listdir(path))  # the oldest first, by the name
    except OSError:
        return
    for name in names[:_MOST]:
        match = _NAME.match(name)
        if match and int(match[1]) // 1_000_000_000 <= _LATEST:
            yield os.path.join(path, name), clock.from_unix(int(match[1]) // 1000 / 1_000_000), int(match[2])


def _make(waiting: LockDirectory) -> str | None:
    mode = stat.S_IMODE(os.lstat(os.path.dirname(waiting.path)).st_mode)
    try:
        os.mkdir(waiting.path, mode)
        os.chmod(waiting.path, mode)  # as its parent, whatever the umask says
    except FileExistsError:
        pass
    except OSError as error:
        return f"cannot make {waiting.path}: {error.strerror}"
    why = locks.unusable(waiting.path)
    return f"cannot wait in line in {waiting.path}: it {why}" if why else None


def _remove(path: str) -> None:
    """Remove a dead keeper's ticket of mine, unless it has come to life since: its lock is taken first."""
    try:
        fd = locks.take(path)
    except UnavailableError:
        return
    if fd is not None:
        try:
            os.unlink(path)
        except OSError:
            pass
        os.close(fd)
