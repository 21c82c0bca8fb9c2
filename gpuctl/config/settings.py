"""Settings and where each comes from: flag > environment > project file > user file > system file > default."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gpuctl.base.errors import InvalidInput, Problem, nearest
from gpuctl.config import files, paths
from gpuctl.config.keys import BY_NAME, KEYS, Key

T = TypeVar("T")

PROFILES_KEY = "profiles"
"""Beside the settings, the user's and the system's file hold the profiles under this key."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """One value and who gave it: ``--profile``, ``GPUCTL_PROFILE``, a file's path, or ``default``."""

    value: Any
    source: str


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What ``config explain KEY`` prints: the value, its source, and the values it overrides, nearest first."""

    key: Key[Any]
    value: Any
    source: str
    overridden: tuple[Given, ...]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting as it was given, by level.

    Attributes:
        given: by key's name, every value given for it, the strongest first.
        user_file: path of the user's file (it may not exist).
        profile_documents: the ``profiles`` mapping of the user's and of the system's file with their paths, the stronger first.
    """

    given: Mapping[str, tuple[Given, ...]]
    user_file: str
    profile_documents: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    def get(self, key: Key[T]) -> T:
        """The value that counts."""
        values = self.given.get(key.name)
        return values[0].value if values else key.default

    def given_by(self, key: Key[Any]) -> str | None:
        """Who gave the value that counts, None when it is the default."""
        values = self.given.get(key.name)
        return values[0].source if values else None

    def explain(self, name: str) -> Explained:
        """Value, source and what it overrides.

        Raises:
            InvalidInput: no such key.
        """
        key = BY_NAME.get(name)
        if key is None:
            raise InvalidInput(
                f"cannot explain {name}: there is no such setting",
                [_unknown(name, name)],
                code="unknown-key",
                hint="gpuctl help environment",
            )
        values = (*self.given.get(name, ()), Given(value=key.default, source="default"))
        return Explained(key=key, value=values[0].value, source=values[0].source, overridden=values[1:])


def load(*, flags: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None, cwd: str | None = None) -> Settings:
    """Read all levels.

    Args:
        flags: values by key's name; None means that the flag was not given.
        env: the environment, ``os.environ`` by default.
        cwd: where the search for the project file begins, the working directory by default.

    Raises:
        InvalidInput: ``bad-config``; every unknown key and wrong value of every level at once.
        UsageError: a file cannot be read, or there is no home directory.
    """
    env = os.environ if env is None else env
    problems: list[Problem] = []
    given: dict[str, list[Given]] = {}
    for name, value in (flags or {}).items():
        if value is not None:
            _take(
                BY_NAME[name],
                value,
                source=f"--{name.replace('_', '-')}",
                field=f"--{name.replace('_', '-')}",
                into=given,
                problems=problems,
            )
    for key in KEYS:
        if env.get(key.env):
            _take(key, env[key.env], source=key.env, field=key.env, into=given, problems=problems)
    documents: list[tuple[str, Mapping[str, Any]]] = []
    user_file = paths.user_config(env)
    project_file = _project_file(cwd, env)
    if project_file is not None and project_file != user_file:
        _take_file(project_file, given, problems, project=True)
    for path in (user_file, paths.SYSTEM_CONFIG):
        profiles = _take_file(path, given, problems, project=False)
        if profiles:
            documents.append((path, profiles))
    if problems:
        raise InvalidInput("cannot read the configuration", problems, code="bad-config")
    return Settings(given={name: tuple(values) for name, values in given.items()}, user_file=user_file, profile_documents=tuple(documents))


def _project_file(cwd: str | None, env: Mapping[str, str]) -> str | None:
    if cwd is None:
        try:
            cwd = os.getcwd()
        except FileNotFoundError:
            return None
    return paths.project_config(cwd, env)


def _take_file(path: str, given: dict[str, list[Given]], problems: list[Problem], *, project: bool) -> Mapping[str, Any]:
    """Collect the settings of one file; its profiles, which a project file may not have."""
    profiles: Mapping[str, Any] = {}
    for name, value in files.read(path).items():
        key = BY_NAME.get(name)
        field = f"{path}: {name}"
        if name == PROFILES_KEY and not project:
            if isinstance(value, dict):
                profiles = value
            elif value is not None:
                problems.append(Problem(field=field, message="wrong type", got=_shown(value), allowed="a mapping from names to profiles"))
        elif name == PROFILES_KEY or (key is not None and project and not key.project):
            problems.append(Problem(field=field, message="cannot be set by a project; it belongs in the user's own file"))
        elif key is None:
            problems.append(_unknown(field, name))
        elif value is not None:
            _take(key, value, source=path, field=field, into=given, problems=problems)
    return profiles


def _take(key: Key[Any], value: object, *, source: str, field: str, into: dict[str, list[Given]], problems: list[Problem]) -> None:
    try:
        read = key.read(value)
    except ValueError as error:
        problems.append(Problem(field=field, message=str(error), got=_shown(value), allowed=key.allowed))
        return
    into.setdefault(key.name, []).append(Given(value=read, source=source))


def _unknown(field: str, name: str) -> Problem:
    return Problem(
        field=field, message="unknown key", allowed=", ".join([*BY_NAME, PROFILES_KEY]), nearest=nearest(name, [*BY_NAME, PROFILES_KEY])
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
