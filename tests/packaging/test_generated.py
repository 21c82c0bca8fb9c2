"""What is generated from the commands is up to date, complete and well-formed."""

import json
import re
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from gpuctl.cli.commands import TABLE
from gpuctl.cli.generate import files, schema, walk
from gpuctl.cli.out import document
from gpuctl.cli.out.columns.node import NodeDevice
from gpuctl.model.ask import PlanOption
from gpuctl.model.job import Attempt, Exit, Job, State
from gpuctl.model.place import ClusterStatus, Device, Holder, Node, Sample, UsageRow, Volume, VolumeFile
from gpuctl.model.quota import Quota
from gpuctl.model.reason import Evidence, Explanation, Reason
from gpuctl.model.schedule import NextOwner, OwnedSpan, PoolWindows
from gpuctl.model.spec import ArraySpec, Dependency, JobDocument, JobSpec, Metadata
from tests.packaging import shells

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return files.everything()


def test_files_in_the_repository_are_up_to_date(made: dict[str, str]) -> None:
    stale = [path for path, text in made.items() if not (ROOT / path).is_file() or (ROOT / path).read_text("utf-8") != text]
    assert stale == [], "run: python -m gpuctl.cli.generate"


def test_writing_twice_changes_nothing(tmp_path: Path, made: dict[str, str]) -> None:
    assert sorted(files.write(tmp_path)) == sorted(made)
    assert files.write(tmp_path) == []
    (tmp_path / "completions" / "gpuctl.bash").write_text("old")
    assert list(files.stale(tmp_path)) == ["completions/gpuctl.bash"]


def test_every_verb_is_in_script_page_and_reference(made: dict[str, str]) -> None:
    for name, entry in TABLE.items():
        if entry.hidden:
            assert f"gpuctl {name}\n" not in made["docs/reference/cli.md"]
        else:
            assert f"## gpuctl {name}\n" in made["docs/reference/cli.md"]
            assert f".SS gpuctl {name.replace('-', chr(92) + '-')} " in made["docs/man/gpuctl.1"]


def test_flags_end_at_the_script_of_those_that_pass_through() -> None:
    passing = {command.name for command in walk.program().every if command.passes}
    assert {"submit", "run"} <= passing
    assert passing.isdisjoint({"jobs", "logs", "cancel"})


def test_every_flag_and_argument_has_a_help() -> None:
    silent = [(command.path, flag.names) for command in walk.program().every for flag in command.flags if not flag.help]
    assert silent == []


