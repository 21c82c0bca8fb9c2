"""What differs between two jobs: their specifications, their code, and the names (never the values) of their environments."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from gpuctl.model.job import Job


class Difference(NamedTuple):
    """One field that differs. A side that lacks the field is None; everything else is text as a job file spells it."""

    field: str
    left: str | None
    right: str | None


def diff(left: Job, right: Job) -> tuple[Difference, ...]:
    """Differences from ``left`` to ``right``, ordered by field.

    Fields are those of the job document (``spec.gpus``, ``spec.env.LR``), of the code (``code.commit``, ``code.dirty``, ``code.branch``,
    ``code.files.train.py``), ``interpreter``, and ``environment.NAME`` for a variable that only one of them had; the environments are
    compared only if both are known.
    """
    fields_left, fields_right = _fields(left), _fields(right)
    if left.environment is not None and right.environment is not None:
        fields_left |= {f"environment.{name}": "set" for name in left.environment}
        fields_right |= {f"environment.{name}": "set" for name in right.environment}
    names = sorted(fields_left.keys() | fields_right.keys())
    found = (Difference(name, fields_left.get(name), fields_right.get(name)) for name in names)
    return tuple(one for one in found if one.left != one.right)


def _fields(job: Job) -> dict[str, str]:
    # Defaults are spelled out, so that "4 against nothing" never stands for "4 against 1".
    fields = _flat("spec", {name: getattr(job.spec, name) for name in job.spec.__struct_fields__})
    if job.interpreter is not None:
        fields["interpreter"] = job.interpreter
    if job.code is not None:
        code = {"workdir": job.code.workdir, "commit": job.code.commit, "dirty": job.code.dirty, "branch": job.code.branch}
        fields |= _flat("code", code)
        fields |= {f"code.files.{name}": digest[:12] for name, digest in job.code.fingerprint.items()}
    return fields


def _flat(prefix: str, value: Any) -> dict[str, str]:
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= _flat(f"{prefix}.{_camel(name) if prefix != 'spec.env' else name}", inner)
        return found
    if value is None or value == ():
        return {}
    if isinstance(value, bool):
        return {prefix: "true" if value else "false"}
    if isinstance(value, tuple):
        return {prefix: " ".join(_word(part) for part in value)}
    return {prefix: str(value)}


def _word(part: Any) -> str:
    if isinstance(part, msgspec.Struct):
        return ":".join(str(value) for name in part.__struct_fields__ if (value := getattr(part, name)) is not None)
    return " ".join(map(str, part)) if isinstance(part, tuple) else str(part)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
