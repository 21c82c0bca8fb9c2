"""Whole objects for programs: JSON, YAML, and the tree of builtins that jsonpath walks. Times are RFC 3339 UTC, absent is omitted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from gpuctl.base import clock
from gpuctl.model.spec import API_VERSION


def of(item: Any, kind: str) -> dict[str, Any]:
    """One object as builtins, with ``apiVersion`` and ``kind`` in front."""
    body = plain(item)
    if not isinstance(body, dict):
        body = {"value": body}
    body.pop("apiVersion", None)
    inner = body.pop("kind", None)
    if inner is not None and inner != kind:
        body = {"type": inner, **body}
    return {"apiVersion": API_VERSION, "kind": kind, **body}


def listing(items: Sequence[Any], kind: str, incomplete: Mapping[str, str]) -> dict[str, Any]:
    """A list of objects; what could not be read is named under ``incomplete``."""
    body: dict[str, Any] = {"apiVersion": API_VERSION, "kind": f"{kind}List", "items": [of(item, kind) for item in items]}
    if incomplete:
        body["incomplete"] = sorted(incomplete)
        body["errors"] = dict(incomplete)
    return body


def plain(item: Any) -> Any:
    """Builtins of a value; instants become RFC 3339 text with whole seconds, absent values are left out."""
    return _times(msgspec.to_builtins(item, builtin_types=(datetime,)))


def json_text(body: Any) -> str:
    """Indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode() + "\n"


def yaml_text(body: Any) -> str:
    """YAML in the order of the keys, written by libyaml (five times faster than the pure Python writer)."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(body, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120))


def _times(body: Any) -> Any:
    if isinstance(body, dict):
        return {key: _times(value) for key, value in body.items() if value is not None}
    if isinstance(body, list | tuple):
        return [_times(value) for value in body]
    if isinstance(body, datetime):
        return clock.rfc3339(body)
    return body