@pytest.mark.parametrize(("shell", "check"), [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"])])
def test_scripts_parse(shell: str, check: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(files.completion(shell))
    done = subprocess.run([shells.need(shell), *check, str(script)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_the_shipped_scripts_know_the_verbs_and_flags(shell: str, tmp_path: Path) -> None:
    shells.need(shell)
    script = tmp_path / "script"
    script.write_text(files.completion(shell))
    ask = {"bash": shells.bash, "fish": shells.fish, "zsh": shells.zsh}[shell]
    offered = {each.rstrip() for each in ask(script, "gpuctl ", path=tmp_path, cwd=tmp_path)}
    assert offered == {name for name, entry in TABLE.items() if not entry.hidden}
    assert {"reserved", "on-demand", "any"} == set(ask(script, "gpuctl submit --tier ", path=tmp_path, cwd=tmp_path))
    assert {"--retries"} == set(ask(script, "gpuctl submit -j 2x8 --retr", path=tmp_path, cwd=tmp_path))
    assert {"--first-error"} == set(ask(script, "gpuctl logs --first", path=tmp_path, cwd=tmp_path))


def test_the_man_page_is_clean_roff(made: dict[str, str], tmp_path: Path) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    page = tmp_path / "gpuctl.1"
    page.write_text(made["docs/man/gpuctl.1"])
    done = subprocess.run([groff, "-man", "-Tutf8", "-ww", "-z", str(page)], capture_output=True, text=True, timeout=60)
    # A flag with a long value may be wider than its line; nothing else is let pass.
    complaints = [line for line in done.stderr.splitlines() if "can't break line" not in line and "cannot break line" not in line]
    assert (done.returncode, complaints) == (0, [])


@pytest.fixture(scope="module")
def outputs() -> jsonschema.Draft202012Validator:
    body = schema.outputs()
    jsonschema.Draft202012Validator.check_schema(body)
    return jsonschema.Draft202012Validator(body)


JOB = Job(
    id="01hxyz",
    name="train-k3f9",
    base_name="train",
    user="anna",
    spec=JobSpec(
        kind="pytorch", nodes=2, gpus=8, script="train.py", args=("--lr", "3e-4"), array=ArraySpec(last=3), after=(Dependency(job="x"),)
    ),
    state=State.FAILED,
    submitted_at=AT,
    ended_at=AT,
    exit=Exit(signal=9),
    reason=Reason(code="oom-killed", sentence="rank 3 was killed"),
    attempts=(Attempt(number=1, cluster="local", state=State.FAILED, started_at=AT),),
)
EXAMPLES: dict[str, Any] = {
    "Job": JOB,
    "Node": Node(
        name="ws", cluster="local", gpus=1, devices=(Device(index=0, uuid="GPU-1", type="H100", holder=Holder(user="anna", pid=4242)),)
    ),
    "Cluster": ClusterStatus(name="local", kind="local", free={"slot": 8}),
    "Volume": Volume(name="data", home="local", created_at=AT),
    "VolumeFile": VolumeFile(path="a/b", size=3, modified_at=AT),
    "Usage": UsageRow(user="anna", day="2026-03-01", state="failed", jobs=1, gpu_seconds=3600),
    "Quota": Quota(cluster="res-a", name="vision", gpu_type="H100", nominal=32, used=8, free=24, usable={"8": 3}),
    "Sample": Sample(job="train-k3f9", rank=1, cpu=99.5),
    "Explanation": Explanation(reason=Reason(code="exit-code", sentence="it ended with 3"), evidence=(Evidence(code="exit-code", at=AT),)),
    "PlanOption": PlanOption(cluster="local", now=True),
    "PoolWindows": PoolWindows(
        name="night",
        cluster="local",
        time_zone="Europe/Berlin",
        at=AT,
        owner="platform",
        next=NextOwner(owner="team-a", at=AT, window="night"),
        spans=(OwnedSpan(start=AT, end=AT, owner="team-a", window="night", lends=True),),
    ),
    "NodeDevice": NodeDevice(node="ws", cluster="local", device=Device(index=0, uuid="slot-0", type="slot")),
}


@pytest.mark.parametrize("kind", schema.KINDS)
def test_what_is_printed_is_as_the_schema_says(kind: str, outputs: jsonschema.Draft202012Validator) -> None:
    printed = json.loads(document.json_text(document.of(EXAMPLES[kind], kind)))
    outputs.validate(printed)
    outputs.validate(json.loads(document.json_text(document.listing([EXAMPLES[kind]], kind, {"res-a": "no answer"}))))
    with pytest.raises(jsonschema.ValidationError):
        outputs.validate(printed | {"apiVersion": "gpuctl.io/v2"})


def test_a_job_whose_state_nobody_knows_is_as_the_schema_says(outputs: jsonschema.Draft202012Validator) -> None:
    printed = json.loads(document.json_text(document.of(msgspec.structs.replace(JOB, unknown=("state",)), "Job")))
    assert "state" not in printed
    outputs.validate(printed)


def test_the_schema_of_outputs_allows_keys_of_a_newer_gpuctl(outputs: jsonschema.Draft202012Validator) -> None:
    printed = json.loads(document.json_text(document.of(JOB, "Job")))
    outputs.validate(printed | {"addedLater": 1, "spec": printed["spec"] | {"addedLater": 1}})


def test_every_kind_that_verbs_print_has_a_schema_or_belongs_to_one_verb() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "gpuctl" / "cli").rglob("*.py")]
    named = {kind for text in sources for kind in re.findall(r'\bkind="([A-Z]\w+)"', text)}
    of_one_verb = {"Check", "Difference", "Profile", "ScheduleCheck", "Setting", "Value", "Version", "WindowAction"}
    assert named - of_one_verb == set(schema.KINDS)


def test_job_files_are_as_the_schema_says() -> None:
    body = schema.job_file()
    jsonschema.Draft202012Validator.check_schema(body)
    validator = jsonschema.Draft202012Validator(body)
    written = document.plain(JobDocument(api_version="gpuctl.io/v1", kind="Job", metadata=Metadata(name="train"), spec=JOB.spec))
    validator.validate(json.loads(json.dumps(written)))
    for wrong in ({"spec": {"gpu": 1}}, {"kind": "Pod"}, {"spec": {"nodes": "two"}}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(json.loads(json.dumps(written | wrong)))
