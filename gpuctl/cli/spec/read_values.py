"""Values of the flags about the environment, files, secrets, volumes and places."""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from gpuctl.base import names
from gpuctl.base.errors import nearest
from gpuctl.cli.spec.flag import SECRET_VALUES, Path, Place, Reader, Refused, Secret
from gpuctl.model import rules

Settings = Iterable[tuple[Path, Any]]

VARIABLE_ALLOWED = "letters, digits and _, not beginning with a digit"
LARGEST = 16 << 20
"""Bytes of the largest file that a flag reads whole."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_TOKENS = "GPUCTL_TOKEN"


def word(key: str, *choices: str) -> Reader:
    """One word for ``spec.<key>``; one of ``choices`` if there are any."""

    def read(text: str, _place: Place) -> Settings:
        stripped = text.strip()
        if not stripped:
            raise Refused("is empty")
        if choices and stripped not in choices:
            raise Refused("is none of them", allowed=", ".join(choices), nearest=nearest(stripped, choices))
        return [(("spec", key), stripped)]

    return read


def switch(key: str) -> Reader:
    """A switch: ``spec.<key>`` is true. From the environment also a word for yes or no."""

    def read(text: str, _place: Place) -> Settings:
        lowered = text.strip().lower()
        if lowered not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
            raise Refused("is neither yes nor no", allowed="1, true, yes, on, 0, false, no, off")
        return [(("spec", key), lowered in {"1", "true", "yes", "on"})]

    return read


def words(key: str) -> Reader:
    """Words between commas for ``spec.<key>``."""

    def read(text: str, _place: Place) -> Settings:
        found = [part.strip() for part in text.split(",") if part.strip()]
        if not found:
            raise Refused("names nothing")
        return [(("spec", key), found)]

    return read


def devices(text: str, _place: Place) -> Settings:
    """``--devices 0,1`` or ``0-3``."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise Refused("is no list of devices", allowed="indices such as 0,1 or 0-3 (gpuctl nodes -o wide)")
        found.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return [(("spec", "devices"), sorted(set(found)))]


def env(text: str, place: Place) -> Settings:
    """``--env K=V``, or ``--env K`` for the value it has here."""
    key, equals, value = text.partition("=")
    _check_variable(key)
    if not equals:
        if key not in place.env:
            close = nearest(key, place.env)
            raise Refused("has no value: it is not set here", allowed="K=V, or K for a variable that is set", nearest=close, got=repr(key))
        value = place.env[key]
    return [(("spec", "env", key), value)]


def env_file(text: str, place: Place) -> Settings:
    """``--env-file FILE`` of ``K=V`` lines."""
    return [(("spec", "env", key), value) for key, value in assignments(text, place)]


def secret(text: str, place: Place) -> Settings:
    """``--secret NAME`` from the environment, or ``--secret NAME=@FILE``. A value on the command line would be seen by everybody."""
    key, equals, value = text.partition("=")
    _check_variable(key)
    if not equals:
        if not place.env.get(key):
            raise Refused("has no value: it is not set here", allowed="NAME of a variable that is set, or NAME=@FILE", got=repr(key))
        value = place.env[key]
    elif not value.startswith("@"):
        raise Refused("takes no value: others could read it", allowed="NAME, or NAME=@FILE", got=repr(f"{key}=***"))
    else:
        value = text_of(value[1:], place).rstrip("\r\n")
        if not value:
            raise Refused("is empty in the file", got=repr(text))
    return _secret(key, value)


def secret_file(text: str, place: Place) -> Settings:
    """``--secret-file FILE`` of ``NAME=value`` lines."""
    return [setting for key, value in assignments(text, place, hide=True) for setting in _secret(key, value)]


def _secret(key: str, value: str) -> list[tuple[Path, Any]]:
    return [(("spec", "secrets", key), key), ((SECRET_VALUES, key), Secret(value))]


def label(text: str, _place: Place) -> Settings:
    """``--label team=vision``."""
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?", key):
        raise Refused("is no label", allowed="key=value")
    if not re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", value):
        raise Refused("has a value that a label cannot hold", allowed="at most 63 letters, digits, '.', '_' and '-'")
    return [(("metadata", "labels", key), value)]


def volume(text: str, _place: Place) -> Settings:
    """``--volume NAME[:/path[:ro]]``."""
    allowed = "NAME, NAME:/path or NAME:/path:ro"
    parts = text.strip().split(":")
    read_only = len(parts) > 1 and parts[-1] in {"ro", "rw"}
    mode = parts.pop() if read_only else "rw"
    if len(parts) > 2:
        raise Refused("is no volume", allowed=allowed)
    mount: dict[str, Any] = {"name": _volume_name(parts[0], allowed)}
    if len(parts) == 2:
        mount["path"] = _absolute(parts[1], allowed)
    if mode == "ro":
        mount["readOnly"] = True
    return [(("spec", "volumes", parts[0]), mount)]


