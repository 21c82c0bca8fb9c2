"""Kubernetes objects for ``kubectl apply -f -`` and kustomize: one stream of YAML documents, or a List in JSON."""

import re
from collections.abc import Sequence
from typing import Any

from gpuctl.base.errors import InvalidInput, Problem
from gpuctl.cli.out import document, formats

_PLAIN = re.compile(r"[A-Za-z_/][^\n]*\Z")
_TRUTHS = frozenset("yYnN")


def text(objects: Sequence[dict[str, Any]], output: str | None) -> str:
    """The objects in the format that ``-o`` names; YAML without one.

    Raises:
        InvalidInput: another format than yaml and json.
    """
    chosen = formats.parse(output or "yaml")
    if chosen.name == "json":
        return document.json_text({"apiVersion": "v1", "kind": "List", "items": objects})
    if chosen.name == "yaml":
        return "---\n".join(map(_yaml, objects))
    problem = Problem(field="--output", message="shows no Kubernetes objects", got=repr(output), allowed="yaml, json")
    raise InvalidInput("cannot print manifests so", [problem])


def _yaml(body: dict[str, Any]) -> str:
    """One document. Long expressions stand as blocks, and what another reader of YAML may take for a number or a truth is quoted."""
    import yaml

    base = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    dumper: Any = type("Dumper", (base,), {})
    dumper.add_representer(str, _represented)
    dumper.ignore_aliases = lambda _self, _data: True
    return str(yaml.dump(body, Dumper=dumper, sort_keys=False, allow_unicode=True, width=140))


def _represented(dumper: Any, value: str) -> Any:
    style = None
    if "\n" in value:
        style = "|"
    elif value and (value in _TRUTHS or not _PLAIN.match(value)):  # `1e3` and `y` are text to Python's reader, not to Go's
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)
