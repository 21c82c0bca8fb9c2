"""The package's source files, parsed once, for the tests that look at how it is built."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "gpuctl"


@cache
def modules() -> dict[str, Path]:
    """Dotted name to file, of every module of gpuctl."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"), str(path))


def where(path: Path, node: ast.AST) -> str:
    """``gpuctl/x.py:12``."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
