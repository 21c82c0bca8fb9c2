"""Code as Secrets: cut into parts, named by content, with the in-pod program beside the first.

The digest is over the program and the archive, so that another version of gpuctl never meets Secrets with another program in them.
"""

import base64
import functools
import hashlib
import importlib.resources
import os
import tempfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec

from gpuctl.base import filetree
from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.code.archive import pack, pack_into
from gpuctl.model.spec import GitSource

LARGEST_PART = 900 << 10
"""Bytes of one Secret's content; Kubernetes refuses more than 1 MiB."""
MOST_PARTS = 8
ENTRY = "entry.sh"
FETCH = "fetch.sh"
RAY = "ray.sh"
PART = "part"


class CodeParts(msgspec.Struct, frozen=True, kw_only=True):
    """A job's code, ready for a cluster.

    Attributes:
        digest: SHA-256 of program and archive, hexadecimal; names the Secrets.
        entry: the in-pod program.
        parts: the archive, cut; empty without code.
        archive_digest: SHA-256 of the whole archive, checked again in the pod.
        cwd: the working directory below the root of the code, empty for the root.
        files, size: what went in.
        volume: the volume that holds the archive, where it is not in ``parts``.
        git, commit: the repository that the pod fetches instead, and which commit; None: what the ref is then.
        fetch: the part of the in-pod program that does so.
        ray: the part that is about Ray; empty for jobs of other kinds.
        notes: what somebody should know, for stderr.
    """

    digest: str
    entry: bytes
    parts: tuple[bytes, ...] = ()
    archive_digest: str | None = None
    cwd: str = ""
    files: int = 0
    size: int = 0
    notes: tuple[str, ...] = ()
    volume: str | None = None
    fetch: bytes = b""
    ray: bytes = b""
    git: GitSource | None = None
    commit: str | None = None

    @property
    def brings(self) -> bool:
        """Whether there is anything for the pod to unpack or fetch."""
        return self.archive_digest is not None or self.git is not None

    @property
    def programs(self) -> dict[str, bytes]:
        """The files of the in-pod program that this job's pods need, by name; the one that is run comes first."""
        beside = {FETCH: self.fetch, RAY: self.ray}
        return {ENTRY: self.entry, **{name: content for name, content in beside.items() if content}}

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The names of the Secrets, the one with the program first."""
        return tuple(names.code_secret(self.digest, number) for number in range(max(1, len(self.parts))))


def build(workdir: str, *, name: str, ray: bool = False) -> CodeParts:
    """The code that holds ``workdir``: files of its git work tree, or below it, that no ignore file names.

    ``ray``: for a job of kind ray, whose pods need that part of the in-pod program.

    Raises:
        UsageError: ``code-too-large``, ``code-unreadable``.
        GpuctlError: ``snapshot-failed``, git cannot list the files.
    """
    tree = filetree.select(workdir)
    archive = pack(tree, name=name)
    inside = os.path.relpath(workdir, tree.root)
    entry, rays = program(), about_ray() if ray else b""
    return CodeParts(
        digest=_digest(entry, rays, archive=archive.digest),
        entry=entry,
        ray=rays,
        parts=_cut(archive.content, first=LARGEST_PART - len(entry) - len(rays)),
        archive_digest=archive.digest,
        cwd="" if inside == "." else inside,
        files=archive.files,
        size=archive.size,
        notes=archive.notes,
    )


def by_volume(workdir: str, target: BinaryIO, *, name: str, volume: str, ray: bool = False) -> CodeParts:
    """As :func:`build`, with the archive in the open file ``target``, to be put onto ``volume``. There is no limit.

    Raises:
        UsageError: ``code-unreadable``.
        GpuctlError: ``snapshot-failed``; ``no-room-here``, the archive cannot be written.
    """
    tree = filetree.select(workdir)
    try:
        archive = pack_into(tree, target, name=name)
        target.flush()
    except OSError as error:
        raise GpuctlError(
            f"cannot submit {name}: its code cannot be packed in {tempfile.gettempdir()}",
            code="no-room-here",
            cause=error.strerror or str(error),
            hint="TMPDIR=/somewhere/with/room gpuctl submit ...",
        ) from error
    inside = os.path.relpath(workdir, tree.root)
    entry, rays = program(), about_ray() if ray else b""
    return CodeParts(
        digest=_digest(entry, rays, archive=archive.digest),
        entry=entry,
        ray=rays,
        archive_digest=archive.digest,
        cwd="" if inside == "." else inside,
        files=archive.files,
        size=archive.size,
        notes=archive.notes,
        volume=volume,
    )


def of_repository(source: GitSource, *, workdir: str | None, commit: str | None, ray: bool = False) -> CodeParts:
    """The code of a repository, which the pods fetch themselves; ``workdir`` is below its root."""
    entry, fetch, rays = program(), fetching(), about_ray() if ray else b""
    notes = () if commit is not None else (f"{source.url} cannot be read from here: each node takes what {source.ref} is when it starts",)
    cwd = os.path.normpath(workdir) if workdir else ""
    return CodeParts(
        digest=_digest(entry, fetch, rays),
        entry=entry,
        fetch=fetch,
        ray=rays,
        cwd="" if cwd == "." else cwd,
        git=source,
        commit=commit,
        notes=notes,
    )


def entry_only(*, ray: bool = False) -> CodeParts:
    """No code, only the in-pod program."""
    entry, rays = program(), about_ray() if ray else b""
    return CodeParts(digest=_digest(entry, rays), entry=entry, ray=rays)


def _digest(*programs: bytes, archive: str = "") -> str:
    sums = [hashlib.sha256(each).digest() for each in programs if each]
    return hashlib.sha256(b"".join(sums) + bytes.fromhex(archive)).hexdigest()


@functools.cache
def program() -> bytes:
    """The in-pod program."""
    return importlib.resources.files("gpuctl.clusters.kubernetes.code").joinpath(ENTRY).read_bytes()


@functools.cache
def fetching() -> bytes:
    """The part of the in-pod program that fetches repositories."""
    return importlib.resources.files("gpuctl.clusters.kubernetes.code").joinpath(FETCH).read_bytes()


@functools.cache
def about_ray() -> bytes:
    """The part of the in-pod program that is about Ray."""
    return importlib.resources.files("gpuctl.clusters.kubernetes.code").joinpath(RAY).read_bytes()


def secrets(code: CodeParts, *, namespace: str) -> tuple[dict[str, Any], ...]:
    """The immutable Secrets of the code, the one with the program first.

    They belong to no one job: every job that uses them is added to their owners, and they go with the last.
    """
    found = []
    for number, name in enumerate(code.secret_names):
        data: dict[str, str] = {}
        if number == 0:
            data |= {key: base64.b64encode(content).decode() for key, content in code.programs.items()}
        if number < len(code.parts):
            data[PART] = base64.b64encode(code.parts[number]).decode()
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {names.MANAGED_BY: names.MANAGER, names.CODE: code.digest[:40]},
                    "annotations": {names.CODE_DIGEST: code.digest},
                },
                "type": "Opaque",
                "immutable": True,
                "data": data,
            }
        )
    return tuple(found)


def same(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether a Secret that is in the cluster holds exactly the code that ``wanted`` does; only then may it be reused."""
    return (
        bool(there.get("immutable"))
        and dict(there.get("data") or {}) == dict(wanted["data"])
        and (there.get("metadata") or {}).get("name") == wanted["metadata"]["name"]
    )


def _cut(content: bytes, *, first: int) -> tuple[bytes, ...]:
    parts = [content[:first]]
    parts += [content[start : start + LARGEST_PART] for start in range(first, len(content), LARGEST_PART)]
    if len(parts) > MOST_PARTS:
        raise ValueError(f"{len(content)} bytes make {len(parts)} parts")
    return tuple(parts)
