"""A deterministic tar.gz of a job's code: the same files give the same bytes, whoever packs them, wherever and whenever.

Sorted paths, no times, no owners, modes reduced to executable or not. GNU tar's format, which every tar reads with long names and names
that are no UTF-8; gzip, because images have no zstd.
"""

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, cast

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
    """The packed code: its bytes, how many files and bytes went in, and what somebody should know about it.

    ``content`` is empty where the archive was written to a file; ``digest`` is its SHA-256, hexadecimal.
    """

    digest: str
    files: int
    size: int
    content: bytes = b""
    notes: tuple[str, ...] = ()


class _Full(Exception):
    """The archive grew above its limit."""


class _Digesting(io.RawIOBase):
    """A target that counts and sums what it is given, and takes so many bytes and no more (None: all)."""

    def __init__(self, target: BinaryIO, most: int | None) -> None:
        super().__init__()
        self._target = target
        self._left = most
        self.sum = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        block = bytes(data)
        if self._left is not None:
            self._left -= len(block)
            if self._left < 0:
                raise _Full
        self.sum.update(block)
        self._target.write(block)
        return len(block)


class _Chosen(NamedTuple):
    """What is packed: path with what lstat said; and notes on what is not."""

    files: list[tuple[str, os.stat_result]]
    notes: list[str]

    @property
    def size(self) -> int:
        return sum(found.st_size for _, found in self.files)


def pack(tree: Selection, *, name: str, limit: int = LARGEST_ARCHIVE) -> Archive:
    """Pack the chosen files, to go with the job.

    A link that leads out of the tree stays a link, with a note: its target may be there on a volume. Sockets, pipes and devices are left
    out, with a note.

    Args:
        tree: what to pack.
        name: the job, for messages.
        limit: bytes of the archive.

    Raises:
        UsageError: ``code-too-large`` naming the biggest files, ``code-unreadable``.
    """
    chosen = _choose(tree, name)
    if chosen.size > LARGEST_TREE:
        raise _too_large(name, tree.root, chosen, f"{quantity.memory(chosen.size)} of files", LARGEST_TREE)
    target = io.BytesIO()
    try:
        digest = _write(tree, chosen, target, name=name, most=limit, level=6)
    except _Full:
        raise _too_large(name, tree.root, chosen, f"more than {quantity.memory(limit)} when packed", limit) from None
    notes = tuple(chosen.notes)
    return Archive(digest=digest, files=len(chosen.files), size=chosen.size, content=target.getvalue(), notes=notes)


def pack_into(tree: Selection, target: BinaryIO, *, name: str) -> Archive:
    """As :func:`pack`, into an open file, however much it is, and faster rather than smaller: it goes by a volume.

    Raises:
        UsageError: ``code-unreadable``.
        OSError: the file cannot be written.
    """
    chosen = _choose(tree, name)
    digest = _write(tree, chosen, target, name=name, most=None, level=1)
    return Archive(digest=digest, files=len(chosen.files), size=chosen.size, notes=tuple(chosen.notes))


def _choose(tree: Selection, name: str) -> _Chosen:
    chosen = _Chosen([], [])
    for path in sorted(tree.paths, key=os.fsencode):
        try:
            found = os.lstat(os.path.join(tree.root, path))
        except OSError as error:
            raise _unreadable(name, tree.root, path, error) from error
        if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
            chosen.files.append((path, found))
        else:
            chosen.notes.append(f"{_printable(path)} is no file and stays here")
    return chosen


def _write(tree: Selection, chosen: _Chosen, target: BinaryIO, *, name: str, most: int | None, level: int) -> str:
    summed = _Digesting(target, most)
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=summed, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as tar,
    ):
        for path, found in chosen.files:
            _add(tar, tree, path, found, name=name, notes=chosen.notes)
    return summed.sum.hexdigest()


def _add(tar: tarfile.TarFile, tree: Selection, path: str, found: os.stat_result, *, name: str, notes: list[str]) -> None:
    whole = os.path.join(tree.root, path)
    entry = tarfile.TarInfo(path)
    if stat.S_ISLNK(found.st_mode):
        try:
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, os.readlink(whole), 0o777
        except OSError as error:
            raise _unreadable(name, tree.root, path, error) from error
        if _leads_out(path, entry.linkname):
            link = f"{_printable(path)} is a link to {_printable(entry.linkname)}"
            notes.append(f"{link}, outside of the code: the link goes along, not what is there")
        tar.addfile(entry)
        return
    with _opened(whole, lambda error: _unreadable(name, tree.root, path, error)) as file:
        entry.size, entry.mode = os.fstat(file.fileno()).st_size, 0o755 if found.st_mode & 0o100 else 0o644
        tar.addfile(entry, cast("BinaryIO", _Read(file, entry.size, lambda error: _unreadable(name, tree.root, path, error))))


def _opened(path: str, failed: Callable[[OSError], UsageError]) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise failed(error) from error


class _Read(io.RawIOBase):
    """A file of so many bytes while it is read: what is wrong with it then is the file's fault, not that of whoever writes the archive."""

    def __init__(self, file: BinaryIO, size: int, failed: Callable[[OSError], UsageError]) -> None:
        super().__init__()
        self._file = file
        self._left = size
        self._failed = failed

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            block = self._file.read(size)
            if len(block) < min(size, self._left):
                raise OSError(None, "it became shorter while it was read")
        except OSError as error:
            raise self._failed(error) from error
        self._left -= len(block)
        return block


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


def _too_large(name: str, root: str, chosen: _Chosen, what: str, most: int) -> UsageError:
    largest = sorted(((found.st_size, path) for path, found in chosen.files), reverse=True)[:_NAMED]
    named = ", ".join(f"{_printable(path)} ({quantity.memory(size)})" for size, path in largest)
    first = _printable(os.path.dirname(largest[0][1]) or largest[0][1])
    return UsageError(
        f"cannot submit {name}: the code in {root} is {what}, {quantity.memory(most)} is the most that goes with a job",
        code="code-too-large",
        cause=f"the biggest are {named}",
        hint=f"gpuctl submit --code-volume NAME ...    or: --git URL@REF    or, to leave data out: echo '/{first}' >> {root}/{IGNORE_FILE}",
    )


def _printable(path: str) -> str:
    """A path for a message: what a terminal could not show, or would obey, is escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
