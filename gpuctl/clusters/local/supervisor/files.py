"""Directories that come and go with a task."""

import contextlib
import os


def private_directory(path: str) -> None:
    """Make a directory that only this user may enter, if it is not there."""
    os.makedirs(path, mode=0o700, exist_ok=True)


def remove_tree(path: str) -> bool:
    """Remove a directory with all it holds, following no links; whether it is gone. What cannot be removed stays."""
    for directory, folders, names in os.walk(path, topdown=False):
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(directory, name))
        for name in folders:
            inner = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                if os.path.islink(inner):
                    os.unlink(inner)
                else:
                    os.rmdir(inner)
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return not os.path.lexists(path)
