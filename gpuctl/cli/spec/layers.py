"""Who wins: settings of several sources, merged field by field, each with its origin and what it overrode.

Maps (environment, labels), volumes and secrets are merged by their keys; any other list is replaced as a whole by the stronger source.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from gpuctl.cli.spec.flag import SECRET_VALUES, Path, Secret

_MAPS = {("spec",), ("metadata",), ("spec", "env"), ("spec", "array"), ("spec", "git"), ("metadata", "labels")}
_BY_NAME = {("spec", "volumes"), ("spec", "secrets")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One value for one field, and who gave it, as a person would say it (``--time``, ``job.sh:3: --time``, ``GPUCTL_SUBMIT_TIME``).

    ``own_name``: the origin alone names what a person wrote; else the field's path is told with it (``job.yaml: spec.gpus``).
    """

    path: Path
    value: Any
    origin: str
    own_name: bool = True


class Layers:
    """The merged settings; each :meth:`add` is stronger than those before."""

    def __init__(self) -> None:
        self._settings: dict[Path, tuple[Setting, ...]] = {}

    def add(self, settings: Iterable[Setting]) -> None:
        """Put a stronger source on top. A value of None takes the field, and everything below it, away."""
        for setting in settings:
            if setting.value is None:
                for path in [path for path in self._settings if path[: len(setting.path)] == setting.path]:
                    del self._settings[path]
            else:
                self._settings[setting.path] = (setting, *self._settings.get(setting.path, ()))

    def __iter__(self) -> Iterator[Setting]:
        """The settings that count."""
        return (settings[0] for settings in self._settings.values())

    def get(self, *path: str) -> Any:
        """The value at a path, None without one."""
        settings = self._settings.get(path)
        return settings[0].value if settings else None

    def overridden(self, path: Path) -> tuple[Setting, ...]:
        """What the setting at ``path`` overrode, the stronger first."""
        return self._settings[path][1:]

    def secrets(self) -> dict[str, str]:
        """The values of secrets by name."""
        return {setting.path[1]: setting.value.value for setting in self if isinstance(setting.value, Secret)}

    def tree(self) -> dict[str, Any]:
        """The settings as the body of a job document, without the values of secrets."""
        root: dict[str, Any] = {}
        for setting in self:
            if setting.path[0] != SECRET_VALUES:
                _put(root, setting.path, setting.value)
        spec = root.get("spec")
        if isinstance(spec, dict):
            for key in ("volumes", "secrets"):
                if isinstance(spec.get(key), dict):
                    spec[key] = list(spec[key].values())
        return root

    def who(self, field: str) -> Setting | None:
        """The setting that a field of the document (``spec.gpus``, ``spec.volumes[0].path``) came from."""
        wanted = tuple(field.replace("[", ".").replace("]", "").split("."))
        best: Setting | None = None
        for setting in self:
            path = setting.path
            if path == wanted[: len(path)] or wanted == path[: len(wanted)]:
                best = setting
            elif path[:2] in _BY_NAME and wanted[:2] == path[:2] and len(wanted) > 2 and self._position(path) == wanted[2]:
                return setting
        return best

    def _position(self, path: Path) -> str:
        alike = [setting.path for setting in self if setting.path[:2] == path[:2]]
        return str(alike.index(path))


def flatten(body: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """A document's fields as paths and values. What has an unexpected shape is left whole, for the check to tell."""
    if (not path or path in _MAPS) and isinstance(body, dict):
        for key, value in body.items():
            yield from flatten(value, (*path, str(key)))
    elif (
        path == ("spec", "volumes")
        and isinstance(body, list)
        and body
        and all(isinstance(each, dict) and each.get("name") for each in body)
    ):
        for each in body:
            yield (*path, str(each["name"])), each
    elif path == ("spec", "secrets") and isinstance(body, list) and body and all(isinstance(each, str) for each in body):
        for each in body:
            yield (*path, each), each
    elif body is not None:
        yield path, body


def _put(root: dict[str, Any], path: Path, value: Any) -> None:
    """Set a value, unless something that is no mapping stands in its way (the check tells about that)."""
    for key in path[:-1]:
        below = root.setdefault(key, {})
        if not isinstance(below, dict):
            return
        root = below
    if not (isinstance(root.get(path[-1]), dict) and not isinstance(value, dict)):
        root[path[-1]] = value
