"""Who we are to an API server: a token, a token file, a password, a certificate. Plugins and the rest have modules of their own.

A :class:`Credential` is what one request carries; :class:`Credentials` is where it comes from, and what to do when it is refused.
"""

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gpuctl.base.errors import AuthError

TOKEN_FILE_S = 60.0
"""How long a token file's content is used before it is read again, as in client-go; kubelet rotates such files."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Credential:
    """What a request carries. It has no repr, so that it cannot reach a log by accident.

    Attributes:
        authorization: the header's value, or None.
        certificate: PEM of a client certificate, or None.
        key: PEM of its key.
    """

    authorization: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None


class Credentials(Protocol):
    """Where credentials come from. Threads may call both methods at once."""

    def current(self, limit_s: float) -> Credential:
        """The credential to use now, had within ``limit_s`` seconds.

        Raises:
            AuthError: none could be had. There is never an anonymous answer in place of an error.
        """
        ...

    def renewed(self, refused: Credential) -> bool:
        """After a 401: whether ``current`` may now give another credential than ``refused``."""
        ...


class Fixed:
    """A credential that never changes."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def current(self, limit_s: float) -> Credential:
        """The one."""
        del limit_s
        return self._credential

    def renewed(self, refused: Credential) -> bool:
        """Never."""
        del refused
        return False


class TokenFile:
    """A bearer token in a file that something else keeps fresh; read again every minute and after a refusal."""

    def __init__(self, path: Path, *, base: Credential | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._base = base or Credential()
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._held: Credential | None = None

    def current(self, limit_s: float) -> Credential:
        """The file's token, at most a minute old; the last good one while the file cannot be read.

        Raises:
            AuthError: the file cannot be read or is empty, and there was no token before.
        """
        del limit_s
        with self._lock:
            if self._held is None or self._clock() - self._read_at > TOKEN_FILE_S:
                self._held = self._read() or self._held
                self._read_at = self._clock()
            if self._held is None:
                raise AuthError(f"cannot use the token file {self._path}: it is empty", code="no-credentials")
            return self._held

    def renewed(self, refused: Credential) -> bool:
        """Whether the file holds another token by now."""
        with self._lock:
            found = self._read()
            if found is None or found == refused:
                return False
            self._held, self._read_at = found, self._clock()
            return True

    def _read(self) -> Credential | None:
        try:
            token = self._path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            if self._held is not None:
                return None
            raise AuthError(f"cannot read the token file {self._path}", code="no-credentials", cause=str(error)) from None
        return dataclasses.replace(self._base, authorization=f"Bearer {token}") if token else None