def checkpoint(text: str, _place: Place) -> Settings:
    """``--checkpoint VOLUME:/dir``."""
    allowed = "VOLUME:/dir"
    name, colon, directory = text.strip().partition(":")
    found = {"volume": _volume_name(name, allowed), "dir": _absolute(directory, allowed) if colon else "/"}
    return [(("spec", "checkpoint"), found)]


def logs_to(text: str, _place: Place) -> Settings:
    """``--logs-to VOLUME[:/dir]``."""
    allowed = "VOLUME or VOLUME:/dir"
    name, colon, directory = text.strip().partition(":")
    _volume_name(name, allowed)
    return [(("spec", "logsTo"), f"{name}:{_absolute(directory, allowed)}" if colon else name)]


def url(text: str, _place: Place) -> Settings:
    """``--notify URL``."""
    if not re.match(r"https?://[^\s/]+", text.strip()):
        raise Refused("is no URL", allowed="http://... or https://...")
    return [(("spec", "notify"), text.strip())]


def git(text: str, _place: Place) -> Settings:
    """``--git URL@REF``."""
    parts = rules.git_parts(text)
    if parts is None:
        got = repr(rules.without_login(text.strip()))
        raise Refused("says no branch, tag or commit", allowed="URL@REF, such as https://host/team/code@main", got=got)
    return [(("spec", "git", "url"), parts[0]), (("spec", "git", "ref"), parts[1])]


def directory(text: str, place: Place) -> Settings:
    """``--workdir DIR``, made absolute; of a repository that is elsewhere as it is."""
    if place.elsewhere:
        return [(("spec", "workdir"), text.strip())]
    path = os.path.abspath(os.path.join(place.cwd, os.path.expanduser(text)))
    if not os.path.isdir(path):
        raise Refused("is no directory" if os.path.exists(path) else "there is no such directory")
    return [(("spec", "workdir"), path)]


def contents(key: str) -> Reader:
    """The text of a file for ``spec.<key>``."""

    def read(text: str, place: Place) -> Settings:
        return [(("spec", key), text_of(text, place))]

    return read


def assignments(text: str, place: Place, *, hide: bool = False) -> list[tuple[str, str]]:
    """``K=V`` lines of a file (or stdin, ``-``): comments, empty lines, ``export`` and quotes around a value are understood.

    Args:
        text: the file.
        place: where it is looked for.
        hide: values are secrets, no line is quoted in an error.
    """
    found = []
    for number, line in enumerate(text_of(text, place).splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.removeprefix("export ").partition("=")
        key, value = key.strip(), value.strip()
        shown = "***" if hide else repr(line)
        if not equals:
            raise Refused(f"line {number} of {text} is no K=V", got=shown)
        _check_variable(key, got=f"{key!r} in line {number} of {text}")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found.append((key, value))
    return found


def text_of(path: str, place: Place) -> str:
    """The text of a file (``-``: standard input).

    Raises:
        Refused: it cannot be read, or is no text.
    """
    if path == "-":
        return place.stdin()
    full = os.path.join(place.cwd, os.path.expanduser(path))
    try:
        with open(full, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise Refused(f"cannot be read: {(error.strerror or str(error)).lower()}", got=path, nearest=_near_file(full)) from None
    if len(content) > LARGEST:
        raise Refused(f"is larger than {LARGEST >> 20} MiB", got=path)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused("is no text in UTF-8", got=path) from None


def near_file(directory: str, name: str) -> str | None:
    """The name in ``directory`` that is nearest to ``name``."""
    try:
        return nearest(name, os.listdir(directory or "."))
    except OSError:
        return None


def _near_file(path: str) -> str | None:
    return None if os.path.exists(path) else near_file(os.path.dirname(path), os.path.basename(path))


def _check_variable(key: str, *, got: str | None = None) -> None:
    if not _VARIABLE.match(key):
        raise Refused("is no name of a variable", allowed=VARIABLE_ALLOWED, got=got or repr(key))
    if key.startswith(_TOKENS):
        raise Refused("is never handed to a job", got=got or repr(key))


def _volume_name(name: str, allowed: str) -> str:
    if names.problem(name):
        raise Refused("is no name of a volume", allowed=allowed, nearest=names.suggestion(name) if name else None, got=repr(name))
    return name


def _absolute(path: str, allowed: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise Refused("is no absolute path", allowed=allowed, got=repr(path))
    return path


def joined(settings: Sequence[tuple[Path, Any]]) -> dict[Path, Any]:
    """Settings of several uses of one flag: lists are joined, anything else is replaced by the later."""
    found: dict[Path, Any] = {}
    for path, value in settings:
        if isinstance(value, list) and isinstance(found.get(path), list):
            found[path] = [*found[path], *(item for item in value if item not in found[path])]
        else:
            found[path] = value
    return found
