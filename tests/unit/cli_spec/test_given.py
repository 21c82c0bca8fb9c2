"""Where gpuctl's flags end and the script's begin."""

import pytest

from gpuctl.cli.spec import given
from tests.unit.cli_spec.conftest import parse

KNOWN = {"--time": True, "-j": True, "--hold": False, "-q": False, "-v": False, "--name": True}


@pytest.mark.parametrize(
    ("line", "uses", "rest"),
    [
        ("train.py --time 6h", [], ["train.py", "--time", "6h"]),
        ("--time 6h train.py -j 2", [("--time", "6h")], ["train.py", "-j", "2"]),
        ("--time=6h -j4x8 train.py", [("--time", "6h"), ("-j", "4x8")], ["train.py"]),
        ("-j=4x8 a", [("-j", "4x8")], ["a"]),
        ("--hold -- a -- b", [("--hold", None)], ["--", "a", "--", "b"]),
        ("-qqv a", [("-q", None)], ["a"]),
        ("--name -x a", [("--name", "-x")], ["a"]),
        ("- a", [], ["-", "a"]),
        ("--name= a", [("--name", "")], ["a"]),
        ("", [], []),
    ],
)
def test_flags_end_at_the_first_word_that_is_none(line: str, uses: list[tuple[str, str | None]], rest: list[str]) -> None:
    split = given.split(line.split(), KNOWN)
    assert (list(split.uses), list(split.rest), split.problems) == (uses, rest, ())


def test_mixed_flags_end_only_at_the_dashes() -> None:
    split = given.split(["llama", "--time", "6h", "x", "--", "--time", "1h"], KNOWN, mixed=True)
    assert split.uses == (("--time", "6h"),)
    assert split.rest == ("llama", "x", "--", "--time", "1h")


def test_every_unknown_flag_is_told_and_its_value_is_not_taken_for_the_script() -> None:
    split = given.split(["--tim", "6h", "--hodl", "--nmae=x", "--name"], KNOWN)
    assert [(problem.field, problem.nearest) for problem in split.problems] == [
        ("--tim", "--time"),
        ("--hodl", "--hold"),
        ("--nmae", "--name"),
        ("--name", None),
    ]
    assert split.rest == ()


def test_flags_of_slurm_are_translated() -> None:
    found = {problem.field: problem.nearest for problem in parse("--mem", "4G", "--dependency", "x", "-N", "2", "--job-name", "a").problems}
    assert found == {"--mem": "--memory", "--dependency": "--after", "-N": "-j NxM", "--job-name": "--name"}


def test_a_switch_takes_no_value() -> None:
    assert [problem.field for problem in given.split(["--hold=yes", "a"], KNOWN).problems] == ["--hold"]


def test_flags_of_ours_that_went_to_the_script_are_noted_once() -> None:
    program = given.program(["train.py", "--time", "6h", "--lr", "1", "--time=7h", "-q"], list(KNOWN))
    assert program.args == ("--time", "6h", "--lr", "1", "--time=7h", "-q")
    assert program.notes == ("note: --time went to train.py",)


def test_one_leading_pair_of_dashes_is_dropped_and_silences_the_note() -> None:
    program = given.program(["train.py", "--", "--time", "6h", "--", "x"], list(KNOWN))
    assert (program.args, program.notes) == (("--time", "6h", "--", "x"), ())


def test_a_command_stands_behind_the_dashes() -> None:
    assert given.program(["--", "torchrun", "--", "x"], list(KNOWN)).command == ("torchrun", "--", "x")
