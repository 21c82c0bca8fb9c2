"""``--snapshot``: a copy of the code as it is now, so that later edits do not reach a job that waits.

What is copied is what ``gpuctl.base.filetree`` takes for code.
"""

import os
import shutil
from collections.abc import Iterable

from gpuctl.base import filetree, quantity
from gpuctl.base.errors import GpuctlError, UsageError

LARGEST_BYTES = 2 << 30
"""A snapshot above this is refused; the message names the biggest files."""
_NAMED = 3


def copy(workdir: str, destination: str) -> str:
    """Copy the code that holds ``workdir`` to ``destination``; the working directory inside the copy.

    Raises:
        UsageError: ``snapshot-too-large``.
        GpuctlError: ``snapshot-failed``, a file could not be read or written.
    """
    tree = filetree.select(workdir)
    root, chosen = tree.root, tree.paths
    _guard_size(root, chosen)
    try:
        for path in chosen:
            target = os.path.join(destination, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(os.path.join(root, path), target, follow_symlinks=False)
        inside = os.path.join(destination, os.path.relpath(workdir, root))
        os.makedirs(inside, exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise GpuctlError(f"cannot copy the code in {root}", code="snapshot-failed", cause=str(error)) from error
    return os.path.normpath(inside)


def _guard_size(root: str, chosen: Iterable[str]) -> None:
    sizes = [(os.lstat(os.path.join(root, path)).st_size, path) for path in chosen]
    total = sum(size for size, _ in sizes)
    if total <= LARGEST_BYTES:
        return
    largest = sorted(sizes, reverse=True)[:_NAMED]
    biggest = ", ".join(f"{path} ({quantity.memory(size)})" for size, path in largest)
    first = os.path.dirname(largest[0][1]) or largest[0][1]
    raise UsageError(
        f"cannot copy the code in {root}: {quantity.memory(total)}, {quantity.memory(LARGEST_BYTES)} is the most",
        code="snapshot-too-large",
        cause=f"the biggest files are {biggest}",
        hint=f"echo '/{first}' >> {root}/{filetree.IGNORE_FILE}",
    )
