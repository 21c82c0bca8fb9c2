"""Job files (``-f``) and single fields (``--set PATH=VALUE``), to settings."""

import dataclasses
import os
from typing import Any

from gpuctl.base.errors import InvalidInput, Problem, UsageError, nearest
from gpuctl.cli.spec.flag import Path, Place, Refused, Use
from gpuctl.cli.spec.layers import Setting, flatten
from gpuctl.cli.spec.read_values import text_of
from gpuctl.model import jobfile

SHAPE = "a mapping with apiVersion, kind, metadata and spec (gpuctl submit --dry-run -o yaml writes one)"


def read(name: str, place: Place, problems: list[Problem]) -> list[Setting]:
    """The settings of a job file. A body that is no mapping is told here, its fields are checked after the merge."""
    shown = "standard input" if name == "-" else name
    try:
        text = text_of(name, place)
    except Refused as refusal:
        problems.append(refusal.problem("-f", name))
        return []
    try:
        body = jobfile.parse(text.encode(), source=shown)
    except InvalidInput as error:
        problems += [dataclasses.replace(problem, field=f"{shown}: {problem.field}") for problem in error.problems]
        return []
    except UsageError as error:
        sentence = error.message.removeprefix(f"cannot read job file {shown}: ")
        problems.append(Problem(field=shown, message=f"{sentence} ({error.cause})" if error.cause else sentence, nearest=None))
        return []
    if not isinstance(body, dict):
        what = {list: "a list", str: "a text", type(None): "empty"}.get(type(body), f"a {type(body).__name__}")
        problems.append(Problem(field=shown, message=f"is {what}", allowed=SHAPE))
        return []
    settings = [Setting(path=path, value=value, origin=shown, own_name=False) for path, value in flatten(body)]
    if place.elsewhere or any(setting.path[:2] == ("spec", "git") for setting in settings):
        return settings
    return [_beside(setting, name, place) for setting in settings]


def _beside(setting: Setting, name: str, place: Place) -> Setting:
    """A relative ``workdir`` in a file begins at the directory of the file, so that a project may hold its own job files."""
    if setting.path != ("spec", "workdir") or not isinstance(setting.value, str) or name == "-":
        return setting
    base = os.path.dirname(os.path.join(place.cwd, os.path.expanduser(name)))
    return Setting(path=setting.path, value=os.path.normpath(os.path.join(base, setting.value)), origin=setting.origin, own_name=False)


def changes(uses: list[Use], problems: list[Problem]) -> list[Setting]:
    """The settings of ``--set``. Paths begin below ``spec`` unless they name ``spec`` or ``metadata``; ``null`` takes a field away."""
    found = []
    for use in uses:
        name, equals, text = (use.text or "").partition("=")
        path = tuple(name.split("."))
        if not equals or not all(path):
            problems.append(Problem(field="--set", message="is no PATH=VALUE", got=repr(use.text), allowed="env.LR=1e-3, gpus=4"))
            continue
        if path[0] not in {"spec", "metadata"}:
            path = ("spec", *path)
        origin = f"--set {name}"
        path, problem = _known(path, origin)
        if problem is not None:
            problems.append(problem)
            continue
        try:
            value = _value(path, text)
        except Refused as refusal:
            problems.append(refusal.problem(origin, text))
            continue
        found += [Setting(path=inner, value=each, origin=origin) for inner, each in flatten(value, path)] or [
            Setting(path=path, value=None, origin=origin)
        ]
    return found


def _value(path: Path, text: str) -> Any:
    if text == "null":
        return None
    return text if _is_text(path) else _load(text)


def _known(path: Path, origin: str) -> tuple[Path, Problem | None]:
    """The path with its first field in the spelling of documents, or the problem that there is no such field."""
    fields = _fields(path[0])
    if len(path) < 2 or path[1] in fields:
        return path, None
    first, *others = path[1].split("_")
    camel = first + "".join(word.capitalize() for word in others)
    if camel in fields:
        return (path[0], camel, *path[2:]), None
    return path, Problem(field=origin, message="there is no such field", nearest=nearest(path[1], fields))


def _fields(part: str) -> dict[str, Any]:
    import msgspec

    from gpuctl.model.spec import JobSpec, Metadata

    return {field.encode_name: field.type for field in msgspec.structs.fields(JobSpec if part == "spec" else Metadata)}


def _is_text(path: Path) -> bool:
    """Whether the field holds text, which is then taken as it stands (``--set time=30m``, ``--set env.PORT=8080``)."""
    import types
    import typing

    if path[1:2] in {("env",), ("labels",)} and len(path) > 2:
        return True
    kind = _fields(path[0]).get(path[1]) if len(path) == 2 else None
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    return kind is str or origin is typing.Literal or (origin in {types.UnionType, typing.Union} and str in options)


def _load(text: str) -> Any:
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}: " if mark is not None else ""
        raise Refused(f"{place}is no YAML: {error.problem or error.context or 'it cannot be read'}", got="") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Refused(f"is no YAML: {' '.join(str(error).split())}", got="") from None
