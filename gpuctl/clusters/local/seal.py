"""Sealing a waiting job's environment and secrets.

AES-256-GCM with one key per user and machine, kept beside the store with mode 0600: it keeps values out of backups of single files,
out of ``grep -r`` and out of what a person pastes; it does not protect from somebody who can read the whole state directory as that
user. Each blob has its own nonce and is bound to its job's id, so that it cannot be put into another job's directory.
"""

import json
import os
import secrets
from collections.abc import Mapping

import msgspec

from gpuctl.base.errors import GpuctlError

_KEY_BYTES = 32
_NONCE_BYTES = 12


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What is sealed: the job's whole environment, and secrets by name."""

    environment: dict[str, str] = {}
    secrets: dict[str, str] = {}

    def merged(self) -> dict[str, str]:
        """The environment with the secrets in it."""
        return {**self.environment, **self.secrets}


def without_tokens(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without gpuctl's own credentials (``GPUCTL_TOKEN*``)."""
    return {name: value for name, value in environment.items() if not name.startswith("GPUCTL_TOKEN")}


def load_key(path: str) -> bytes:
    """The key, made on first use. Two processes that make it at once agree on one: whoever links the file first.

    Raises:
        OSError: it cannot be read or made.
        GpuctlError: ``key-damaged``, it has the wrong length.
    """
    try:
        key = _read(path)
    except FileNotFoundError:
        draft = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, secrets.token_bytes(_KEY_BYTES))
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # somebody else's key is the key
        finally:
            os.unlink(draft)
        key = _read(path)
    if len(key) != _KEY_BYTES:
        raise GpuctlError(
            f"cannot use the key {path}: it has {len(key)} bytes, {_KEY_BYTES} expected",
            code="key-damaged",
            hint=f"rm {path}    (waiting jobs have to be submitted again)",
        )
    return key


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def seal(content: Secrets, *, key: bytes, job_id: str) -> bytes:
    """One blob: nonce, then ciphertext with its tag."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    # The standard library's JSON keeps what is not UTF-8 (surrogate escapes), which environments on Linux may hold.
    text = json.dumps({"environment": content.environment, "secrets": content.secrets})
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text.encode("ascii"), job_id.encode())


def unseal(blob: bytes, *, key: bytes, job_id: str) -> Secrets:
    """What :func:`seal` was given.

    Raises:
        GpuctlError: ``seal-broken``, the blob is damaged, of another job, or sealed with another key.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return Secrets(**json.loads(AESGCM(key).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], job_id.encode())))
    except (InvalidTag, ValueError) as error:
        raise GpuctlError(
            f"cannot open the sealed environment of job {job_id}",
            code="seal-broken",
            cause="it was changed, or the key is another one",
            hint="submit the job again",
        ) from error
