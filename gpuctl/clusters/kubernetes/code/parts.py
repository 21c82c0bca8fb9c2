"""Code as Secrets: cut into parts, named by content, with the in-pod program beside the first.

The digest is over the program and the archive, so that another version of gpuctl never meets Secrets with another program in them.
"""

import base64
import functools
import hashlib
import importlib.resources
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from gpuctl.base import filetree
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.code.archive import pack

LARGEST_PART = 900 << 10
"""Bytes of one Secret's content; Kubernetes refuses more than 1 MiB."""
MOST_PARTS = 8
ENTRY = "entry.sh"
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

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The names of the Secrets, the one with the program first."""
        return tuple(names.code_secret(self.digest, number) for number in range(max(1, len(self.parts))))


def build(workdir: str, *, name: str) -> CodeParts:
    """The code that holds ``workdir``: files of its git work tree, or below it, that no ignore file names.

    Raises:
        UsageError: ``code-too-large``, ``code-unreadable``.
        GpuctlError: ``snapshot-failed``, git cannot list the files.
    """
    tree = filetree.select(workdir)
    archive = pack(tree, name=name)
    inside = os.path.relpath(workdir, tree.root)
    entry = program()
    return CodeParts(
        digest=hashlib.sha256(hashlib.sha256(entry).digest() + hashlib.sha256(archive.content).digest()).hexdigest(),
        entry=entry,
        parts=_cut(archive.content, first=LARGEST_PART - len(entry)),
        archive_digest=hashlib.sha256(archive.content).hexdigest(),
        cwd="" if inside == "." else inside,
        files=archive.files,
        size=archive.size,
        notes=archive.notes,
    )


def entry_only() -> CodeParts:
    """No code, only the in-pod program."""
    entry = program()
    return CodeParts(digest=hashlib.sha256(hashlib.sha256(entry).digest()).hexdigest(), entry=entry)


@functools.cache
def program() -> bytes:
    """The in-pod program."""
    return importlib.resources.files("gpuctl.clusters.kubernetes.code").joinpath(ENTRY).read_bytes()


def secrets(code: CodeParts, *, namespace: str) -> tuple[dict[str, Any], ...]:
    """The immutable Secrets of the code, the one with the program first.

    They belong to no one job: every job that uses them is added to their owners, and they go with the last.
    """
    found = []
    for number, name in enumerate(code.secret_names):
        data: dict[str, str] = {}
        if number == 0:
            data[ENTRY] = base64.b64encode(code.entry).decode()
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
