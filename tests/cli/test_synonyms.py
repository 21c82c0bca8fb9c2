"""Words of other programs in the place of a verb."""

from typing import Any

import pytest

from gpuctl.cli import commands, synonyms
from tests.cli.recorder import RecordingPool


@pytest.mark.parametrize(
    ("typed", "verb"),
    [
        ("volumes rm", "delete"),
        ("volumes ls", "list"),
        ("profile rm", "remove"),
        ("profile switch", "use"),
        ("kill", "cancel"),
        ("ls", "jobs"),
    ],
)
def test_ours_is_named(run: Any, typed: str, verb: str) -> None:
    outcome = run(RecordingPool(), *typed.split(), "data")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error[usage]: no such command '{typed.rsplit(maxsplit=1)[-1]}'. Did you mean '{verb}'?\n")


def test_what_is_near_in_spelling_is_still_found(run: Any) -> None:
    assert "Did you mean 'delete'?" in run(RecordingPool(), "volumes", "delet", "data").err


def test_our_own_verbs_are_no_synonyms(run: Any) -> None:
    pool = RecordingPool()
    assert run(pool, "volumes", "get", "data", "a.txt", ".").code == 0
    assert pool.asked("get_file")


def test_every_synonym_has_a_verb_somewhere() -> None:
    root = commands.root()
    root.load_all()
    groups = [root, *(group for group in root.commands.values() if hasattr(group, "commands"))]
    for word, ours in synonyms._MEANT.items():
        for verb in ours:
            assert any(verb in group.commands and word not in group.commands for group in groups), (word, verb)
