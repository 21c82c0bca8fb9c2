"""Is this a job? Every wrong field at once.

msgspec reports one error and stops; somebody who edits a job file wants the list. ``check_document`` walks what YAML gave along the
types of :class:`~gpuctl.model.spec.JobDocument`; ``check_spec`` judges the values of a spec, whoever made it: command line, file or Python.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from gpuctl.base import duration, names
from gpuctl.base.errors import Problem, nearest
from gpuctl.model import decoding
from gpuctl.model.rules import check_spec, shown
from gpuctl.model.spec import API_VERSION, JobDocument, JobSpec, Metadata

__all__ = ["check_document", "check_metadata", "check_spec", "read", "touched"]

_NUMBERS_AS_TEXT = frozenset({"spec.cpus", "spec.memory"})
"""Amounts that people write as bare numbers (``cpus: 4``), kept as text."""

_DURATIONS = frozenset({"spec.time", "spec.grace", "spec.signal.before"})
_SPAN = re.compile(r"spec\.windows\[\d+\]\.(duration|drain\.(notify|lead|grace|maxOverrun))\Z")
"""Durations of a schedule, which stand in a list."""

_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?\Z")
_DROPPED = object()


def check_document(value: object) -> tuple[JobDocument | None, tuple[Problem, ...]]:
    """The job document in ``value`` (what a YAML or JSON parser gave), or every problem of it, with paths such as ``spec.gpus``.

    A document is given back only without problems. Wrong fields are left out while the others are judged together, so that a wrong
    type does not hide a negative number next to it.
    """
    problems: list[Problem] = []
    if not isinstance(value, Mapping):
        return None, (
            Problem(field="job file", message="is not a job", got=_kind(value), allowed="a mapping with apiVersion, kind and spec"),
        )
    kept = _walk(value, inspect.type_info(JobDocument), "", problems)
    kept.setdefault("apiVersion", API_VERSION)
    kept.setdefault("kind", "Job")
    document = decoding.convert(kept, JobDocument)
    wrong = {problem.field for problem in problems}
    judged = [
        *check_metadata(document.metadata.name, document.metadata.labels),
        *(_below("spec", problem) for problem in check_spec(document.spec)),
    ]
    problems.extend(problem for problem in judged if not touched(problem.field, wrong))
    return (None if problems else document), tuple(problems)


D = TypeVar("D", bound=msgspec.Struct)


def read(value: object, kind: type[D], *, what: str) -> tuple[D | None, tuple[Problem, ...]]:
    """A document of type ``kind`` in ``value``, with what is wrong in it left out, and every problem of its shape; None: no mapping at all.

    Required fields that are missing are told, and filled in from the ``PLACEHOLDERS`` of their struct, so that the rest can be judged.

    Args:
        value: what a YAML or JSON parser gave.
        kind: whose required fields all have placeholders.
        what: the document in words.
    """
    if not isinstance(value, Mapping):
        problem = Problem(field=what, message=f"is no {what}", got=_kind(value), allowed="a mapping with apiVersion, kind and spec")
        return None, (problem,)
    problems: list[Problem] = []
    kept = _walk(value, inspect.type_info(kind), "", problems)
    return decoding.convert(kept, kind), tuple(problems)


def check_metadata(name: str | None, labels: Mapping[str, str]) -> tuple[Problem, ...]:
    """Problems of a job's name and labels, with the fields ``metadata.name`` and ``metadata.labels.KEY``."""
    problems = []
    why = names.problem(name) if name is not None else None
    if why:
        problems.append(
            Problem(field="metadata.name", message=why, got=shown(name), allowed=names.ALLOWED, nearest=names.suggestion(name or ""))
        )
    for key, value in labels.items():
        if not _LABEL_KEY.match(key):
            allowed = "letters, digits, '.', '_' and '-', at most 63 of them"
            problems.append(Problem(field=f"metadata.labels.{key}", message="is no label key", got=shown(key), allowed=allowed))
        if not _LABEL_VALUE.match(value):
            allowed = "letters, digits, '.', '_' and '-', at most 63 of them, or nothing"
            problems.append(Problem(field=f"metadata.labels.{key}", message="is no label value", got=shown(value), allowed=allowed))
    return tuple(problems)


def _below(prefix: str, problem: Problem) -> Problem:
    return Problem(
        field=f"{prefix}.{problem.field}", message=problem.message, got=problem.got, allowed=problem.allowed, nearest=problem.nearest
    )


