"""Starting processes that outlive us: supervisors and the keeper.

They get a session of their own, no terminal, a small environment (never the submitter's tokens) and exactly the descriptors they are
meant to inherit.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from gpuctl.clusters.local import processes

_KEPT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE"}
    | {"XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"}
    | {"PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONIOENCODING", "VIRTUAL_ENV"}
    | {"GPUCTL_STATE_DIR", "GPUCTL_LOCK_DIR", "GPUCTL_LOCAL_DEVICES", "GPUCTL_LOCAL_SLOTS"}
)

_children: list["subprocess.Popen[bytes]"] = []
"""What this process has started and not yet seen end. They are meant to outlive it; holding them only keeps zombies away."""


def resident_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a resident process needs of this environment."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith("LC_")}
    kept[processes.RESIDENT] = "1"
    return kept


def python_argv(module: str, *arguments: str) -> tuple[str, ...]:
    """A command line that runs one of our modules with this very Python."""
    return (sys.executable, "-m", module, *arguments)


def start(argv: Sequence[str], *, environ: Mapping[str, str], log: str, inherit: Sequence[int] = ()) -> int:
    """Start a resident process; its pid.

    Args:
        argv: the program and its arguments.
        environ: of this process; see :func:`resident_environment`.
        log: where its standard error goes (appended).
        inherit: descriptors that it gets under the same numbers.

    Raises:
        OSError: it could not be started.
    """
    reap_children()
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=fd,
            cwd="/",
            env=resident_environment(environ),
            pass_fds=tuple(inherit),
            start_new_session=True,
            close_fds=True,
        )
    finally:
        os.close(fd)
    _children.append(child)
    return child.pid


def reap_children() -> None:
    """Collect those that have ended, so that none stays a zombie while this process lives."""
    _children[:] = [child for child in _children if child.poll() is None]


class Parcel:
    """One JSON object for a child, through a descriptor, never on disk.

    A memory file where the system has them (Linux): any size, written before the child exists. Else a pipe, which is filled by
    :meth:`send` once the child reads.
    """

    def __init__(self, content: Mapping[str, str]) -> None:
        # Not UTF-8 in an environment (surrogate escapes) passes through the standard library's JSON unharmed.
        self._content = json.dumps(dict(content)).encode("ascii")
        self._writer: int | None = None
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("gpuctl-environment", os.MFD_CLOEXEC)
            _write_all(self.fd, self._content)
            os.lseek(self.fd, 0, os.SEEK_SET)
        else:
            self.fd, self._writer = os.pipe()

    def send(self) -> None:
        """After the child was started: hand over what it waits for, and close our ends."""
        os.close(self.fd)
        if self._writer is not None:
            writer, self._writer = self._writer, None
            try:
                _write_all(writer, self._content)
            except BrokenPipeError:
                pass  # it died already, which healing finds
            finally:
                os.close(writer)

    def drop(self) -> None:
        """No child was started: close both ends."""
        os.close(self.fd)
        if self._writer is not None:
            os.close(self._writer)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
