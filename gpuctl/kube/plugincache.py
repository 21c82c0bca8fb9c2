"""What credential plugins gave, kept until it ends: one file per plugin and cluster, readable by us alone."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import msgspec

from gpuctl.model import decoding


class Kept(msgspec.Struct, frozen=True):
    """What a plugin gave. ``ends_at`` is a UNIX time; without one it is good for this process only."""

    token: str = ""
    certificate: str = ""
    key: str = ""
    ends_at: float | None = None

    def __repr__(self) -> str:
        return f"Kept(ends_at={self.ends_at})"


class PluginCache:
    """The cache of one plugin with its arguments, environment and cluster; anything of them changed is another cache.

    A cache that cannot be read or written is as good as none: the plugin runs. A file that others may read, or that is not ours, is
    not trusted.
    """

    def __init__(self, directory: Path, *, identity: Any) -> None:
        self._directory = directory
        self._path = directory / f"{hashlib.sha256(msgspec.json.encode(identity, order='sorted')).hexdigest()}.json"

    def read(self) -> Kept | None:
        """What was kept last, or None."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077 or not stat.S_ISREG(about.st_mode):
                return None
            try:
                return decoding.decode(file.read(), Kept)
            except (msgspec.DecodeError, UnicodeDecodeError, OSError):
                return None

    def write(self, kept: Kept) -> None:
        """Keep it in place of what was there, whole or not at all."""
        part = self._path.with_suffix(f".{os.getpid()}.part")
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.unlink(missing_ok=True)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(kept))
            os.replace(part, self._path)
        except OSError:
            part.unlink(missing_ok=True)
