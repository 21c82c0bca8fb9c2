"""The project around the code says what is so: metadata, README, the script that runs the tests, links between pages."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import gpuctl
from gpuctl.cli.generate import walk
from gpuctl.cli.generate.tree import Command

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def blocks(path: Path, language: str) -> list[list[str]]:
    """Fenced blocks of a page, as lines."""
    return [body.strip().splitlines() for body in re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.DOTALL)]


def test_the_script_runs_the_block_of_the_readme() -> None:
    _, tests = blocks(ROOT / "README.md", "sh")
    script = (ROOT / ".ci" / "run").read_text("utf-8").replace(" --quiet", "").splitlines()
    # The environment is another one each time; all else is the same, in the same order.
    commands = [line for line in tests if "venv" not in line]
    assert [line for line in script if line in commands] == commands
    assert script[-1] == commands[-1]


def test_the_readme_runs_an_example_that_is_there() -> None:
    install, _ = blocks(ROOT / "README.md", "sh")
    (example,) = (word for line in install for word in line.split() if word.startswith("docs/"))
    ast.parse((ROOT / example).read_text("utf-8"))


def test_the_version_is_told_once() -> None:
    assert importlib.metadata.version("gpuctl-cli") == gpuctl.__version__
    assert "version" in PYPROJECT["project"]["dynamic"]


def test_metadata() -> None:
    metadata = importlib.metadata.metadata("gpuctl-cli")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert {"server", "controllers", "fleet", "airflow"} <= set(metadata.get_all("Provides-Extra") or ())


def test_what_the_wheel_shares_is_there() -> None:
    shared = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert [path for path in shared if not (ROOT / path).exists()] == []


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text.splitlines()) > 190


def test_the_changelog_begins_with_what_is_not_released() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    dead = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert dead == []


def wrong_in(call: str) -> list[str]:
    """What of ``gpuctl CALL`` the program does not know: its verb, or flags of ours before another program's words begin."""
    words = call.split()
    known_verbs = verbs()
    path = tuple(words[:2]) if tuple(words[:2]) in known_verbs else tuple(words[:1])
    if path not in known_verbs:
        return [] if words[0].startswith("-") else [words[0]]
    command = known_verbs[path]
    flags = {name: flag for each in (command, *command.commands) for flag in each.flags for name in flag.names}
    wrong = []
    rest = iter(words[len(path) :])
    for word in rest:
        if word == "--" or (command.passes and not word.startswith("-")):
            break
        if re.match(r"-[a-z-]", word, re.IGNORECASE) and word.split("=")[0] not in flags:
            wrong.append(word)
        if word in flags and flags[word].value:
            next(rest, None)
    return wrong


@cache
def verbs() -> dict[tuple[str, ...], Command]:
    return {command.path: command for command in walk.program().every}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_are_real(page: Path) -> None:
    lines = [line for block in blocks(page, "console") for line in block if line.startswith("$ ")]
    calls = [call for line in lines for call in re.findall(r"\bgpuctl ([^|;&#>]+)", line)]
    assert {call: wrong for call in calls if (wrong := wrong_in(call))} == {}


def test_the_check_of_commands_can_fail() -> None:
    assert wrong_in("submit --tme 6h train.py --own") == ["--tme"]
    assert wrong_in("sbmit train.py") == ["sbmit"]


@pytest.mark.parametrize("example", sorted((ROOT / "docs" / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_compile_on_the_oldest_python(example: Path) -> None:
    ast.parse(example.read_text("utf-8"), feature_version=(3, 10))


def test_the_script_of_the_checks_is_sound() -> None:
    done = subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
