"""Where this machine's state lies, and whether it can lie there.

``$GPUCTL_STATE_DIR``, else ``$XDG_STATE_HOME/gpuctl/<machine>`` (``~/.local/state`` by default). The machine is part of the path: a home
directory on NFS that is seen from another host holds that host's state beside ours. A file system that several hosts write to is
refused, because SQLite's write-ahead log needs shared memory between all of its users (https://www.sqlite.org/wal.html).
"""

import dataclasses
import errno
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from gpuctl.base.errors import GpuctlError, UsageError
from gpuctl.config.paths import home

_MACHINE_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_MOUNTS = "/proc/self/mountinfo"
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "lustre", "gpfs", "ceph", "afs", "beegfs", "glusterfs", "gfs2", "ocfs2", "orangefs"}
    | {"panfs", "pvfs2", "wekafs", "ncpfs", "coda", "acfs", "quobyte"}
)
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.overlayfs", "fuse.lxcfs", "fuse.bindfs", "fuse.mergerfs"})
_MOVE_HINT = "export GPUCTL_STATE_DIR=/var/tmp/gpuctl-$USER    (any directory on a local disk; XDG_STATE_HOME moves it as well)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatePaths:
    """The files of one user's state on one machine; ``root`` is absolute and 0700."""

    root: str

    @property
    def database(self) -> str:
        """The store."""
        return f"{self.root}/gpuctl.db"

    @property
    def setup_lock(self) -> str:
        """Locked while the store is created, migrated or set aside."""
        return f"{self.root}/setup.lock"

    @property
    def suspect(self) -> str:
        """Exists after a read found the store damaged: the next open checks it whole."""
        return f"{self.root}/gpuctl.db.suspect"

    @property
    def key(self) -> str:
        """The per-user key that environments are sealed with."""
        return f"{self.root}/key"

    @property
    def keeper_lock(self) -> str:
        """Locked by the keeper, or by a command for one pass."""
        return f"{self.root}/keeper.lock"

    @property
    def keeper_log(self) -> str:
        """What the keeper did, for people who debug it."""
        return f"{self.root}/keeper.log"

    @property
    def wake(self) -> str:
        """FIFO that wakes the keeper."""
        return f"{self.root}/wake"

    @property
    def jobs(self) -> str:
        """One directory per job."""
        return f"{self.root}/jobs"

    def job(self, job_id: str) -> str:
        """The directory of one job."""
        return f"{self.jobs}/{job_id}"

    def record(self, job_id: str) -> str:
        """What was accepted, as JSON: what the store is rebuilt from when its file is damaged."""
        return f"{self.jobs}/{job_id}/job.json"

    def sealed(self, job_id: str) -> str:
        """The sealed environment and secrets; gone once the job has ended."""
        return f"{self.jobs}/{job_id}/sealed"

    def snapshot(self, job_id: str) -> str:
        """The copy of the code, for ``--snapshot``."""
        return f"{self.jobs}/{job_id}/snapshot"

    def logs(self, job_id: str) -> str:
        """The logs of all its attempts."""
        return f"{self.jobs}/{job_id}/logs"

    def launch(self, job_id: str, number: int) -> str:
        """The directory of one launch (see ``launchplan``)."""
        return f"{self.jobs}/{job_id}/l{number}"


def machine_id() -> str:
    """Twelve hexadecimal digits that stay with this machine and say nothing about it."""
    import socket
    import uuid

    for path in _MACHINE_FILES:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if re.fullmatch(r"[0-9a-f]{32}", text):
            return _short(text)
    return _short(f"{uuid.getnode():012x}/{socket.gethostname()}")


def _short(seed: str) -> str:
    return hashlib.sha256(f"gpuctl machine {seed}".encode()).hexdigest()[:12]


def state_root(environ: Mapping[str, str]) -> str:
    """The state directory that this environment names; it need not exist."""
    explicit = environ.get("GPUCTL_STATE_DIR", "")
    if explicit:
        return os.path.abspath(explicit)
    base = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):  # the XDG specification: a relative path is to be ignored
        base = os.path.join(home(environ), ".local", "state")
    return os.path.join(base, "gpuctl", machine_id())


def data_root(environ: Mapping[str, str]) -> str:
    """Where volumes live: ``$XDG_DATA_HOME/gpuctl``, ``~/.local/share/gpuctl`` by default."""
    base = environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(home(environ), ".local", "share")
    return os.path.join(base, "gpuctl")


def prepare(root: str) -> StatePaths:
    """Make the directory and its FIFO if they are not there, 0700.

    Raises:
        UsageError: ``state-on-network``.
        GpuctlError: ``state-read-only``, ``state-full``, ``state-unusable``.
    """
    paths = StatePaths(root=root)
    kind = network_filesystem(root)
    if kind is not None:
        raise UsageError(
            f"cannot keep state in {root}: it is on a network file system ({kind}), where the store's locks do not hold",
            code="state-on-network",
            hint=_MOVE_HINT,
        )
    try:
        os.makedirs(paths.jobs, mode=0o700, exist_ok=True)
        if stat.S_IMODE(os.stat(root).st_mode) != 0o700:
            os.chmod(root, 0o700)
        if not os.path.exists(paths.wake):
            _make_fifo(paths.wake)
    except OSError as error:
        raise state_error(root, error) from error
    return paths


def _make_fifo(path: str) -> None:
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        return  # another gpuctl was first


def state_error(root: str, error: OSError) -> GpuctlError:
    """What an operating system error in the state directory means to a person."""
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return GpuctlError(f"cannot write state in {root}", code="state-read-only", cause=os.strerror(error.errno), hint=_MOVE_HINT)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return GpuctlError(f"cannot write state in {root}", code="state-full", cause=os.strerror(error.errno), hint=f"df -h {root}")
    cause = os.strerror(error.errno) if error.errno else str(error)
    return GpuctlError(f"cannot use {root} for state", code="state-unusable", cause=cause, hint=_MOVE_HINT)


def network_filesystem(path: str, *, mounts: str = _MOUNTS) -> str | None:
    """The type of the network file system that ``path`` (or its nearest existing parent) is on; None: local, or not known."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    target = _existing(path)
    best, kind = -1, ""
    for line in lines:
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:  # equal: mounted over, the later one is what is seen
            best, kind = len(point), right.split(" ")[0]
    return kind if is_network(kind) else None


def is_network(kind: str) -> bool:
    """Whether files on a file system of this type (as in mountinfo) may be written by other hosts."""
    return kind in _NETWORK or kind == "fuse" or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def _existing(path: str) -> str:
    current = os.path.realpath(path)
    while not os.path.lexists(current) and current != "/":
        current = os.path.dirname(current)
    return current
