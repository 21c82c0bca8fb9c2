"""Files of a pod and files here, as tar streams through exec. Files that are the same on both sides, by size and time, are not sent."""

import os
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence

from gpuctl.base.errors import ConflictError, GpuctlError, NotFoundError, UsageError
from gpuctl.clusters.kubernetes.streams import copyscripts, tarball
from gpuctl.clusters.kubernetes.streams import exec as programs
from gpuctl.clusters.kubernetes.streams.incoming import Incoming
from gpuctl.clusters.kubernetes.streams.tarball import PART, Known, Progress
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api
from gpuctl.kube.remotecommand import RemoteCommand, exec_
from gpuctl.model.ask import ExecTarget

_ENTRY = re.compile(r"([0-9a-f]+) (\d+) (-?\d+) \./(.*)\Z", re.DOTALL)
_HARMLESS = ("changed as we read it", "removed before we read it", "socket ignored", "shrank by")


class Remote:
    """One pod's file system, or what lies below ``root`` in it.

    Args:
        root: a directory that no path leads out of; ``""``: the whole file system, relative paths below the job's own directory.
        what: what is copied from or to, for messages (``job/train-k3f9``).
    """

    def __init__(self, api: Api, pod: PodTarget, *, what: str, root: str = "") -> None:
        self._api = api
        self._pod = pod
        self._root = root
        self._what = what

    def get(self, path: str, destination: str, *, progress: Progress | None = None) -> int:
        """Copy a file or a directory to ``destination`` (below it if that is a directory; ``-`` is stdout); bytes written.

        Raises:
            NotFoundError: ``path-not-found``.
            UsageError: ``path-outside``.
            GpuctlError: ``no-tar``, the image has none; ``copy-failed``; ``copied-in-part``, everything but what is named was copied.
        """
        if destination == "-":
            return self._to_stdout(path)
        target = _target(path, destination)
        wanted = self._missing(path, target) if os.path.isdir(target) else None
        if wanted == []:
            _unmark(target)
            return 0
        with self._session(copyscripts.OUT, path, "some" if wanted is not None else "all", stdin=wanted is not None) as running:
            incoming = Incoming(running)
            kind = incoming.line()
            if kind == b"d" and wanted is not None:
                _send_names(running, wanted)
            left_out: list[str] = []
            written = 0
            try:
                if kind == b"d":
                    _mark(target, os.path.basename(os.path.normpath(path)))
                    written, left_out = tarball.unpack(incoming, target, progress=progress)
                elif kind == b"f":
                    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
                    written = tarball.unpack_one(incoming, target, progress=progress)
            except tarfile.TarError as error:
                self._judge(incoming, f"copy {path} of {self._what}")
                raise self._failed(f"copy {path} of {self._what}", str(error)) from error
            except OSError as error:
                raise self._failed(f"copy {path} of {self._what} to {destination}", error.strerror or str(error)) from error
            self._judge(incoming, f"copy {path} of {self._what}")
        if kind == b"d":
            _unmark(target)
        if left_out:
            count = len(left_out)
            raise GpuctlError(
                f"copied {path} of {self._what} without {count} {'entry' if count == 1 else 'entries'}",
                code="copied-in-part",
                cause="; ".join(left_out[:5]) + (f"; and {count - 5} more" if count > 5 else ""),
            )
        return written

    def put(self, source: str, path: str, *, progress: Progress | None = None) -> int:
        """Copy a local file or directory to ``path`` (below it if that is a directory); bytes sent.

        Raises:
            NotFoundError: there is no ``source``.
            UsageError: ``path-outside``.
            GpuctlError: ``no-tar``, ``copy-failed``.
        """
        if not os.path.lexists(source):
            raise NotFoundError(f"cannot copy {source}: there is no such file here", code="path-not-found")
        name = os.path.basename(os.path.abspath(source))
        kind, known = self._known(path)
        unfinished = kind == "d" and PART in known and os.path.isdir(source)
        if (kind == "d" and not unfinished) or path in ("", "/") or path.endswith("/"):
            path = os.path.join(path, name)
            kind, known = self._known(path)
        doing = f"copy {source} to {path} of {self._what}"
        if os.path.isdir(source):
            entries = [entry for entry in tarball.tree(source) if not tarball.same(entry[1], known, entry[0])]
            directory, mark = path, name
        else:
            if kind == "d":
                raise ConflictError(f"cannot {doing}: it is a directory there", code="is-a-directory")
            entries = [] if tarball.same(source, known, os.path.basename(path)) else [(os.path.basename(path), source)]
            directory, mark = os.path.dirname(path), ""
            if not entries:
                return 0
        with self._session(copyscripts.IN, directory or "/", mark, stdin=True) as running:
            incoming = Incoming(running)
            try:
                sent = tarball.pack(running.write, entries, progress=progress)
                running.close_stdin()
            except GpuctlError as error:
                self._judge(incoming, doing)
                raise self._failed(doing, error.cause or error.message) from error
            except OSError as error:
                raise self._failed(doing, f"{error.filename or source}: {error.strerror or error}") from error
            self._judge(incoming, doing)
        return sent

    def files(self, path: str) -> "tuple[str, list[tuple[str, int, Known]]]":
        """``d`` and everything below the directory ``path``, or ``f`` and the file itself: name, mode bits, size and time of each.

        Raises:
            NotFoundError: ``path-not-found``.
            UsageError: ``path-outside``.
        """
        kind, found, _ = self._listed(path)
        return kind, found

    def digest(self, path: str) -> str | None:
        """SHA-256 of the regular file ``path`` as it is there, hexadecimal; None where there is no such file.

        Raises:
            GpuctlError: ``copy-failed``, the image has nothing to make a sum with.
        """
        try:
            return self._told(copyscripts.SUM, path, doing=f"verify {path} of {self._what}").strip()
        except NotFoundError:
            return None

    def rename(self, path: str, to: str) -> None:
        """Give the file ``path`` the name ``to`` (both below the root), whatever had that name before."""
        self._told(copyscripts.RENAME, path, to, doing=f"rename {path} of {self._what}")

    def touch(self, path: str) -> bool:
        """Say that the file ``path`` was used now; whether it is there.

        Raises:
            GpuctlError: ``copy-failed``, it may not be changed.
        """
        try:
            self._told(copyscripts.TOUCH, path, doing=f"mark {path} of {self._what} as used")
        except NotFoundError:
            return False
        return True

    def prune(self, path: str, *, days: int, used: Sequence[str]) -> list[str]:
        """Remove the archives in the directory ``path`` that nobody has touched for more than ``days`` days, but ``used``; their names."""
        return self._told(copyscripts.PRUNE, path, str(days), *used, doing=f"clear {path} of {self._what}").split()

    def remove(self, path: str) -> None:
        """Remove the file ``path``, if it is there."""
        self._told(copyscripts.REMOVE, path, doing=f"remove {path} of {self._what}")

    def _told(self, script: str, path: str, *words: str, doing: str) -> str:
        with self._session(script, path, *words) as running:
            incoming = Incoming(running)
            text = incoming.read().decode("utf-8", "replace")
            self._judge(incoming, doing)
        return text

    def _listed(self, path: str) -> "tuple[str, list[tuple[str, int, Known]], bool]":
        with self._session(copyscripts.LIST, path) as running:
            incoming = Incoming(running)
            text = incoming.read().decode("utf-8", "surrogateescape")
            self._judge(incoming, f"list {path or '/'} of {self._what}")
        kind, _, rest = text.partition("\n")
        found: list[tuple[str, int, Known]] = []
        odd = False
        for line in rest.splitlines() if "\r" not in rest else rest.split("\n"):
            entry = _ENTRY.match(line)
            if entry is not None:
                found.append((entry[4], int(entry[1], 16), Known(int(entry[2]), int(entry[3]))))
            elif line and not line.endswith(" ."):
                odd = True  # a name with a line break in it
        return kind, found, odd

    def _known(self, path: str) -> "tuple[str, Mapping[str, Known]]":
        """What is there already: ``d``, ``f`` or nothing, and the regular files by name."""
        try:
            kind, found, _ = self._listed(path)
        except NotFoundError:
            return "", {}
        except GpuctlError as error:
            if error.code != "no-find":
                raise
            return "", {}
        return kind, {name: known for name, mode, known in found if mode & 0o170000 == 0o100000}

    def _missing(self, path: str, target: str) -> "list[str] | None":
        """Names below ``path`` that are not the same here; None when all has to be sent."""
        try:
            kind, found, odd = self._listed(path)
        except GpuctlError as error:
            if error.code != "no-find":
                raise
            return None
        if kind != "d" or odd:
            return None
        known = {name: each for name, mode, each in found if mode & 0o170000 == 0o100000}
        wanted = [
            name
            for name, mode, _ in found
            if mode & 0o170000 != 0o040000 and not (name in known and tarball.same(os.path.join(target, name), known, name))
        ]
        tarball.directories(target, [name for name, mode, _ in found if mode & 0o170000 == 0o040000])
        return wanted

    def _to_stdout(self, path: str) -> int:
        from gpuctl.clusters.kubernetes.streams.terminal import Terminal

        written = 0
        out = Terminal()
        with self._session(copyscripts.OUT, path, "all") as running:
            incoming = Incoming(running)
            kind = incoming.line()
            try:
                blocks = tarball.content(incoming) if kind == b"f" else iter(lambda: incoming.read(tarball.BLOCK), b"")
                for block in blocks if kind else ():
                    out.write(block)
                    written += len(block)
            except tarfile.TarError as error:
                self._judge(incoming, f"copy {path} of {self._what}")
                raise self._failed(f"copy {path} of {self._what}", str(error)) from error
            self._judge(incoming, f"copy {path} of {self._what}")
        return written

    def _session(self, script: str, path: str, *words: str, stdin: bool = False) -> RemoteCommand:
        argv = ["/bin/sh", "-c", script, "gpuctl-copy", self._root, path, *words]
        if self._root:
            return exec_(self._api, self._pod.name, argv, namespace=self._pod.namespace, container=self._pod.container, stdin=stdin)
        return programs.session(self._api, self._pod, argv, stdin=stdin)

    def _judge(self, incoming: Incoming, doing: str) -> None:
        """Read to the end; raise what the exit status and stderr say."""
        incoming.drain()
        code, said = incoming.exit_code, incoming.stderr.decode("utf-8", "replace").strip()
        lines = [line for line in said.splitlines() if line.strip()]
        if code == 0 or (code == 1 and lines and all(any(each in line for each in _HARMLESS) for line in lines)):
            return
        if code == copyscripts.MISSING:
            raise NotFoundError(f"cannot {doing}: there is no such path", code="path-not-found")
        if code == copyscripts.OUTSIDE:
            raise UsageError(f"cannot {doing}: it leads outside", code="path-outside")
        if code == copyscripts.NO_TAR:
            raise GpuctlError(
                f"cannot {doing}: the image has no tar",
                code="no-tar",
                hint="for a file, gpuctl exec JOB -- cat PATH > FILE needs none; an image with tar does all of it",
            )
        if code == copyscripts.NO_FIND:
            raise GpuctlError(f"cannot {doing}: the image has no find and stat", code="no-find")
        raise self._failed(doing, lines[-1] if lines else f"tar ended with {code}")

    def _failed(self, doing: str, cause: str) -> GpuctlError:
        return GpuctlError(f"cannot {doing}", code="copy-failed", cause=cause)


