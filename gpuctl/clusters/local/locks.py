"""Lock files in a directory that several users share, and where that directory is.

A lock is a ``flock`` on an open file: it belongs to the open file description, so a supervisor that inherits the descriptor holds the lock,
and the kernel frees it when the last process that has it is gone, however it went. The directory is sticky (nobody but its owner removes a
file), and nothing in it is believed: files are opened without following links and looked at again once they are locked, and what is
written in them is only ever shown.

Looking whether a lock is held must not make somebody else's attempt to take it fail. F_OFD_GETLK would tell without touching, but only
about record locks, and /proc/locks leaves out what other containers hold. So a probe takes the lock shared for an instant, and whoever
wants it exclusively and fails asks once more for it shared: refused, somebody really holds it; granted, only probes were in the way, and it
tries again.
"""

import errno
import fcntl
import grp
import os
import pwd
import random
import stat
import time
from collections.abc import Mapping

import msgspec

from gpuctl.base.errors import UnavailableError

SHARED_DIRECTORY = "/var/lock/gpuctl"
OVERRIDE = "GPUCTL_LOCK_DIR"
_TMPFILES = "/etc/tmpfiles.d"
RECORD = 1024
"""Most bytes that are read from, or written to, a lock file."""
_PATIENCE = 60
_TRIES = 20


class LockDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """Where locks are. ``shared``: every user of this machine meets there. ``note``: what a person should know, empty if nothing."""

    path: str
    shared: bool
    note: str = ""
    fix: str | None = None
    """A command that would make it shared."""

    def file(self, name: str) -> str:
        """The path of the lock called ``name``; characters that a file name had better not hold become ``_``."""
        return os.path.join(self.path, "".join(c if c.isalnum() or c in "-._" else "_" for c in name) + ".lock")


def directory(env: Mapping[str, str], *, fallback: str) -> LockDirectory:
    """The directory to use: ``GPUCTL_LOCK_DIR``, else /var/lock/gpuctl, else a private one below ``fallback``.

    ``fallback`` is this machine's directory below the state directory. It comes before XDG_RUNTIME_DIR, which vanishes with the last login
    while jobs go on; that one is used only where the state directory cannot be written.

    Raises:
        UnavailableError: the override, or every place for a private one, cannot be used.
    """
    override = env.get(OVERRIDE)
    if override:
        _make_private(override)
        why = unusable(override)
        if why is not None:
            raise UnavailableError(f"cannot lock devices in {override}: it {why}", code="lock-directory", hint=f"unset {OVERRIDE}")
        return LockDirectory(path=override, shared=is_shared(override))
    why = unusable(SHARED_DIRECTORY)
    if why is None:
        return LockDirectory(path=SHARED_DIRECTORY, shared=True)
    note = f"devices are kept apart between your own jobs only, not between users: {SHARED_DIRECTORY} {why}"
    fix = f"sudo install -d -m 1777 {SHARED_DIRECTORY}"
    places = [fallback] + [os.path.join(runtime, "gpuctl") for runtime in [env.get("XDG_RUNTIME_DIR")] if runtime]
    for place in places:
        path = os.path.join(place, "locks")
        _make_private(path)
        if unusable(path) is None:
            return LockDirectory(path=path, shared=False, note=note, fix=fix)
    raise UnavailableError(f"cannot lock devices: {' and '.join(places)} cannot be written", code="lock-directory", cause=note, hint=fix)


