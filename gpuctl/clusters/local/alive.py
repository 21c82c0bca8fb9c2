"""Whether a launch's supervisor lives: its ``alive`` file is locked for as long as it does.

The file is made and locked by whoever starts the supervisor, which inherits the descriptor, so there is no instant in between.
"""

import fcntl
import os

from gpuctl.clusters.local.paths import StatePaths


def path_of(paths: StatePaths, job_id: str, launch: int) -> str:
    """The file."""
    return f"{paths.launch(job_id, launch)}/alive"


def make(path: str) -> int:
    """Create it, locked; the descriptor, not inheritable."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd


def take(path: str) -> int | None:
    """The locked descriptor of a launch whose supervisor is dead; -1 when the file is gone altogether; None while it lives."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def release(fd: int) -> None:
    """Give back what :func:`take` returned."""
    if fd >= 0:
        os.close(fd)


def lives(path: str) -> bool:
    """Whether somebody holds it now. Looks with a shared lock, so that two who look at once do not take each other for a supervisor."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
