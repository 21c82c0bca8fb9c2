"""Whole objects for programs: JSON, YAML, and the tree of builtins that jsonpath walks. Times are RFC 3339 UTC, absent is omitted."""

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec

from gpuctl.base import clock
from gpuctl.model.spec import API_VERSION

_ATOMS = frozenset({str, int, float, bool, type(None)})
_EMPTY: tuple[Any, ...] = ((), {}, [])


def of(item: Any, kind: str) -> dict[str, Any]:
    """One object as builtins, with ``apiVersion`` and ``kind`` in front."""
    body = plain(item)
    if not isinstance(body, dict):
        body = {"value": body}
    body.pop("apiVersion", None)
    inner = body.pop("kind", None)
    if inner is not None and inner != kind:
        body = {"type": inner, **body}
    for field in body.get("unknown", ()):  # as it was last seen is not as it is
        body.pop(field, None)
    return {"apiVersion": API_VERSION, "kind": kind, **body}


def listing(items: Sequence[Any], kind: str, incomplete: Mapping[str, str]) -> dict[str, Any]:
    """A list of objects; what could not be read is named under ``incomplete``."""
    body: dict[str, Any] = {"apiVersion": API_VERSION, "kind": f"{kind}List", "items": [of(item, kind) for item in items]}
    if incomplete:
        body["incomplete"] = sorted(incomplete)
        body["errors"] = dict(incomplete)
    return body


def plain(item: Any) -> Any:
    """Builtins of a value. Instants become RFC 3339 text with whole seconds.

    None and empty collections are absent; every other value is written, also where it is the default: whoever reads ``.spec.gpus`` must
    find it, and must not need our defaults to understand a document.
    """
    if type(item) in _ATOMS:
        return item
    if isinstance(item, msgspec.Struct):
        body = {}
        for attribute, name in _fields(type(item)):
            value = getattr(item, attribute)
            if value is not None and value not in _EMPTY:
                body[name] = value if type(value) in _ATOMS else plain(value)
        return body
    if isinstance(item, Enum):
        return item.value
    if isinstance(item, datetime):
        return clock.rfc3339(item)
    if isinstance(item, dict):
        return {key: plain(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [plain(value) for value in item]
    return plain(msgspec.to_builtins(item, builtin_types=(datetime,)))


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    """Attributes of a struct, each with its name on the wire."""
    return tuple(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))


def json_text(body: Any) -> str:
    """Indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode() + "\n"


def yaml_text(body: Any) -> str:
    """YAML in the order of the keys, written by libyaml (five times faster than the pure Python writer)."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(body, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120))
