"""The whole: what runs, what it is called, and what no source may leave wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuctl.cli.out import document as documents
from gpuctl.cli.spec.build import Built, build
from gpuctl.cli.spec.flag import Place
from gpuctl.model.check import check_document
from tests.unit.cli_spec.conftest import Building, parse

Refused = Callable[..., dict[str, str]]


@pytest.mark.parametrize(
    ("words", "kind", "name"),
    [
        (["train.py"], "pytorch", "train"),
        (["job.sh"], "command", "job"),
        (["--kind", "ray", "train.py"], "ray", "train"),
        (["--kind", "command", "train.py"], "command", "train"),
        (["--", "torchrun", "mine.py"], "command", "mine"),
        (["--name", "llama", "train.py"], "pytorch", "llama"),
    ],
)
def test_kind_and_name_are_inferred(built: Building, words: list[str], kind: str, name: str) -> None:
    found = built(*words)
    assert (found.document.spec.kind, found.base_name) == (kind, name)


@pytest.mark.parametrize("words", [[], ["-j", "1x2"], ["--"]])
def test_nothing_to_run(refused: Refused, words: list[str]) -> None:
    assert list(refused(*words)) == ["SCRIPT"]


def test_nothing_to_run_is_told_with_what_else_is_wrong(refused: Refused) -> None:
    assert refused("-j", "0x1").keys() == {"-j", "SCRIPT"}
    assert refused("--tim", "train.py").keys() == {"--tim"}, "the misspelt flag may have swallowed the script"


def test_scripts_that_cannot_run(refused: Refused, directory: Path, tmp_path: Path) -> None:
    (directory / "bin.py").write_bytes(b"\x7fELF\0\1")
    (directory / "package").mkdir()
    os.mkfifo(directory / "pipe.sh")
    assert "did you mean train.py?" in refused("trian.py")["SCRIPT"]
    assert "did you mean -- ls?" in refused("ls")["SCRIPT"]
    assert "is no Python: it holds binary data" in refused("bin.py")["SCRIPT"]
    assert "is a directory without a __main__.py" in refused("package")["SCRIPT"]
    assert "is no regular file" in refused("pipe.sh")["SCRIPT"]
    assert "standard input is empty" in refused("-")["SCRIPT"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_script_without_permission(refused: Refused, directory: Path) -> None:
    (directory / "job.sh").chmod(0)
    assert "cannot be read: permission denied" in refused("job.sh")["SCRIPT"]


def test_a_package_is_a_script(built: Building, directory: Path) -> None:
    (directory / "package").mkdir()
    (directory / "package" / "__main__.py").write_text("print(1)\n")
    assert built("package").document.spec.script == "package"


def test_a_binary_program_is_a_script_of_its_own(built: Building, directory: Path) -> None:
    (directory / "prog").write_bytes(b"\x7fELF\0\1")
    assert built("prog", "x").document.spec.args == ("x",)


def test_a_script_and_another_directory(built: Building, directory: Path) -> None:
    (directory / "data").mkdir()
    spec = built("--workdir", "data", "train.py").document.spec
    assert spec.workdir == str(directory / "data")
    assert spec.script == str(directory / "train.py")
    assert built("train.py").document.spec.script == "train.py"


def test_text_that_is_no_utf8_is_refused(refused: Refused) -> None:
    assert "is no text in UTF-8" in refused("train.py", "\udcff")["ARGS"]


def test_the_script_of_a_file_is_looked_at(refused: Refused, directory: Path) -> None:
    (directory / "job.yaml").write_text("apiVersion: gpuctl.io/v1\nkind: Job\nspec: {script: trian.py}\n")
    assert "did you mean train.py?" in refused("-f", "job.yaml")["job.yaml: spec.script"]


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
VARIABLES = st.from_regex(r"[A-FH-OQ-Z][A-Z0-9_]{0,6}", fullmatch=True)
ONCE = {
    "-j": st.builds("{}x{}".format, st.integers(1, 9), st.integers(0, 9)),
    "--time": st.sampled_from(["6h", "1d12h", "90m", "01:02:03", "1-00:00:00"]),
    "--grace": st.sampled_from(["0s", "30s", "2m"]),
    "--name": NAMES,
    "--cpus": st.sampled_from(["4", "1.5", "500m"]),
    "--memory": st.sampled_from(["64Gi", "500M", "1024"]),
    "--priority": st.integers(-9, 9).map(str),
    "--retries": st.integers(0, 9).map(str),
    "--tier": st.sampled_from(["reserved", "on-demand", "any"]),
    "--array": st.sampled_from(["0-9", "0-9%3", "1,4,7", "5"]),
    "--checkpoint": st.builds("{}:/{}".format, NAMES, NAMES),
    "--setup": TEXTS.filter(str.strip),
    "--max-cost": st.integers(1, 999).map(str),
    "--signal": st.sampled_from(["USR1@30s", "INT"]),
    "--notify": st.just("https://example.org/x?a=1#b"),
}
MANY = {
    "--env": st.builds("{}={}".format, VARIABLES, TEXTS),
    "--label": st.builds("{}={}".format, NAMES, NAMES),
    "--volume": st.builds("{}:/{}:ro".format, NAMES, NAMES),
    "--after": st.builds("{}:{}".format, st.sampled_from(["ok", "any", "fail"]), NAMES),
    "--exclude": NAMES,
}
SWITCHES = ("--hold", "--requeue", "--snapshot")


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Flags with valid values, and something to run."""
    words: list[str] = []
    for name, values in ONCE.items():
        if draw(st.booleans()):
            words += [name, draw(values)]
    for name, values in MANY.items():
        for value in draw(st.lists(values, max_size=2)):
            words += [name, value]
    words += draw(st.lists(st.sampled_from(SWITCHES), unique=True))
    args = draw(st.lists(TEXTS, max_size=3))
    return [*words, *draw(st.sampled_from([["--", "run"], ["train.py", "--"], ["job.sh", "--"], ["-", "--"]])), *args]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=command_lines())
def test_what_dry_run_writes_is_what_f_reads(directory: Path, words: list[str]) -> None:
    place = Place(env={}, cwd=str(directory), stdin=lambda: "#!/bin/sh\necho hi\n")
    first = build(parse(*words), place)
    text = documents.yaml_text(documents.of(first.body, "Job"))
    (directory / "again.yaml").write_text(text)
    second = build(parse("-f", "again.yaml"), place)
    assert second.document == first.document
    assert second.base_name == first.base_name
    assert_canonical(first, text)


def assert_canonical(built: Built, text: str) -> None:
    """The file alone, without the command line's room around it, is the same job."""
    document, problems = check_document(yaml.safe_load(text))
    assert problems == ()
    assert document == built.document


def test_directives_and_variables_do_not_change_a_written_job(built: Building, directory: Path) -> None:
    (directory / "job.sh").write_text("#GPUCTL -j 2x8 --time 1h\ntrue\n")
    env = {"GPUCTL_SUBMIT_SHAPE": "4x8"}
    first = built("-j", "1x1", "job.sh", env=env)
    (directory / "again.yaml").write_text(documents.yaml_text(documents.of(first.body, "Job")))
    assert built("-f", "again.yaml", env=env).document == first.document
    assert first.document.spec.total_gpus == 1
