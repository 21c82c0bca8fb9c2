"""The generated scripts, asked by real shells: verbs, flags and choices without starting gpuctl, names through ``gpuctl _complete``."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuctl.cli.generate import completion_bash, completion_fish, completion_zsh
from gpuctl.cli.generate.tree import Argument, Command, Flag, Program, Value
from tests.packaging import shells

HELP = Flag(names=("-h", "--help"), help="Show this help and exit.")
SUBMIT = Command(
    path=("submit",),
    summary="Submit a job: it's printed.",
    passes=True,
    flags=(
        Flag(names=("-j", "--shape"), help="Nodes [and] GPUs: 4x8.", value=Value(metavar="NxM")),
        Flag(names=("--tier",), help="Where.", value=Value(metavar="TIER", choices=("reserved", "on-demand", "any"))),
        Flag(names=("--after",), help="Start later.", value=Value(metavar="MODE:JOB", source="after"), repeat=True),
        Flag(names=("--exclude",), help="Not there.", value=Value(metavar="NODE,...", source="node-list")),
        Flag(names=("--hold",), help="Wait."),
        HELP,
    ),
    arguments=(
        Argument(value=Value(metavar="SCRIPT", source="files")),
        Argument(value=Value(metavar="ARGS"), required=False, repeat=True),
    ),
)
LOGS = Command(
    path=("logs",),
    summary="Print logs.",
    flags=(Flag(names=("-f", "--follow"), help="Go on."), Flag(names=("--first-error",), help="The first."), HELP),
    arguments=(Argument(value=Value(metavar="JOB", source="jobs"), required=False),),
)
CANCEL = Command(
    path=("cancel",), summary="End jobs.", flags=(HELP,), arguments=(Argument(value=Value(metavar="JOB", source="jobs"), repeat=True),)
)
COPY = Command(
    path=("cp",),
    summary="Copy.",
    flags=(HELP,),
    arguments=(Argument(value=Value(metavar="JOB:PATH", source="job-paths")), Argument(value=Value(metavar="DEST", source="files"))),
)
FORMAT = Flag(names=("-o", "--output"), help="How.", value=Value(metavar="FORMAT", choices=("table", "json", "jsonpath=")))
VOLUMES = Command(
    path=("volumes",),
    summary="Manage volumes.",
    default="list",
    flags=(HELP,),
    commands=(
        Command(path=("volumes", "list"), summary="List them.", flags=(FORMAT, HELP)),
        Command(
            path=("volumes", "show"),
            summary="Show one.",
            flags=(HELP,),
            arguments=(Argument(value=Value(metavar="NAME", source="volumes")),),
        ),
    ),
)
PROGRAM = Program(name="gpuctl", summary="Jobs.", version="0", commands=(SUBMIT, LOGS, CANCEL, COPY, VOLUMES))

CASES = [
    ("gpuctl ", {"submit", "logs", "cancel", "cp", "volumes"}),
    ("gpuctl su", {"submit"}),
    ("gpuctl submit --ti", {"--tier"}),
    ("gpuctl submit --tier ", {"reserved", "on-demand", "any"}),
    ("gpuctl submit --tier o", {"on-demand"}),
    ("gpuctl submit --hold --tier on-demand --af", {"--after"}),
    ("gpuctl logs --f", {"--follow", "--first-error"}),
    ("gpuctl logs ", {"train-k3f9", "tune-2222"}),
    ("gpuctl logs -f tr", {"train-k3f9"}),
    ("gpuctl cancel train-k3f9 tu", {"tune-2222"}),
    ("gpuctl submit -j 4x8 --exclude ", {"node-1", "node-2"}),
    ("gpuctl volumes ", {"list", "show"}),
    ("gpuctl volumes show ", {"data"}),
    ("gpuctl volumes -o js", {"json", "jsonpath="}),
    ("gpuctl submit train.py --ti", set()),
    ("gpuctl submit -- --ti", set()),
]
FAKE = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/called"
case "$2" in
    jobs) printf 'train-k3f9\\ntune-2222\\n' ;;
    nodes) printf 'node-1\\nnode-2\\n' ;;
    volumes) printf 'data\\n' ;;
esac
"""
ASK: dict[str, Callable[..., list[str]]] = {"bash": shells.bash, "zsh": shells.zsh, "fish": shells.fish}
WRITE = {"bash": completion_bash.script, "zsh": completion_zsh.script, "fish": completion_fish.script}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a ``gpuctl`` that knows a few names and records each call, and a script beside it."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gpuctl"
    program.write_text(FAKE)
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "train.py").touch()
    return tmp_path


