"""Claims of request ids: which place a job belongs to, decided once, one file each.

A claim is written whole under a name of its own and then linked to the name that the request id gives, which succeeds for exactly one of
several processes. So a claim is create-only by nature, and one that was seen was complete.
"""

import contextlib
import hashlib
import os
import secrets

import msgspec

from gpuctl.base.errors import ConflictError
from gpuctl.clusters.local.launch import write_whole
from gpuctl.clusters.local.paths import state_error
from gpuctl.model import decoding


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One request id: what was asked for, in one word, and the place that it went to."""

    request_id: str
    digest: str
    home: str


def claim(root: str, request_id: str, *, digest: str, home: str) -> str:
    """The place that the first claim of ``request_id`` below the state directory ``root`` named; ours, if this is the first.

    Raises:
        ConflictError: ``request-id-used``, the first one was for something else.
        GpuctlError: the state directory cannot be written.
    """
    directory = os.path.join(root, "claims")
    path = os.path.join(directory, hashlib.sha256(request_id.encode()).hexdigest()[:32])
    try:
        existing = _read(path)
        if existing is None:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            existing = _link(path, Claim(request_id=request_id, digest=digest, home=home))
    except OSError as error:
        raise state_error(root, error) from error
    if existing.digest != digest:
        raise ConflictError(
            f"cannot use request id {request_id} again: it was used for something else",
            code="request-id-used",
            hint="take another --request-id",
        )
    return existing.home


def _link(path: str, mine: Claim) -> Claim:
    """Our claim, or that of whoever was faster."""
    draft = f"{path}.{secrets.token_hex(6)}"
    try:
        write_whole(draft, msgspec.json.encode(mine))
        try:
            os.link(draft, path)
        except FileExistsError:
            return _read(path) or mine
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
    return mine


def _read(path: str) -> Claim | None:
    try:
        with open(path, "rb") as file:
            return decoding.decode(file.read(), Claim)
    except FileNotFoundError:
        return None
