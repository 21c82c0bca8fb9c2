"""From msgspec structs to the structural schema of a CustomResourceDefinition, with their docstrings as descriptions.

A docstring's first paragraphs describe the struct, the lines of its ``Attributes:`` its fields.
"""

import inspect as python
import re
from collections.abc import Mapping
from typing import Any

from msgspec import inspect

Schema = dict[str, Any]
_ATTRIBUTE = re.compile(r"(\w+): (.*)")
_REFERENCE = re.compile(r"``([^`]*)``")


def schema(kind: type, *, rules: Mapping[str, Mapping[str, Any]], root: str) -> Schema:
    """The schema of a struct.

    Args:
        kind: the struct.
        rules: what the types do not say, to be merged in, by path: ``spec.windows`` is a field, ``spec.windows[]`` an item of it.
        root: the path of the struct itself.

    Raises:
        KeyError: a rule is about a path that is not there.
    """
    found: set[str] = set()
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    made = _struct(described, root, rules, found)
    strange = [path for path in rules if path not in found and (path == root or path.startswith(f"{root}."))]
    if strange:
        raise KeyError(f"no such field: {', '.join(strange)}")
    return made


def _struct(kind: inspect.StructType, path: str, rules: Mapping[str, Mapping[str, Any]], found: set[str]) -> Schema:
    summary, attributes = _told(kind.cls)
    properties: Schema = {}
    for field in kind.fields:
        inner = _any(field.type, f"{path}.{field.encode_name}", rules, found)
        text = _with_default(attributes.get(field.name) or inner.get("description", ""), field)
        properties[field.encode_name] = {"description": text, **inner} | {"description": text}
    made: Schema = {"description": summary, "type": "object", "properties": properties}
    required = [field.encode_name for field in kind.fields if field.required]
    if required:
        made["required"] = required
    return _ruled(made, path, rules, found)


def _any(kind: inspect.Type, path: str, rules: Mapping[str, Mapping[str, Any]], found: set[str]) -> Schema:
    if isinstance(kind, inspect.UnionType):  # only ever with None, which an absent field stands for
        kind = next(member for member in kind.types if not isinstance(member, inspect.NoneType))
    if isinstance(kind, inspect.StructType):
        return _struct(kind, path, rules, found)
    if isinstance(kind, inspect.VarTupleType):
        made: Schema = {"type": "array", "items": _any(kind.item_type, f"{path}[]", rules, found)}
    elif isinstance(kind, inspect.DictType):
        made = {"type": "object", "additionalProperties": _any(kind.value_type, f"{path}[]", rules, found)}
    elif isinstance(kind, inspect.LiteralType):
        made = {"type": "string", "enum": sorted(map(str, kind.values))}
    elif isinstance(kind, inspect.DateTimeType):
        made = {"type": "string", "format": "date-time"}
    elif isinstance(kind, inspect.BoolType):
        made = {"type": "boolean"}
    elif isinstance(kind, inspect.IntType):
        made = {"type": "integer", "format": "int64"}
    elif isinstance(kind, inspect.StrType):
        made = {"type": "string"}
    else:
        raise TypeError(f"a definition holds no {type(kind).__name__}, at {path}")
    return _ruled(made, path, rules, found)


def _ruled(made: Schema, path: str, rules: Mapping[str, Mapping[str, Any]], found: set[str]) -> Schema:
    found.add(path)
    return {**made, **rules.get(path, {})}


def _with_default(text: str, field: inspect.Field) -> str:
    """The description of a field, with its default where that is a word or a number: the server sets none, so that ours may change."""
    value = field.default
    if not isinstance(value, str | int):
        return text
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{text} Default: {shown}.".strip()


def _told(cls: type) -> tuple[str, dict[str, str]]:
    """What a docstring says of the struct, and of each attribute."""
    head, _, tail = python.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
    attributes: dict[str, str] = {}
    current = None
    for line in tail.splitlines():
        match = _ATTRIBUTE.match(line.strip()) if line.startswith("    ") and not line.startswith("     ") else None
        if match is not None:
            current = match[1]
            attributes[current] = match[2]
        elif current is not None:
            attributes[current] += " " + line.strip()
    return _plain(" ".join(head.split())), {name: _plain(text) for name, text in attributes.items()}


def _plain(text: str) -> str:
    """Text as ``kubectl explain`` shows it: a sentence, names of fields as they are spelled in the document."""
    words = _REFERENCE.sub(lambda match: re.sub(r"_([a-z])", lambda letter: letter[1].upper(), match[1]), text).strip()
    return words[:1].upper() + words[1:] + ("." if words and not words.endswith(".") else "")
