"""Imports written as strings resolve: the command table, help topics, kinds of clusters, entry points."""

import ast
import importlib
import importlib.metadata
import re

import pytest

from gpuctl.cli.commands import TABLE
from gpuctl.cli.topics import TOPICS
from gpuctl.cli.verb import Noun, Verb
from tests.arch.sources import modules, tree, where

_FILES = (".bash", ".conf", ".fish", ".io", ".json", ".sqlite", ".yaml", ".clusters")
"""How names of files, domains and the entry-point group itself end."""
_MODULE = re.compile(r"gpuctl(\.[a-z_]\w*)+(:[A-Za-z_]\w*)?\Z")


def strings() -> list[tuple[str, str]]:
    """Every string constant that looks like a module of ours, with where it stands."""
    found = []
    for path in modules().values():
        docstrings = {id(node.body[0].value) for node in ast.walk(tree(path)) if _has_docstring(node)}
        found += [
            (node.value, where(path, node))
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and _MODULE.match(node.value)
            and not node.value.endswith(_FILES)
        ]
    return found


def _has_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and bool(node.body)
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    )


@pytest.mark.parametrize(("name", "place"), strings())
def test_a_string_that_names_a_module_resolves(name: str, place: str) -> None:
    module, _, attribute = name.partition(":")
    loaded = importlib.import_module(module)
    assert not attribute or hasattr(loaded, attribute), f"{place}: {module} has no {attribute}"


@pytest.mark.parametrize("name", TABLE)
def test_every_verb_loads_and_builds_its_parser(name: str) -> None:
    verb = importlib.import_module(TABLE[name].module).VERB
    assert isinstance(verb, Verb | Noun)
    assert verb.command(name).name == name


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_text(topic: str) -> None:
    assert importlib.import_module(TOPICS[topic][0]).text().strip()


def test_entry_points_resolve() -> None:
    distribution = importlib.metadata.distribution("gpuctl-cli")
    points = {(point.group, point.name): point for point in distribution.entry_points}
    assert ("console_scripts", "gpuctl") in points
    assert ("gpuctl.clusters", "local") in points
    for point in points.values():
        assert callable(point.load())
