"""Starting one process, as cheaply as the system allows, with a shell's manners about what cannot be started."""

import errno
import os
import signal
from collections.abc import Mapping, Sequence

from gpuctl.clusters.local.kinds.step import CannotStart

_DEFAULTED = sorted(set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP})
_REASONS = {
    errno.ENOENT: (127, "bad interpreter: what its #! line names does not exist"),
    errno.EACCES: (126, "permission denied"),
    errno.ETXTBSY: (126, "is being written"),
    errno.E2BIG: (126, "its arguments and environment are too long"),
}


def locate(program: str, *, cwd: str, path: str) -> str:
    """The file that a shell in ``cwd`` with this PATH would run.

    Raises:
        CannotStart: 127 when nothing is found, 126 when something is that cannot be run.
    """
    if "/" in program:
        candidates = [os.path.join(cwd, program)]
    else:
        candidates = [os.path.join(cwd, directory, program) for directory in path.split(os.pathsep)]
    present = None
    for candidate in candidates:
        if os.path.isdir(candidate):
            present = present or (candidate, "is a directory")
        elif os.access(candidate, os.X_OK):
            return candidate
        elif os.path.lexists(candidate):
            present = (candidate, "not executable") if os.path.exists(candidate) else present
    if present is not None:
        file, why = present
        hint = f" (chmod +x {program})" if why == "not executable" and "/" in program else ""
        raise CannotStart(f"{program}: {why}{hint}" if "/" in program else f"{program}: {file} {why}", status=126)
    raise CannotStart(f"{program}: no such file" if "/" in program else f"{program}: command not found", status=127)


def spawn(argv: Sequence[str], *, env: Mapping[str, str], cwd: str, stdin: int, stdout: int, stderr: int) -> int:
    """Start a process in a session of its own with default signal handling; its pid.

    This process's working directory is changed to ``cwd`` and stays there (``posix_spawn`` has no portable way to do it in the child).

    Raises:
        CannotStart: the program or the directory is not usable.
        OSError: the system has no room for another process.
    """
    try:
        os.chdir(cwd)
    except OSError as error:
        raise CannotStart(f"cannot enter {cwd}: {error.strerror}", status=126) from None
    file = locate(argv[0], cwd=cwd, path=env.get("PATH", os.defpath))
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, target) for target, descriptor in enumerate((stdin, stdout, stderr))]
    words = list(argv)
    try:
        return _posix_spawn(file, words, env, actions)
    except ValueError as error:
        raise CannotStart(f"{argv[0]}: its arguments or environment cannot be passed on: {error}", status=126) from None
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            # A text file without a #! line: what every shell does with it.
            return _posix_spawn("/bin/sh", ["/bin/sh", file, *words[1:]], env, actions)
        if error.errno in _REASONS:
            status, why = _REASONS[error.errno]
            raise CannotStart(f"{argv[0]}: {why}", status=status) from None
        raise


def _posix_spawn(file: str, argv: list[str], env: Mapping[str, str], actions: list[tuple[int, int, int]]) -> int:
    return os.posix_spawn(file, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_DEFAULTED)
