"""Asking a living supervisor for something: one line in its ``control`` file, and a signal so that it looks at once."""

import os
import signal

from gpuctl.clusters.local import alive, processes
from gpuctl.clusters.local.launchplan import Request
from gpuctl.clusters.local.paths import StatePaths, state_error
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.clusters.local.store.rows import encode


def send(paths: StatePaths, launch: Launch, request: Request) -> bool:
    """Append ``request``; whether a supervisor lives that will read it.

    It is written in any case: a supervisor that is just being started reads the file from its beginning.
    """
    directory = paths.launch(launch.job, launch.number)
    try:
        fd = os.open(f"{directory}/control", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise state_error(paths.root, error) from error
    try:
        os.write(fd, encode(request) + b"\n")
    finally:
        os.close(fd)
    if not alive.lives(alive.path_of(paths, launch.job, launch.number)):
        return False
    if launch.pid is not None:
        process = processes.look(launch.pid)
        if process is not None:
            processes.send(process, signal.SIGUSR1)
    return True
