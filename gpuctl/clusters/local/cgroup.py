"""One cgroup (version 2) per launch, where the machine lets this user make one; everything works without.

It makes ending exact: what was started inside can be listed and killed at once, whatever it did to its parents, session or environment,
also after the supervisor's own death. The supervisor enters it before it starts anything, so there is no gap.
"""

import contextlib
import os
import re

PREFIX = "gpuctl-job-"
_ESCAPED = re.compile(r"\\([0-7]{3})")


def _mount() -> tuple[str, str] | None:
    """Where the unified hierarchy is mounted, and which of its directories is seen there."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            fields = before.split()
            root, point = (_ESCAPED.sub(lambda match: chr(int(match[1], 8)), field) for field in fields[3:5])
            return point, root
    return None


def _own() -> str | None:
    """This process's path in the unified hierarchy."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                if line.startswith("0::"):
                    return line[3:].rstrip("\n")
    except OSError:
        pass
    return None


def base() -> str | None:
    """The directory below which this process may make cgroups, None if there is none.

    A process inside a launch's cgroup (a job that submits jobs) is led out of it: its own job's end must not take the new one along.
    """
    mount, own = _mount(), _own()
    if mount is None or own is None:
        return None
    point, root = mount
    if root != "/":
        if own != root and not own.startswith(root + "/"):
            return None
        own = own[len(root) :]
    outer = []
    for part in own.strip("/").split("/"):
        if part.startswith(PREFIX):
            break
        outer.append(part)
    directory = os.path.join(point, *outer)
    if os.access(directory, os.W_OK) and os.access(os.path.join(directory, "cgroup.procs"), os.W_OK):
        return directory
    return None


def _move_self(directory: str) -> None:
    with open(os.path.join(directory, "cgroup.procs"), "w", encoding="ascii") as file:
        file.write("0")


def enter(job_id: str, launch: int) -> str | None:
    """Make the launch's cgroup and move this process into it; its directory, or None where that is not possible."""
    above = base()
    if above is None:
        return None
    directory = os.path.join(above, f"{PREFIX}{job_id}-{launch}")
    try:
        os.mkdir(directory)
        _move_self(directory)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        return None
    return directory


def existing(job_id: str, launch: int) -> str | None:
    """The cgroup of a launch, if it is where this process would have made it (a supervisor may die before it can name it)."""
    above = base()
    if above is None:
        return None
    directory = os.path.join(above, f"{PREFIX}{job_id}-{launch}")
    return directory if os.path.isdir(directory) else None


def leave() -> bool:
    """Move this process out of whatever launch's cgroup it is in; whether it is outside now."""
    own = _own()
    if own is None or PREFIX not in own:
        return True
    above = base()
    if above is None:
        return False
    try:
        _move_self(above)
    except OSError:
        return False
    return True


def members(directory: str) -> list[int]:
    """Pids of the processes in the cgroup and in those below it; empty when it is gone."""
    found: list[int] = []
    for path, _, files in os.walk(directory):
        if "cgroup.procs" in files:
            try:
                with open(os.path.join(path, "cgroup.procs"), encoding="ascii") as file:
                    found += [int(word) for word in file.read().split()]
            except OSError:
                continue
    return found


def kill(directory: str) -> bool:
    """SIGKILL everything in it at once; False where the kernel cannot (before 5.14)."""
    try:
        with open(os.path.join(directory, "cgroup.kill"), "w", encoding="ascii") as file:
            file.write("1")
    except OSError:
        return False
    return True


def remove(directory: str) -> bool:
    """Remove the (empty) cgroup and those below it; whether it is gone."""
    for path, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)
    return not os.path.isdir(directory)


def oom_kills(directory: str) -> int:
    """How many processes the kernel has killed in it for want of memory; 0 where that is not counted."""
    try:
        with open(os.path.join(directory, "memory.events"), encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    except OSError:
        pass
    return 0
