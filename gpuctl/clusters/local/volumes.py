"""Volumes of this machine: named directories below ``$XDG_DATA_HOME/gpuctl/volumes``.

A path inside a volume is resolved before it is used, links included: what would lead outside is refused, both when reading and when
writing. Copies keep symbolic links as they are and never follow one that leads outside.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping

from gpuctl.base import names
from gpuctl.base.clock import from_unix
from gpuctl.base.errors import ConflictError, GpuctlError, InvalidInput, NotFoundError, Problem, UsageError, nearest
from gpuctl.model.ask import Listing
from gpuctl.model.place import Volume, VolumeFile

MOST_FILES = 100_000
"""``volumes files`` lists no more entries than this."""


def known(root: str) -> dict[str, str]:
    """Directory of every volume by name."""
    try:
        with os.scandir(root) as entries:
            return {each.name: each.path for each in sorted(entries, key=lambda each: each.name) if each.is_dir(follow_symlinks=False)}
    except FileNotFoundError:
        return {}


def missing_problem(name: str, there: Collection[str]) -> Problem:
    """What to say about a volume that was asked for and does not exist."""
    return Problem(field="--volume", message="no such volume", got=name, allowed=", ".join(there) or None, nearest=nearest(name, there))


class LocalVolumes:
    """The volumes below ``root``. ``mounted`` tells which unfinished jobs mount which volume, by name."""

    def __init__(self, root: str, *, cluster: str, mounted: Callable[[], Mapping[str, tuple[str, ...]]]) -> None:
        self._root = root
        self._cluster = cluster
        self._mounted = mounted

    def list(self) -> Listing[Volume]:
        """Every volume, by name."""
        mounted = self._mounted()
        return Listing(items=tuple(self._volume(name, path, mounted) for name, path in known(self._root).items()))

    def _volume(self, name: str, path: str, mounted: Mapping[str, tuple[str, ...]]) -> Volume:
        status = os.stat(path)
        used = sum(entry.stat(follow_symlinks=False).st_size for entry in _walk(path) if entry.is_file(follow_symlinks=False))
        return Volume(
            name=name,
            home=self._cluster,
            used=used,
            path=path,
            created_at=from_unix(status.st_ctime),
            mounted_by=mounted.get(name, ()),
        )

    def create(self, name: str, *, size: int | None, access: str | None, storage_class: str | None) -> Volume:
        """Make an empty volume.

        Raises:
            InvalidInput: the name, or an option that a directory cannot keep.
            ConflictError: ``volume-exists``.
        """
        problems = []
        why = names.problem(name)
        if why:
            problems.append(Problem(field="name", message=why, got=repr(name), allowed=names.ALLOWED, nearest=names.suggestion(name)))
        for field, value in (("--size", size), ("--storage-class", storage_class)):
            if value is not None:
                problems.append(
                    Problem(field=field, message="a volume of this machine is a directory, which cannot keep it", got=str(value))
                )
        if access not in (None, "rwx"):
            problems.append(Problem(field="--access", message="not kept by a directory", got=access, allowed="rwx"))
        if problems:
            raise InvalidInput(f"cannot create volume {name}", problems)
        path = os.path.join(self._root, name)
        try:
            os.makedirs(self._root, mode=0o700, exist_ok=True)
            os.mkdir(path, 0o700)
        except FileExistsError:
            raise ConflictError(
                f"cannot create volume {name}: it exists", code="volume-exists", hint=f"gpuctl volumes show {name}"
            ) from None
        except OSError as error:
            raise _failed(f"cannot create volume {name}", error) from error
        return self._volume(name, path, {})

    def delete(self, name: str) -> None:
        """Remove a volume with everything in it.

        Raises:
            NotFoundError: ``no-such-volume``.
            ConflictError: ``volume-mounted``, an unfinished job mounts it.
        """
        path = self._path(name)
        users = self._mounted().get(name, ())
        if users:
            raise ConflictError(
                f"cannot delete volume {name}: {', '.join(users)} mount{'s' if len(users) == 1 else ''} it",
                code="volume-mounted",
                hint=f"gpuctl cancel {users[0]}",
            )
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise _failed(f"cannot delete volume {name}", error) from error

    def files(self, name: str, path: str) -> Listing[VolumeFile]:
        """Everything below ``path``, by path relative to the volume's root."""
        root = self._path(name)
        start = self._inside(name, path)
        if not os.path.lexists(start):
            raise NotFoundError(f"no {path} in volume {name}", code="path-not-found", hint=f"gpuctl volumes files {name}")
        if not os.path.isdir(start):
            status = os.stat(start)
            return Listing(
                items=(VolumeFile(path=os.path.relpath(start, root), size=status.st_size, modified_at=from_unix(status.st_mtime)),)
            )
        rows = []
        for entry in _walk(start):
            status = entry.stat(follow_symlinks=False)
            directory = entry.is_dir(follow_symlinks=False)
            size = 0 if directory else status.st_size
            rows.append(
                VolumeFile(path=os.path.relpath(entry.path, root), size=size, modified_at=from_unix(status.st_mtime), directory=directory)
            )
            if len(rows) >= MOST_FILES:
                break
        return Listing(items=tuple(sorted(rows, key=lambda row: row.path)))

    def put(self, name: str, source: str, path: str) -> int:
        """Copy ``source`` (a file or directory) to ``path`` in the volume; below it if that is a directory. Bytes written."""
        if not os.path.lexists(source):
            raise NotFoundError(f"cannot put {source}: no such file", code="path-not-found")
        target = self._inside(name, path)
        if os.path.isdir(target) or path.endswith("/"):
            target = self._inside(name, os.path.join(path, os.path.basename(os.path.normpath(source))))
        return copy(source, target, what=f"put {source} into volume {name}", into=self._path(name))

    def get(self, name: str, path: str, destination: str) -> int:
        """Copy ``path`` of the volume to ``destination``; below it if that is a directory. Bytes written."""
        source = self._inside(name, path)
        if not os.path.lexists(source):
            raise NotFoundError(f"no {path} in volume {name}", code="path-not-found", hint=f"gpuctl volumes files {name}")
        if os.path.isdir(destination):
            destination = os.path.join(destination, os.path.basename(source))
        return copy(source, destination, what=f"get {path} from volume {name}", within=self._path(name))

    def _path(self, name: str) -> str:
        there = known(self._root)
        if name not in there:
            close = nearest(name, there)
            raise NotFoundError(
                f"no volume {name}",
                code="no-such-volume",
                cause=f"the nearest name is {close}" if close else None,
                hint=f"gpuctl volumes create {name}    or: gpuctl volumes",
            )
        return os.path.realpath(there[name])

    def _inside(self, name: str, path: str) -> str:
        return inside(self._path(name), path, what=f"volume {name}")


