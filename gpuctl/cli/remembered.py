"""Names seen lately, for Tab: one small file a kind and profile below the cache directory, written by the verbs that list.

Tab must answer in the time of an empty Python, so it reads these files and opens a pool only when they are old. Losing them costs
nothing: every failure to read or write is an empty answer.
"""

import os
import re
from collections.abc import Iterable

from gpuctl.base.errors import GpuctlError
from gpuctl.cli.session import Session

KINDS = ("jobs", "volumes", "nodes", "clusters")
_MOST = 2000


def remember(session: Session, kind: str, names: Iterable[str]) -> None:
    """Keep the names of one kind, newest first."""
    try:
        path = _path(session, kind)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in list(dict.fromkeys(names))[:_MOST])
        os.replace(temporary, path)
    except (OSError, GpuctlError):
        pass


def add(session: Session, kind: str, name: str) -> None:
    """Put one more name in front of those already kept (a job just submitted), without making the others look fresh."""
    known, age = recall(session, kind)
    if age is None:
        return
    remember(session, kind, [name, *known])
    try:
        then = session.now().timestamp() - age
        os.utime(_path(session, kind), (then, then))
    except (OSError, GpuctlError):
        pass


def recall(session: Session, kind: str) -> tuple[list[str], float | None]:
    """The names kept, and their age in seconds; None for the age when there are none."""
    try:
        path = _path(session, kind)
        with open(path, encoding="utf-8") as file:
            age = session.now().timestamp() - os.fstat(file.fileno()).st_mtime
            return file.read().splitlines(), max(0.0, age)
    except (OSError, ValueError, GpuctlError):
        return [], None


def _path(session: Session, kind: str) -> str:
    from gpuctl.config import paths

    profile = session.profile or session.env.get("GPUCTL_PROFILE") or "current"
    return os.path.join(paths.cache_dir(session.env), "names", re.sub(r"[^\w.-]", "_", profile), kind)
