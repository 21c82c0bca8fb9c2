"""Directives, environment, job files and flags: who wins, and under which name a wrong value is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli_spec.conftest import Building

Refused = Callable[..., dict[str, str]]


def origins(built: object) -> dict[str, str]:
    """The origin of every value by its path."""
    return {".".join(setting.path): setting.origin for setting in built.layers}  # type: ignore[attr-defined]


def test_each_source_beats_the_ones_before(built: Building, directory: Path) -> None:
    (directory / "job.sh").write_text("#!/bin/sh\n#GPUCTL --time 1h --priority 1 --cpus 1 --retries 1 --queue q\ntrue\n")
    file = "apiVersion: gpuctl.io/v1\nkind: Job\nspec: {script: job.sh, priority: 3, cpus: 3, retries: 3}\n"
    (directory / "job.yaml").write_text(file)
    env = {"GPUCTL_SUBMIT_TIME": "2h", "GPUCTL_SUBMIT_PRIORITY": "2", "GPUCTL_SUBMIT_CPUS": "2", "GPUCTL_SUBMIT_RETRIES": "2"}
    found = built("-f", "job.yaml", "--retries", "4", "--cpus", "4", "--set", "retries=5", env=env)
    spec = found.document.spec
    assert (spec.queue, spec.time, spec.priority, spec.cpus, spec.retries) == ("q", "2h", 3, "4", 5)
    told = origins(found)
    assert told["spec.queue"] == "job.sh:2: --queue"
    assert told["spec.time"] == "GPUCTL_SUBMIT_TIME"
    assert told["spec.priority"] == "job.yaml"
    assert told["spec.cpus"] == "--cpus"
    assert told["spec.retries"] == "--set retries"
    overridden = [setting.origin for setting in found.layers.overridden(("spec", "retries"))]
    assert overridden == ["--retries", "job.yaml", "GPUCTL_SUBMIT_RETRIES", "job.sh:2: --retries"]


def test_maps_volumes_and_secrets_are_merged_by_key_lists_are_replaced(built: Building, directory: Path) -> None:
    (directory / "job.sh").write_text(
        "#GPUCTL --env A=1 --env B=1 --volume data:/d --volume out:/o --exclude n1 --secret S1 --label x=1\ntrue\n"
    )
    words = ["--env", "B=2", "--volume", "out:/p", "--exclude", "n2", "--secret", "S2", "--label", "y=2"]
    document = built(*words, "job.sh", env={"S1": "1", "S2": "2"}).document
    assert document.spec.env == {"A": "1", "B": "2"}
    assert [(mount.name, mount.path) for mount in document.spec.volumes] == [("data", "/d"), ("out", "/p")]
    assert document.spec.exclude == ("n2",)
    assert document.spec.secrets == ("S1", "S2")
    assert document.metadata.labels == {"x": "1", "y": "2"}


def test_a_whole_new_array_replaces_one_with_gaps(built: Building, directory: Path) -> None:
    (directory / "job.sh").write_text("#GPUCTL --array 1,5,9%2\ntrue\n")
    array = built("--array", "0-3", "job.sh").document.spec.array
    assert array is not None
    assert (array.indices, array.parallel) == (range(4), 2)


def test_directives_are_read_from_python_too(built: Building, directory: Path) -> None:
    (directory / "train.py").write_text('#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n\n#GPUCTL -j 1x2 --name "my-run"\nimport os\n')
    document = built("train.py").document
    assert (document.spec.kind, document.spec.gpus, document.metadata.name) == ("pytorch", 2, "my-run")


def test_lines_that_only_look_like_directives_are_told(built: Building, directory: Path) -> None:
    (directory / "job.sh").write_text("#!/bin/sh\n# GPUCTL --time 1h\n#GPUCTLX --time 1h\ntrue\n#GPUCTL --time 2h\n")
    found = built("job.sh")
    assert found.document.spec.time is None
    assert found.notes == (
        "note: job.sh:2: is a comment; a directive begins with #GPUCTL",
        "note: job.sh:5: is not read; directives stand before the first line of code",
    )


def test_wrong_directives_name_file_and_line(refused: Refused, directory: Path) -> None:
    lines = ["#!/bin/sh", "#GPUCTL --tim 6h", "#GPUCTL -j 0x1 --wait", "#GPUCTL --name 'x", "#GPUCTL train.py", "#GPUCTL --time", "true"]
    (directory / "job.sh").write_text("\n".join(lines))
    assert refused("job.sh") == {
        "job.sh:2: --tim": "job.sh:2: --tim: there is no such flag; did you mean --time?",
        "job.sh:3: -j": "job.sh:3: -j: a job has at least one node, got '0x1'"
        " (allowed: NxM, such as 1x1, 4x8 or 2x0: N nodes of M GPUs); did you mean 1x1?",
        "job.sh:3: --wait": "job.sh:3: --wait: belongs on the command line, not into a script",
        "job.sh:4": "job.sh:4: no closing quotation, got --name 'x",
        "job.sh:5": "job.sh:5: is no flag, got 'train.py' (allowed: flags of gpuctl submit)",
        "job.sh:6: --time": "job.sh:6: --time: needs a value",
    }


def test_variables_set_flags_and_those_of_a_job_do_not(built: Building) -> None:
    env = {
        "GPUCTL_SUBMIT_SHAPE": "1x2",
        "GPUCTL_SUBMIT_VOLUME": "data:/d 'out:/o'",
        "GPUCTL_SUBMIT_HOLD": "no",
        "GPUCTL_SUBMIT_NAME": "",
        "GPUCTL_JOB": "outer-k3f9",
        "GPUCTL_TIME": "1h",
    }
    document = built("job.sh", env=env).document
    assert (document.spec.gpus, document.spec.hold, document.spec.time, document.metadata.name) == (2, False, None, None)
    assert [mount.name for mount in document.spec.volumes] == ["data", "out"]


def test_wrong_variables(refused: Refused) -> None:
    env = {"GPUCTL_SUBMIT_TIEM": "6h", "GPUCTL_SUBMIT_RETRIES": "x", "GPUCTL_SUBMIT_HOLD": "perhaps", "GPUCTL_SUBMIT_ENV": "'A"}
    found = refused("job.sh", env=env)
    assert found["GPUCTL_SUBMIT_TIEM"].endswith("did you mean GPUCTL_SUBMIT_TIME?")
    assert found.keys() == env.keys()


def test_a_file_s_problems_come_with_those_of_flags(refused: Refused, directory: Path) -> None:
    (directory / "job.yaml").write_text(
        "apiVersion: gpuctl.io/v1\nkind: Job\nspec:\n  comand: [true]\n  gpus: -1\n  time: 6\n  volumes:\n  - {name: Data}\n"
    )
    found = refused("-f", "job.yaml", "--memory", "lots", "--set", "tme=6h")
    assert found.keys() == {
        "--memory",
        "--set tme",
        "job.yaml: spec.comand",
        "job.yaml: spec.time",
        "job.yaml: spec.gpus",
        "job.yaml: spec.volumes[0].name",
    }
    assert "did you mean command?" in found["job.yaml: spec.comand"]
    assert "did you mean time?" in found["--set tme"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "is a list"),
        ("hello", "is a text"),
        ("", "it is empty"),
        ("a: [1\n", "it is not YAML"),
        ("a: 1\n---\nb: 1\n", "several documents"),
    ],
)
def test_files_that_are_no_job(refused: Refused, directory: Path, text: str, message: str) -> None:
    (directory / "job.yaml").write_text(text)
    found = refused("-f", "job.yaml")
    assert list(found) == ["job.yaml"]
    assert message in found["job.yaml"]


def test_a_file_from_standard_input(built: Building) -> None:
    text = "apiVersion: gpuctl.io/v1\nkind: Job\nspec: {command: ['true']}\n"
    assert built("-f", "-", stdin=text).document.spec.command == ("true",)


def test_a_script_from_standard_input(built: Building) -> None:
    spec = built("-", "a", "b", stdin="#!/bin/sh\n#GPUCTL --time 1h\necho $1\n").document.spec
    assert (spec.kind, spec.script, spec.args, spec.time) == ("command", None, ("a", "b"), "1h")
    assert spec.stdin_script == "#!/bin/sh\n#GPUCTL --time 1h\necho $1\n"


def test_a_script_beside_a_file_is_refused(refused: Refused, directory: Path) -> None:
    (directory / "job.yaml").write_text("apiVersion: gpuctl.io/v1\nkind: Job\nspec: {command: ['true']}\n")
    assert "already says what runs" in refused("-f", "job.yaml", "train.py")["-f"]
    assert "already says what runs" in refused("-f", "job.yaml", "--", "true")["-f"]


def test_set_takes_text_as_it_stands_and_null_takes_away(built: Building, directory: Path) -> None:
    (directory / "job.yaml").write_text(
        "apiVersion: gpuctl.io/v1\nkind: Job\nmetadata: {labels: {a: '1'}}\nspec: {command: ['true'], time: 1h, env: {A: '1', B: '2'}}\n"
    )
    words = [
        "env.LR=1e-3",
        "env.A=null",
        "time=null",
        "gpus=2",
        "snapshot=true",
        "nproc_per_node=3",
        "exclude=[n1, n2]",
        "metadata.labels.b=2",
    ]
    document = built("-f", "job.yaml", *(word for each in words for word in ("--set", each))).document
    assert document.spec.env == {"B": "2", "LR": "1e-3"}
    assert (document.spec.time, document.spec.gpus, document.spec.snapshot, document.spec.nproc_per_node) == (None, 2, True, 3)
    assert document.spec.exclude == ("n1", "n2")
    assert document.metadata.labels == {"a": "1", "b": "2"}


def test_secrets_that_a_file_names_come_from_the_environment(built: Building, refused: Refused, directory: Path) -> None:
    (directory / "job.yaml").write_text("apiVersion: gpuctl.io/v1\nkind: Job\nspec: {command: ['true'], secrets: [HF_TOKEN]}\n")
    assert built("-f", "job.yaml", env={"HF_TOKEN": "x"}).secrets == {"HF_TOKEN": "x"}
    assert "it is not set here" in refused("-f", "job.yaml")["job.yaml: secret HF_TOKEN"]
