"""The part of kubectl's JSONPath that people use: ``.items[*].name``, ``{.spec.gpus}``, ``.items[0]['exit']``, ``..name``, slices.

Source: https://kubernetes.io/docs/reference/kubectl/jsonpath/ (without filters, ranges and functions).
"""

import re
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(
    r"""
    (?P<deep>\.\.(?P<deepname>[\w-]+|\*))
  | \.(?P<name>[\w-]+|\*)
  | \[(?P<index>-?\d+)\]
  | \[(?P<start>-?\d+)?:(?P<stop>-?\d+)?\]
  | \[(?P<all>\*)\]
  | \[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]
    """,
    re.VERBOSE,
)

Step = tuple[str, Any]


def parse(expression: str) -> tuple[Step, ...]:
    """The steps of an expression.

    Raises:
        ValueError: not an expression; the message points at the place.
    """
    text = expression.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    text = text.removeprefix("$").removeprefix("@")
    if text and text[0] not in ".[":
        text = "." + text
    if text in {"", "."}:
        return ()
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise ValueError(f"cannot read {text[position:]!r} of {expression!r}")
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def find(steps: tuple[Step, ...], document: Any) -> Iterator[Any]:
    """Every value the steps lead to, in document order; none where a key is absent."""
    if not steps:
        yield document
        return
    (kind, argument), rest = steps[0], steps[1:]
    for value in _children(kind, argument, document):
        yield from find(rest, value)


def _step(match: re.Match[str]) -> Step:
    if match["deep"]:
        return "deep", match["deepname"]
    if match["name"]:
        return ("all", None) if match["name"] == "*" else ("key", match["name"])
    if match["all"]:
        return "all", None
    if match["index"]:
        return "index", int(match["index"])
    if match["quote"]:
        return "key", match["quoted"]
    return "slice", slice(*(int(bound) if bound else None for bound in (match["start"], match["stop"])))


def _children(kind: str, argument: Any, document: Any) -> Iterator[Any]:
    if kind == "key":
        if isinstance(document, dict) and argument in document:
            yield document[argument]
    elif kind == "all":
        yield from document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    elif kind == "index":
        if isinstance(document, list) and -len(document) <= argument < len(document):
            yield document[argument]
    elif kind == "slice":
        if isinstance(document, list):
            yield from document[argument]
    else:
        yield from _everywhere(argument, document)


def _everywhere(name: str, document: Any) -> Iterator[Any]:
    values = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    if isinstance(document, dict) and name in document:
        yield document[name]
    for value in values:
        if name == "*":
            yield value
        yield from _everywhere(name, value)