def inside(root: str, path: str, *, what: str) -> str:
    """The real path of ``path`` below ``root`` (a leading slash means the root itself).

    Raises:
        UsageError: ``path-outside``, it leads out through ``..`` or a symbolic link.
    """
    base = os.path.realpath(root)
    target = os.path.realpath(os.path.join(base, path.lstrip("/")))
    if target != base and not target.startswith(base.rstrip("/") + "/"):
        raise UsageError(f"{path} leads outside of {what}", code="path-outside")
    return target


def copy(source: str, target: str, *, what: str, within: str | None = None, into: str | None = None) -> int:
    """Copy a file or a directory tree, links as links; bytes written.

    Args:
        source: what to copy.
        target: its new path.
        what: the operation, for messages.
        within: links in the tree that lead out of this directory are refused.
        into: nothing is written outside of this directory, whatever links are there already.
    """
    try:
        if not os.path.isdir(source):
            os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
            shutil.copy2(source, target)
            return os.stat(target).st_size
        written = 0
        os.makedirs(target, exist_ok=True)
        for entry in _walk(source):
            there = os.path.join(target, os.path.relpath(entry.path, source))
            if into is not None:
                inside(into, os.path.relpath(there, into), what=what)
            if entry.is_symlink():
                if within is not None:
                    inside(within, os.path.relpath(os.path.realpath(entry.path), within), what=what)
                if not os.path.lexists(there):
                    os.symlink(os.readlink(entry.path), there)
            elif entry.is_dir(follow_symlinks=False):
                os.makedirs(there, exist_ok=True)
            elif entry.is_file(follow_symlinks=False):
                shutil.copy2(entry.path, there, follow_symlinks=False)
                written += entry.stat(follow_symlinks=False).st_size
        return written
    except (OSError, shutil.Error) as error:
        raise _failed(f"cannot {what}", error) from error


def _walk(path: str) -> "Iterator[os.DirEntry[str]]":
    """Everything below a directory, parents first; links are not followed, what may not be read is passed over."""
    todo = [path]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except PermissionError:
            continue


def _failed(what: str, error: Exception) -> GpuctlError:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return GpuctlError(what, code="copy-failed", cause=cause)
