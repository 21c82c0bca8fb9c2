"""Tar streams that others made, unpacked so that nothing is written outside of where it was asked for; and our own, packed.

Own checks instead of tarfile's filters: those are missing from the first releases of 3.10 and 3.11, and end a copy at the first odd
entry, while here it is left out and named.
"""

import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, NamedTuple, Protocol, cast

PART = ".gpuctl-part"
"""Tail of a file that is being written, and the name of the mark in a directory whose copy is not complete."""
BLOCK = 1 << 18
Progress = Callable[[int], None]
"""Told how many bytes of files have been copied so far."""


class Known(NamedTuple):
    """What is known of a file on the other side: bytes and whole seconds since the epoch."""

    size: int
    modified: int


class Readable(Protocol):
    """What tarfile needs of a stream."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""
        ...


class Unpacked(NamedTuple):
    """Bytes written, and what was left out: each entry's name with the reason."""

    written: int
    left_out: list[str]


def unpack(stream: Readable, root: str, *, progress: Progress | None = None) -> Unpacked:
    """Unpack below ``root``, which is made if need be. Existing files are replaced, whole or not at all.

    Symbolic links are kept when they lead to something below ``root``, and never followed. Devices and sockets are left out.

    Raises:
        tarfile.TarError: the archive is damaged or ends early.
        OSError: a file cannot be written.
    """
    os.makedirs(root, exist_ok=True)
    written, left_out = 0, []
    times: list[tuple[str, tarfile.TarInfo]] = []
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", ignore_zeros=True) as archive:
        for member in archive:
            parts = _parts(member.name)
            if parts is None:
                left_out.append(f"{member.name}: leads outside")
                continue
            path = os.path.join(root, *parts)
            why = _parents(root, parts)
            if why is None and member.isdir():
                why = _directory(path)
                times.append((path, member))
            elif why is None and os.path.isdir(path) and not os.path.islink(path):
                why = "is a directory here"
            elif why is None and parts and member.isreg():
                source = archive.extractfile(member)
                assert source is not None
                before = written
                written += _file(source, path, member, lambda count, before=before: progress and progress(before + count))  # type: ignore[misc]
            elif why is None and member.issym():
                why = _link(root, parts, member.linkname)
            elif why is None and member.islnk():
                why = _hard_link(root, path, member.linkname)
            elif why is None:
                why = "neither a file nor a directory"
            if why is not None:
                left_out.append(f"{'/'.join(parts) or '.'}: {why}")
    for path, member in reversed(times):
        with suppress(OSError):
            os.utime(path, (member.mtime, member.mtime))
    return Unpacked(written, left_out)


def unpack_one(stream: Readable, path: str, *, progress: Progress | None = None) -> int:
    """Unpack the one file of an archive to ``path``; its bytes."""
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", ignore_zeros=True) as archive:
        written = None
        for member in archive:
            if member.isreg() and written is None:
                source = archive.extractfile(member)
                assert source is not None
                written = _file(source, path, member, progress)
    if written is None:
        raise tarfile.ReadError("the archive holds no file")
    return written


def content(stream: Readable) -> Iterator[bytes]:
    """The content of the one file of an archive."""
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", ignore_zeros=True) as archive:
        for member in archive:
            source = archive.extractfile(member) if member.isreg() else None
            while source is not None and (block := source.read(BLOCK)):
                yield block