def ask(shell: str, place: Path, line: str) -> set[str]:
    script = place / f"gpuctl.{shell}"
    if not script.exists():
        script.write_text(WRITE[shell](PROGRAM))
    return {each.rstrip() for each in ASK[shell](script, line, path=place / "bin", cwd=place / "work")}


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
@pytest.mark.parametrize(("line", "expected"), CASES, ids=[case[0] for case in CASES])
def test_offers_exactly_what_fits(shell: str, line: str, expected: set[str], place: Path) -> None:
    shells.need(shell)
    assert ask(shell, place, line) == expected


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_no_names_once_every_argument_is_there(shell: str, place: Path) -> None:
    shells.need(shell)
    assert not {each for each in ask(shell, place, "gpuctl logs train-k3f9 ") if not each.startswith("-")}


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_verbs_flags_and_choices_start_no_program(shell: str, place: Path) -> None:
    shells.need(shell)
    for line in ("gpuctl ", "gpuctl submit --", "gpuctl submit --tier ", "gpuctl volumes ", "gpuctl logs --", "gpuctl cancel --h"):
        assert ask(shell, place, line)
    assert not (place / "bin" / "called").exists()


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_names_are_asked_with_the_prefix(shell: str, place: Path) -> None:
    shells.need(shell)
    assert ask(shell, place, "gpuctl logs tr") == {"train-k3f9"}
    assert (place / "bin" / "called").read_text() == "_complete jobs tr\n"


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_flags_end_at_the_script_and_files_follow(shell: str, place: Path) -> None:
    shells.need(shell)
    assert ask(shell, place, "gpuctl submit --hold tr") == {"train.py"}
    assert ask(shell, place, "gpuctl submit train.py tr") == {"train.py"}


# Shells complete what follows a break in their own way: readline replaces only the part behind = or :, fish and zsh the whole word.
@pytest.mark.parametrize(
    ("line", "behind_break", "whole"),
    [
        ("gpuctl submit --tier=re", {"reserved"}, {"--tier=reserved"}),
        ("gpuctl submit --after ok:tr", {"train-k3f9"}, {"ok:train-k3f9"}),
        ("gpuctl submit --after o", {"ok:"}, {"ok:"}),
        ("gpuctl logs job/tr", {"job/train-k3f9"}, {"job/train-k3f9"}),
        ("gpuctl cp tu", {"tune-2222:"}, {"tune-2222:"}),
        ("gpuctl submit --exclude node-1,node-2", {"node-1,node-2"}, {"node-1,node-2"}),
    ],
)
def test_words_with_parts(line: str, behind_break: set[str], whole: set[str], place: Path) -> None:
    shells.need("bash")
    assert ask("bash", place, line) == behind_break
    if shells.shutil.which("fish"):
        assert ask("fish", place, line) == whole


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gpuctl submit --tier=re", {"reserved"}),
        ("gpuctl submit --after ok:tr", {"train-k3f9"}),
        ("gpuctl submit --after o", {"ok:"}),
        ("gpuctl logs job/tr", {"train-k3f9"}),
        ("gpuctl cp tu", {"tune-2222"}),
        ("gpuctl submit --exclude node-1,node-", {"node-1", "node-2"}),
    ],
)
def test_words_with_parts_in_zsh(line: str, expected: set[str], place: Path) -> None:
    shells.need("zsh")
    assert ask("zsh", place, line) == expected


@pytest.mark.parametrize(("shell", "check"), [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"])])
def test_scripts_parse(shell: str, check: list[str], place: Path) -> None:
    script = place / "script"
    script.write_text(WRITE[shell](PROGRAM))
    done = subprocess.run([shells.need(shell), *check, str(script)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
