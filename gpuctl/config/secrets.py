"""Tokens: from the environment, a file, or the store that the profile names. The only user of keyring.

A value lives in :class:`Token`, whose repr and text hide it; no error, log or setting ever holds one.
"""

import json
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from gpuctl.base.errors import AuthError
from gpuctl.config import files, paths
from gpuctl.config.profiles import Profile, Store

T = TypeVar("T")

SERVICE = "gpuctl"
KEYRING_SECONDS = 10.0
"""How long an answer of the OS keyring is awaited; a D-Bus without anybody to unlock it never answers."""


class Token:
    """A secret value; only ``reveal`` shows it. ``source`` says where it came from."""

    __slots__ = ("_value", "source")

    def __init__(self, value: str, *, source: str) -> None:
        self._value = value
        self.source = source

    def reveal(self) -> str:
        """The value itself, for a request's header."""
        return self._value

    def __repr__(self) -> str:
        """The source, never the value."""
        return f"<Token from {self.source}>"


class TokenStore(Protocol):
    """Where ``gpuctl login`` leaves tokens, by profile name."""

    def read(self, profile: str) -> str | None:
        """The token, None when there is none."""
        ...

    def write(self, profile: str, value: str) -> None:
        """Keep it, in place of an older one."""
        ...

    def delete(self, profile: str) -> bool:
        """Forget it; whether there was one."""
        ...


def token(profile: Profile, *, env: Mapping[str, str] | None = None) -> Token | None:
    """The token for the profile: ``GPUCTL_TOKEN``, then ``GPUCTL_TOKEN_FILE``, then the profile's store; None when nobody has one.

    Raises:
        AuthError: the file or the store cannot be read.
    """
    env = os.environ if env is None else env
    value = env.get("GPUCTL_TOKEN", "").strip()
    if value:
        return Token(value, source="GPUCTL_TOKEN")
    path = env.get("GPUCTL_TOKEN_FILE")
    if path:
        return Token(_token_file(path), source=f"GPUCTL_TOKEN_FILE ({path})")
    kept = open_store(profile.store, env=env).read(profile.name)
    return Token(kept, source=profile.store) if kept else None


def open_store(store: Store, *, env: Mapping[str, str] | None = None) -> TokenStore:
    """The store of that kind; nothing is imported or opened before its first use."""
    if store == "file":
        return FileStore(os.path.join(paths.data_dir(env), "tokens.json"))
    return KeyringStore()


def _token_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            value = file.read(65536).strip()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not text"
        raise AuthError(f"cannot read the token in {path}", code="token-file", cause=cause, hint="unset GPUCTL_TOKEN_FILE") from error
    if not value:
        raise AuthError(f"cannot read the token in {path}: the file is empty", code="token-file", hint="unset GPUCTL_TOKEN_FILE")
    return value


class KeyringStore:
    """The keyring of the operating system (Secret Service, KWallet, macOS Keychain)."""

    def __init__(self, *, seconds: float = KEYRING_SECONDS) -> None:
        self._seconds = seconds

    def read(self, profile: str) -> str | None:
        """The token, None when there is none."""
        return self._ask("read", profile, lambda keyring: _text_or_none(keyring.get_password(SERVICE, profile)))

    def write(self, profile: str, value: str) -> None:
        """Keep it, in place of an older one."""
        self._ask("keep", profile, lambda keyring: keyring.set_password(SERVICE, profile, value))

    def delete(self, profile: str) -> bool:
        """Forget it; whether there was one."""

        def forget(keyring: Any) -> bool:
            if keyring.get_password(SERVICE, profile) is None:
                return False
            keyring.delete_password(SERVICE, profile)
            return True

        return self._ask("forget", profile, forget)

    def _ask(self, verb: str, profile: str, question: Callable[[Any], T]) -> T:
        """Ask in a thread, so that a keyring that never answers cannot hold the command."""
        import threading

        answers: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                import keyring

                answers.append(question(keyring))
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=run, name="gpuctl-keyring", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if answers:
            return answers[0]
        where = f"cannot {verb} the token of profile {profile}"
        hint = "gpuctl login --store file"
        if not errors:
            raise AuthError(f"{where}: the OS keyring did not answer in {self._seconds:g} s", code="keyring-timeout", hint=hint)
        error = errors[0]
        if isinstance(error, ImportError):
            raise AuthError(f"{where}: the Python package keyring is not installed", code="no-keyring", hint=hint) from error
        if type(error).__name__ == "NoKeyringError":
            raise AuthError(f"{where}: this machine has no OS keyring", code="no-keyring", hint=hint) from error
        raise AuthError(f"{where}: the OS keyring refused", code="keyring-failed", cause=type(error).__name__, hint=hint) from error


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


class FileStore:
    """A JSON file that only its owner can read (0600), for machines without a keyring; used only when asked for."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self, profile: str) -> str | None:
        """The token, None when there is none.

        Raises:
            AuthError: others can read the file, or it is damaged.
        """
        return self._all().get(profile)

    def write(self, profile: str, value: str) -> None:
        """Keep it, in place of an older one."""
        self._replace({**self._all(), profile: value})

    def delete(self, profile: str) -> bool:
        """Forget it; whether there was one."""
        tokens = self._all()
        if profile not in tokens:
            return False
        del tokens[profile]
        self._replace(tokens)
        return True

    def _all(self) -> dict[str, str]:
        try:
            with open(self._path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise AuthError(f"cannot read {self._path}", code="token-file", cause=error.strerror, hint=f"ls -l {self._path}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AuthError(
                f"cannot use {self._path}: others on this machine may read it", code="token-file-open", hint=f"chmod 600 {self._path}"
            )
        try:
            tokens = json.loads(content)
        except ValueError as error:
            raise AuthError(f"cannot read {self._path}: it is damaged", code="token-file", hint=f"rm {self._path}; gpuctl login") from error
        if not isinstance(tokens, dict) or not all(isinstance(value, str) for value in tokens.values()):
            raise AuthError(f"cannot read {self._path}: it is damaged", code="token-file", hint=f"rm {self._path}; gpuctl login")
        return tokens

    def _replace(self, tokens: dict[str, str]) -> None:
        files.write_private(self._path, json.dumps(tokens, indent=1).encode(), failed="token-not-written")
