"""The reference page of the Python face, from its source: what is written there is what a reader sees, on every version of Python."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gpuctl

_SHOWN = ("Client", "JobHandle")
_WIDTH = 100
"""A signature wider than that has a line for each argument."""


def page() -> str:
    """``gpuctl.connect``, and the public members of what it gives."""
    parts = ["# Python\n\n`import gpuctl` costs next to nothing; the rest is loaded when first used.\n\n", _function(gpuctl.connect)]
    parts += [_class(getattr(gpuctl, name)) for name in _SHOWN]
    return "".join(parts)


def _function(function: Callable[..., Any]) -> str:
    return _member(_definition(function), heading="##", prefix="gpuctl.")


def _class(shown: type) -> str:
    definition = _definition(shown)
    body = _documented(definition)
    members = [_member(each, heading="###", prefix="") for each in _methods(definition)]
    return f"## gpuctl.{shown.__name__}\n\n{body}" + "".join(members)


def _definition(thing: Any) -> Any:
    """The syntax of a class or function, as it stands in its file."""
    source = inspect.getsourcefile(thing)
    assert source is not None
    module = ast.parse(Path(source).read_text("utf-8"))
    return next(node for node in module.body if getattr(node, "name", None) == thing.__name__)


def _methods(definition: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Public methods and properties; of overloads only the last, which has the docstring."""
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and ast.get_docstring(node):
            yield node


def _member(node: ast.FunctionDef, *, heading: str, prefix: str) -> str:
    is_property = any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    call = node.name if is_property else f"{node.name}({', '.join(_arguments(node))})"
    if len(call) + len(returns) > _WIDTH:
        call = f"{node.name}(\n" + "".join(f"    {each},\n" for each in _arguments(node)) + ")"
    signature = (call + returns).replace("'", '"')
    return f"{heading} {prefix}{node.name}\n\n```python\n{signature}\n```\n\n{_documented(node)}"


def _arguments(node: ast.FunctionDef) -> list[str]:
    """Each argument with its type and default, without ``self``."""
    given = node.args
    required = len(given.args) - len(given.defaults)
    shown = [_argument(each, given.defaults[at - required] if at >= required else None) for at, each in enumerate(given.args)]
    if given.kwonlyargs:
        named = zip(given.kwonlyargs, given.kw_defaults, strict=True)
        shown += ["*", *(_argument(each, default) for each, default in named)]
    return [each for each in shown if each != "self"]


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else "")


def _documented(node: ast.ClassDef | ast.FunctionDef) -> str:
    """The docstring: its paragraphs as prose, its sections (Args, Raises, examples) as they are written."""
    blocks = (ast.get_docstring(node) or "").split("\n\n")
    shown = []
    for block in blocks:
        first = block.splitlines()[0]
        literal = first.startswith(">>>") or first in {"Args:", "Attributes:", "Raises:", "Returns:"}
        shown.append(f"```text\n{block}\n```" if literal else _prose(block))
    return "\n\n".join(shown) + "\n\n"


def _prose(text: str) -> str:
    """reStructuredText's code and references as Markdown's."""
    return text.replace(":class:", "").replace(":meth:", "").replace("``", "`").replace("::", ":")
