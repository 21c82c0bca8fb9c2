"""Rules of the house that no linter knows: sizes, names, docstrings of packages, who may print."""

import ast
from pathlib import Path

import pytest

from tests.arch.sources import PACKAGE, modules, tree, where

LONGEST = 600
FORBIDDEN = {"util", "utils", "helper", "helpers", "common", "misc", "stuff"}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def test_no_module_is_longer_than_anybody_reads() -> None:
    scripts = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.sh")}
    lengths = {name: len(path.read_text("utf-8").splitlines()) for name, path in (modules() | scripts).items()}
    assert scripts
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_names_say_what_lives_there() -> None:
    assert [name for name in modules() if FORBIDDEN & set(name.split("."))] == []


def test_every_directory_of_modules_is_a_package_that_says_what_may_live_there() -> None:
    directories = {path.parent for path in PACKAGE.rglob("*.py")}
    silent = [str(each) for each in directories if not ((each / "__init__.py").is_file() and ast.get_docstring(tree(each / "__init__.py")))]
    assert silent == []


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(tree(modules()[name]))


def _writes(path: Path) -> list[str]:
    """Places that print, or name the process's own streams."""
    found = []
    for node in ast.walk(tree(path)):
        printing = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        streaming = isinstance(node, ast.Attribute) and node.attr in STREAMS and isinstance(node.value, ast.Name) and node.value.id == "sys"
        if printing or streaming:
            found.append(where(path, node))
    return found


def test_only_the_command_line_prints() -> None:
    # A keeper and a supervisor are programs of their own, and their stderr is their log.
    residents = ("gpuctl.clusters.local.keeper", "gpuctl.clusters.local.supervisor")
    quiet = [path for name, path in modules().items() if not name.startswith(("gpuctl.cli", *residents))]
    assert [place for path in quiet for place in _writes(path)] == []


def test_types_are_met_in_one_place() -> None:
    """msgspec crashes when two threads meet a type for the first time: ``gpuctl.model.decoding`` lets in one at a time."""
    found = [
        where(path, node)
        for name, path in modules().items()
        if name != "gpuctl.model.decoding"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func) in ("msgspec.convert", "msgspec.json.Decoder")
            or (ast.unparse(node.func) == "msgspec.json.decode" and any(each.arg == "type" for each in node.keywords))
        )
    ]
    assert found == []


def test_nothing_is_left_open() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    found = [(name, mark) for name, path in modules().items() for mark in marks if mark in path.read_text("utf-8")]
    assert found == []


def test_nothing_answers_that_it_is_not_implemented() -> None:
    """A cluster declares what it keeps; nothing is declared and then missing."""
    found = [
        where(path, node)
        for path in modules().values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]
    assert found == []
