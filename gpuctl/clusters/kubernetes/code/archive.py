"""A deterministic tar.gz of a job's code: the same files give the same bytes, whoever packs them, wherever and whenever.

Sorted paths, no times, no owners, modes reduced to executable or not. GNU tar's format, which every tar reads with long names and names
that are no UTF-8; gzip, because images have no zstd.
"""

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Sequence

import msgspec

from gpuctl.base import quantity
from gpuctl.base.errors import UsageError
from gpuctl.base.filetree import IGNORE_FILE, Selection

LARGEST_ARCHIVE = 7 << 20
"""Bytes of the compressed code; Kubernetes keeps it in etcd, which is no place for data."""
LARGEST_TREE = 512 << 20
"""Bytes before compression; above, nothing is packed at all."""
_NAMED = 5


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """The packed code: its bytes, how many files and bytes went in, and what somebody should know about it."""

    content: bytes
    files: int
    size: int
    notes: tuple[str, ...] = ()


class _Full(Exception):
    """The archive grew above its limit."""


class _Bounded(io.BytesIO):
    """Memory that takes so many bytes and no more."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: object) -> int:
        written = super().write(data)  # type: ignore[arg-type]
        if self.tell() > self._most:
            raise _Full
        return written


def pack(tree: Selection, *, name: str, limit: int = LARGEST_ARCHIVE) -> Archive:
    """Pack the chosen files.

    A link that leads out of the tree stays a link, with a note: its target may be there on a volume. Sockets, pipes and devices are left
    out, with a note.

    Args:
        tree: what to pack.
        name: the job, for messages.
        limit: bytes of the archive.

    Raises:
        UsageError: ``code-too-large`` naming the biggest files, ``code-unreadable``.
    """
    sizes: list[tuple[int, str]] = []
    notes: list[str] = []
    chosen: list[tuple[str, os.stat_result]] = []
    for path in sorted(tree.paths, key=os.fsencode):
        try:
            found = os.lstat(os.path.join(tree.root, path))
        except OSError as error:
            raise _unreadable(name, tree.root, path, error) from error
        if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
            chosen.append((path, found))
            sizes.append((found.st_size, path))
        else:
            notes.append(f"{_printable(path)} is no file and stays here")
    total = sum(size for size, _ in sizes)
    if total > LARGEST_TREE:
        raise _too_large(name, tree.root, sizes, f"{quantity.memory(total)} of files", LARGEST_TREE)
    target = _Bounded(limit)
    try:
        with (
            gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=target, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as tar,
        ):
            for path, found in chosen:
                _add(tar, tree, path, found, name=name, notes=notes)
    except _Full:
        raise _too_large(name, tree.root, sizes, f"more than {quantity.memory(limit)} when packed", limit) from None
    return Archive(content=target.getvalue(), files=len(chosen), size=total, notes=tuple(notes))


def _add(tar: tarfile.TarFile, tree: Selection, path: str, found: os.stat_result, *, name: str, notes: list[str]) -> None:
    whole = os.path.join(tree.root, path)
    entry = tarfile.TarInfo(path)
    try:
        if stat.S_ISLNK(found.st_mode):
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, os.readlink(whole), 0o777
            if _leads_out(path, entry.linkname):
                link = f"{_printable(path)} is a link to {_printable(entry.linkname)}"
                notes.append(f"{link}, outside of the code: the link goes along, not what is there")
            tar.addfile(entry)
            return
        with open(whole, "rb") as file:
            content = file.read()
    except OSError as error:
        raise _unreadable(name, tree.root, path, error) from error
    entry.size, entry.mode = len(content), 0o755 if found.st_mode & 0o100 else 0o644
    tar.addfile(entry, io.BytesIO(content))


def _leads_out(path: str, target: str) -> bool:
    if os.path.isabs(target):
        return True
    inside = os.path.normpath(os.path.join(os.path.dirname(path), target))
    return inside == ".." or inside.startswith("../")


def _unreadable(name: str, root: str, path: str, error: OSError) -> UsageError:
    return UsageError(
        f"cannot submit {name}: {_printable(path)} in {root} cannot be read",
        code="code-unreadable",
        cause=error.strerror or str(error),
        hint=f"echo '/{_printable(path)}' >> {root}/{IGNORE_FILE}",
    )


def _too_large(name: str, root: str, sizes: Sequence[tuple[int, str]], what: str, most: int) -> UsageError:
    largest = sorted(sizes, reverse=True)[:_NAMED]
    named = ", ".join(f"{_printable(path)} ({quantity.memory(size)})" for size, path in largest)
    first = _printable(os.path.dirname(largest[0][1]) or largest[0][1])
    return UsageError(
        f"cannot submit {name}: the code in {root} is {what}, {quantity.memory(most)} is the most that goes with a job",
        code="code-too-large",
        cause=f"the biggest are {named}",
        hint=f"echo '/{first}' >> {root}/{IGNORE_FILE}    or put it on a volume: gpuctl volumes put NAME {first}",
    )


def _printable(path: str) -> str:
    """A path for a message: what a terminal could not show, or would obey, is escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