class SetUp(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the wish for a shared directory: done, or the command that somebody with more rights has to give."""

    done: bool
    text: str
    command: str | None = None


def set_up(group: str | None = None) -> SetUp:
    """Make the shared directory: sticky, for everybody, or with ``group`` for its members only.

    Only root makes it, since a directory's owner may remove what others put there. It is on a file system that a reboot clears, so where
    systemd-tmpfiles is at work, root also leaves it a line that makes the directory at every boot.
    """
    mode = 0o3770 if group else 0o1777
    command = f"sudo install -d -m {mode:o}{f' -g {group}' if group else ''} {SHARED_DIRECTORY}"
    if unusable(SHARED_DIRECTORY) is None and is_shared(SHARED_DIRECTORY):
        return SetUp(done=True, text=f"{SHARED_DIRECTORY} is there")
    if os.geteuid() != 0:
        return SetUp(done=False, text=f"{SHARED_DIRECTORY} has to be made by root", command=command)
    try:
        number = grp.getgrnam(group).gr_gid if group else 0
    except KeyError:
        return SetUp(done=False, text=f"there is no group {group}", command=f"sudo groupadd {group}")
    try:
        for path in (SHARED_DIRECTORY, os.path.join(SHARED_DIRECTORY, "waiting")):
            _make_open(path, mode, number)
        if os.path.isdir(_TMPFILES) and not os.path.exists(os.path.join(_TMPFILES, "gpuctl.conf")):
            with open(os.path.join(_TMPFILES, "gpuctl.conf"), "w") as file:
                file.write(f"d {SHARED_DIRECTORY} {mode:o} root {group or 'root'} -\n")
    except OSError as error:
        return SetUp(done=False, text=f"cannot make {SHARED_DIRECTORY}: {error.strerror}", command=command)
    why = unusable(SHARED_DIRECTORY)
    return SetUp(done=why is None, text=f"{SHARED_DIRECTORY} {why or 'is set up'}", command=command if why else None)


def _make_open(path: str, mode: int, group: int) -> None:
    """Make a directory of root's with this mode and group; never through a link that somebody laid in its place."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, 0, group)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _make_private(path: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError:
        pass  # unusable says what is wrong with it


def unusable(path: str) -> str | None:
    """Why this directory cannot hold locks (the end of a sentence that begins with "it"), or None when it can."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISLNK(info.st_mode):
        return "is a link"
    if not stat.S_ISDIR(info.st_mode):
        return "is not a directory"
    if info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX:
        return "can be written by others and is not sticky"
    if not os.access(path, os.W_OK | os.X_OK):
        return "cannot be written by you"
    return None


def is_shared(path: str) -> bool:
    """Whether others may make files in this directory."""
    return bool(os.lstat(path).st_mode & 0o022)


def take(path: str) -> int | None:
    """Lock ``path`` exclusively, making it if it is missing. The locked descriptor (close-on-exec), or None while somebody holds it.

    Raises:
        UnavailableError: what lies there is no lock file (a link, a directory, a file with several names).
    """
    for _ in range(_TRIES):
        fd = _open(path, create=True)
        if fd is None:
            return None
        try:
            _check(fd, path)
            if not _exclusive(fd):
                os.close(fd)
                return None
            if _still_there(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise UnavailableError(f"cannot lock {path}: it is replaced again and again", code="lock-unusable")


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a lock found. ``record`` is whatever the file holds, at most ``RECORD`` bytes; never to be believed."""

    held: bool
    record: bytes = b""
    owner: int | None = None
    """The uid of the file."""


def probe(path: str) -> Probe:
    """Whether somebody holds the lock at ``path``; never in the way of somebody who takes it (see the module)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Probe(held=False)
    except OSError:
        try:
            return Probe(held=True, owner=os.lstat(path).st_uid)  # not ours to open: certainly not ours to take
        except OSError:
            return Probe(held=False)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return Probe(held=True, owner=info.st_uid)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Probe(held=True, record=os.pread(fd, RECORD, 0), owner=info.st_uid)
        return Probe(held=False, record=os.pread(fd, RECORD, 0), owner=info.st_uid)
    finally:
        os.close(fd)


def write_record(fd: int, record: bytes) -> None:
    """Replace what a lock file says. Only the holder of the lock may call this.

    Raises:
        ValueError: more than ``RECORD`` bytes.
    """
    if len(record) > RECORD:
        raise ValueError(f"a lock's record has at most {RECORD} bytes, got {len(record)}")
    try:
        os.pwrite(fd, record.ljust(1), 0)
        os.ftruncate(fd, len(record))
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise  # without room for the record the lock is as good, it only cannot say whose it is


def user_name(uid: int) -> str:
    """The login name of ``uid``, or the number as text where nobody has it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _open(path: str, *, create: bool) -> int | None:
    """The file open for reading and writing; None while its maker has not opened it up for others yet, or never will."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    mode = 0o666 if is_shared(os.path.dirname(path)) else 0o600
    for _ in range(_TRIES):
        try:
            return os.open(path, flags)  # never with O_CREAT: fs.protected_regular refuses that on somebody else's file
        except FileNotFoundError:
            if not create:
                return None
        except PermissionError:
            time.sleep(0.001)
            continue
        except OSError as error:
            raise UnavailableError(f"cannot lock {path}", code="lock-unusable", cause=error.strerror) from error
        try:
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            continue
        except OSError as error:
            raise UnavailableError(f"cannot make the lock {path}", code="lock-unusable", cause=error.strerror) from error
        os.fchmod(fd, mode)  # whatever the umask says: others must be able to lock it
        return fd
    return None


def _check(fd: int, path: str) -> None:
    info = os.fstat(fd)
    why = None
    if not stat.S_ISREG(info.st_mode):
        why = "it is not a regular file"
    elif info.st_nlink > 1:
        why = f"the file has {info.st_nlink} names"
    elif info.st_uid not in {0, os.geteuid()} and not is_shared(os.path.dirname(path)):
        why = f"it belongs to {user_name(info.st_uid)}"
    if why is not None:
        raise UnavailableError(f"cannot lock {path}: {why}", code="lock-unusable", hint=f"sudo rm {path}")


def _exclusive(fd: int) -> bool:
    for _ in range(_PATIENCE):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # a probe would have let us share it: somebody holds it
        fcntl.flock(fd, fcntl.LOCK_UN)
        time.sleep(random.uniform(0.0002, 0.002))
    return False


def _still_there(fd: int, path: str) -> bool:
    """Whether ``path`` still names the file that is locked (nobody removed or replaced it between opening and locking)."""
    mine = os.fstat(fd)
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino) and mine.st_nlink == 1 and stat.S_ISREG(there.st_mode)
