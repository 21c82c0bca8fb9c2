"""Reading and replacing configuration files (YAML, one document, a mapping at its top)."""

import os
from typing import Any

from gpuctl.base.errors import GpuctlError, UsageError

LARGEST = 1 << 20
"""Bytes; a larger configuration file is refused unread."""


def read(path: str) -> dict[str, Any]:
    """The mapping in the file, empty where there is no file or nothing in it.

    Raises:
        UsageError: ``bad-config``, when it cannot be read, is no YAML, or holds something else than a mapping.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {path}", code="bad-config", cause=error.strerror, hint=f"ls -l {path}") from error
    if len(text) > LARGEST:
        raise UsageError(f"cannot read {path}: it is larger than 1 MiB", code="bad-config")
    import yaml

    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"cannot read {path}: it is not YAML", code="bad-config", cause=" ".join(str(error).split())) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise UsageError(f"cannot read {path}: expected 'key: value' lines, got a {type(document).__name__}", code="bad-config")
    return {str(key): value for key, value in document.items()}


def replace(path: str, document: dict[str, Any]) -> None:
    """Write the mapping in place of the file by rename, so that a crash leaves the old file or the new one. Comments are not kept.

    A symbolic link (a dotfiles repository) stays one: what it points to is replaced.

    Raises:
        GpuctlError: ``config-not-written``, when the directory or file cannot be written.
    """
    import yaml

    path = os.path.realpath(path)
    text = yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False, allow_unicode=True)
    write_private(path, text.encode(), failed="config-not-written")


def write_private(path: str, content: bytes, *, failed: str) -> None:
    """Replace a file by rename with one that only its owner can read (0600).

    Raises:
        GpuctlError: with ``failed`` as its code.
    """
    import tempfile  # costs more than the rest of this module; only those who write need it

    directory = os.path.dirname(path)
    temporary = None
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=".gpuctl-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise GpuctlError(f"cannot write {path}", code=failed, cause=error.strerror, hint=f"ls -ld {directory}") from error