def copy_out(
    api: Api, pods: Sequence[PodTarget], path: str, destination: str, *, job: str, progress: Callable[[int], None] | None = None
) -> int:
    """``gpuctl cp JOB:PATH DEST``: copy out of the job's first node; a relative path is below the job's directory. Bytes written."""
    pod = programs.select(pods, ExecTarget(), job=job)[0]
    return Remote(api, pod, what=job).get(path, destination, progress=progress)


def _target(path: str, destination: str) -> str:
    name = os.path.basename(os.path.normpath(path))
    if not os.path.isdir(destination) or name in ("", ".", ".."):
        return destination
    if os.path.exists(os.path.join(destination, PART)) and _marked(destination) == name:
        return destination  # an earlier copy that did not come to its end
    return os.path.join(destination, name)


def _mark(target: str, name: str) -> None:
    os.makedirs(target, exist_ok=True)
    with open(os.path.join(target, PART), "w", encoding="utf-8") as file:
        file.write(name)


def _marked(target: str) -> str:
    with open(os.path.join(target, PART), encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def _unmark(target: str) -> None:
    try:
        os.unlink(os.path.join(target, PART))
    except FileNotFoundError:
        pass


def _send_names(running: RemoteCommand, names: Sequence[str]) -> None:
    """The names to send, one a line, and a line that ends them: not every server can close stdin."""
    for at in range(0, len(names), 500):
        running.write("".join(f"./{name}\n" for name in names[at : at + 500]).encode("utf-8", "surrogateescape"))
    running.write(b"/\n")