def touched(field: str, wrong: set[str]) -> bool:
    """Whether a problem of this field, of one it belongs to, or of one below it, is already told."""
    return any(
        field == other or field.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{field}.", f"{field}[")) for other in wrong
    )


def _walk(value: object, kind: inspect.Type, path: str, problems: list[Problem]) -> Any:
    """``value`` without what is wrong with it; ``_DROPPED`` when nothing is left."""
    if isinstance(kind, inspect.UnionType):
        kind = next(member for member in kind.types if not isinstance(member, inspect.NoneType))
    if isinstance(kind, inspect.StructType):
        return _walk_struct(value, kind, path, problems)
    if isinstance(kind, inspect.DictType):
        return _walk_dict(value, kind, path, problems)
    if isinstance(kind, inspect.VarTupleType):
        return _walk_list(value, kind, path, problems)
    if isinstance(kind, inspect.LiteralType):
        if value in kind.values:
            return value
        close = nearest(value, [str(word) for word in kind.values]) if isinstance(value, str) else None
        problems.append(
            Problem(field=path, message="is none of them", got=shown(value), allowed=", ".join(map(str, kind.values)), nearest=close)
        )
        return _DROPPED
    return _scalar(value, kind, path, problems)


def _scalar(value: object, kind: inspect.Type, path: str, problems: list[Problem]) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, inspect.StrType):
        if isinstance(value, str):
            return value
        if number and path in _NUMBERS_AS_TEXT:
            return str(value)
        if number and (path in _DURATIONS or _SPAN.match(path)):  # YAML 1.1 reads 6:00:00 as the number 21600
            problems.append(
                Problem(field=path, message="is no duration", got=_kind(value), allowed=f"{duration.ALLOWED}, in quotes with colons")
            )
            return _DROPPED
        quoted = f'"{value}"' if isinstance(value, (bool, int, float)) else None
        problems.append(Problem(field=path, message="is no text", got=_kind(value), allowed="text", nearest=quoted))
    elif isinstance(kind, inspect.BoolType):
        if isinstance(value, bool):
            return value
        problems.append(Problem(field=path, message="is neither true nor false", got=_kind(value), allowed="true, false"))
    elif isinstance(kind, inspect.IntType):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        problems.append(Problem(field=path, message="is no whole number", got=_kind(value), allowed="a whole number"))
    elif isinstance(kind, inspect.FloatType):
        if number:
            return value
        problems.append(Problem(field=path, message="is no number", got=_kind(value), allowed="a number"))
    else:
        raise TypeError(f"a job document holds no {type(kind).__name__}, at {path}")
    return _DROPPED


def _walk_struct(value: object, kind: inspect.StructType, path: str, problems: list[Problem]) -> Any:
    fields = _fields(kind.cls)
    if not isinstance(value, Mapping):
        problems.append(Problem(field=path, message="has no fields", got=_kind(value), allowed=f"a mapping with {_few(list(fields))}"))
        return _DROPPED
    kept: dict[str, Any] = {}
    for key, item in value.items():
        where = f"{path}.{key}" if path else str(key)
        field = fields.get(key) if isinstance(key, str) else None
        if field is None:
            close = nearest(str(key), fields) if kind.cls is not JobDocument else _deeper(str(key)) or nearest(str(key), fields)
            problems.append(Problem(field=where, message="unknown field", allowed=None if close else _few(list(fields)), nearest=close))
            continue
        if item is None and not field.required:
            continue  # as in Kubernetes: a field without a value was not given
        found = _walk(item, field.type, where, problems)
        if found is not _DROPPED:
            kept[field.encode_name] = found
    for name, field in fields.items():
        if field.required and name not in value:
            problems.append(Problem(field=f"{path}.{name}" if path else name, message="is missing", allowed=_allowed(field.type)))
    for name, value_missing in getattr(kind.cls, "PLACEHOLDERS", {}).items():
        kept.setdefault(name, value_missing)
    return _DROPPED if _lacks(kind, kept) else kept


def _deeper(key: str) -> str | None:
    """Where a field that stands at the top of a document belongs."""
    return next((f"{part}.{key}" for part, struct in (("metadata", Metadata), ("spec", JobSpec)) if key in _fields(struct)), None)


def _lacks(kind: inspect.StructType, kept: Mapping[str, Any]) -> bool:
    """Whether the struct cannot be made from what is left of it. The document itself always can: its two words are filled in."""
    return kind.cls is not JobDocument and any(field.required and field.encode_name not in kept for field in kind.fields)


def _walk_dict(value: object, kind: inspect.DictType, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(Problem(field=path, message="is no mapping", got=_kind(value), allowed="KEY: value lines"))
        return _DROPPED
    kept = {}
    for key, item in value.items():
        where = f"{path}.{key}"
        if not isinstance(key, str):
            problems.append(Problem(field=where, message="its key is no text", got=_kind(key), nearest=f'"{key}"'))
            continue
        found = _walk(item, kind.value_type, where, problems)
        if found is not _DROPPED:
            kept[key] = found
    return kept


def _walk_list(value: object, kind: inspect.VarTupleType, path: str, problems: list[Problem]) -> Any:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        close = f"[{value}]" if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
        problems.append(Problem(field=path, message="is no list", got=_kind(value), allowed="a list", nearest=close))
        return _DROPPED
    found = [_walk(item, kind.item_type, f"{path}[{position}]", problems) for position, item in enumerate(value)]
    return [item for item in found if item is not _DROPPED]


@functools.cache
def _fields(cls: type) -> dict[str, inspect.Field]:
    described = inspect.type_info(cls)
    assert isinstance(described, inspect.StructType)
    return {field.encode_name: field for field in described.fields}


def _allowed(kind: inspect.Type) -> str | None:
    return ", ".join(map(str, kind.values)) if isinstance(kind, inspect.LiteralType) else None


def _few(words: list[str]) -> str:
    return ", ".join(words) if len(words) <= 8 else ", ".join(words[:8]) + ", ..."


def _kind(value: object) -> str:
    """A value and what it is, in YAML's words: ``list``, ``text 'x'``, ``number 3``."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return f"the text {shown(value)}" if isinstance(value, str) else f"a {type(value).__name__} {value}"