class _Sink:
    """A file object around a function."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send

    def write(self, data: bytes) -> int:
        self._send(bytes(data))
        return len(data)


def pack(send: Callable[[bytes], None], entries: Sequence[tuple[str, str]], *, progress: Progress | None = None) -> int:
    """Send an archive of ``entries`` (name in the archive, path here; directories without what is in them); bytes of files.

    Everything belongs to nobody in particular: who unpacks it owns it.

    Raises:
        OSError: a file cannot be read. One that shrinks while it is read is one of those.
    """
    written = 0
    with tarfile.open(fileobj=cast("IO[bytes]", _Sink(send)), mode="w|", format=tarfile.GNU_FORMAT, bufsize=1 << 15) as archive:
        for name, path in entries:
            mode = os.lstat(path).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                continue
            member = archive.gettarinfo(path, arcname=name)
            if member.islnk():  # its other name may be one that was not sent
                member = _regular(member, path)
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = int(member.mtime)
            if not member.isreg():
                archive.addfile(member)
                continue
            with open(path, "rb") as file:
                archive.addfile(member, cast("IO[bytes]", _Counted(file, written, progress)))
            written += member.size
    return written


def _regular(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    member.type = tarfile.REGTYPE
    member.linkname = ""
    member.size = os.stat(path).st_size
    return member


class _Counted:
    """A file whose reading is told."""

    def __init__(self, file: IO[bytes], before: int, progress: Progress | None) -> None:
        self._file = file
        self._count = before
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._count += len(block)
        if self._progress is not None and block:
            self._progress(self._count)
        return block


def tree(source: str) -> list[tuple[str, str]]:
    """Everything below a directory as (name relative to it, path), parents first; links are not followed."""
    found: list[tuple[str, str]] = []
    for directory, directories, files in os.walk(source):
        directories.sort()
        relative = os.path.relpath(directory, source)
        names = [*directories, *sorted(files)]
        found += [(os.path.normpath(os.path.join(relative, name)), os.path.join(directory, name)) for name in names]
        directories[:] = [name for name in directories if not os.path.islink(os.path.join(directory, name))]
    return found


def directories(root: str, names: Sequence[str]) -> None:
    """Make directories below ``root``; those that would lead elsewhere are passed over."""
    for name in names:
        parts = _parts(name)
        if parts and _parents(root, parts) is None:
            _directory(os.path.join(root, *parts))


def same(path: str, known: Mapping[str, Known], name: str) -> bool:
    """Whether the regular file at ``path`` is, by size and time, what the other side has under ``name``."""
    there = known.get(name)
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return there is not None and stat.S_ISREG(status.st_mode) and (status.st_size, int(status.st_mtime)) == there


def _parts(name: str) -> list[str] | None:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if name.startswith("/") or ".." in parts or "\0" in name else parts


def _parents(root: str, parts: list[str]) -> str | None:
    """Make the directories above an entry; why that cannot be done without following a link."""
    path = root
    for part in parts[:-1]:
        path = os.path.join(path, part)
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            os.mkdir(path)
            continue
        if not stat.S_ISDIR(mode):
            return f"{os.path.relpath(path, root)} is here, and is no directory"
    return None


def _directory(path: str) -> str | None:
    try:
        os.mkdir(path)
    except FileExistsError:
        return None if stat.S_ISDIR(os.lstat(path).st_mode) else "is here, and is no directory"
    return None


def _file(source: IO[bytes], path: str, member: tarfile.TarInfo, progress: Progress | None) -> int:
    directory, name = os.path.split(path)
    part = os.path.join(directory, f".{name[:200]}{PART}")
    written = 0
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb", buffering=0) as target:
            while block := source.read(BLOCK):
                target.write(block)
                written += len(block)
                if progress is not None:
                    progress(written)
            os.fchmod(fd, member.mode & 0o777 | 0o600)
        if written != member.size:
            raise tarfile.ReadError(f"{member.name} ends early")
        os.utime(part, (member.mtime, member.mtime))
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    return written


def _link(root: str, parts: list[str], target: str) -> str | None:
    if not parts or not target:
        return "a link without a name"
    where = target if os.path.isabs(target) else os.path.normpath(os.path.join(*parts[:-1], target))
    if os.path.isabs(where) or where == ".." or where.startswith("../") or _through_link(root, where):
        return f"a link to {target}, outside of what is copied"
    path = os.path.join(root, *parts)
    if os.path.lexists(path):
        if not os.path.islink(path):
            return "is here, and is no link"
        os.unlink(path)
    os.symlink(target, path)
    return None


def _through_link(root: str, where: str) -> bool:
    """Whether a path below ``root`` leads out by links that are there already."""
    base = os.path.realpath(root)
    real = os.path.realpath(os.path.join(base, where))
    return real != base and not real.startswith(base.rstrip("/") + "/")


def _hard_link(root: str, path: str, name: str) -> str | None:
    parts = _parts(name)
    if not parts or _parents(root, parts) is not None:
        return f"a link to {name}, outside of what is copied"
    other = os.path.join(root, *parts)
    try:
        if not stat.S_ISREG(os.lstat(other).st_mode):
            return f"a link to {name}, which is no file"
        if os.path.lexists(path):
            os.unlink(path)
        os.link(other, path, follow_symlinks=False)
    except OSError as error:
        return f"a link to {name}: {error.strerror}"
    return None
