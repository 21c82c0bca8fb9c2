from typing import Any

import msgspec
import pytest

from gpuctl.base.errors import InvalidInput, UsageError
from gpuctl.model import jobfile
from gpuctl.model.check import check_document, check_spec
from gpuctl.model.spec import (
    ArraySpec,
    Checkpoint,
    Dependency,
    JobDocument,
    JobSpec,
    Metadata,
    SignalBefore,
    VolumeMount,
)

FULL = JobDocument(
    api_version="gpuctl.io/v1",
    kind="Job",
    metadata=Metadata(name="llama", labels={"team": "vision", "example.org/run": "3"}),
    spec=JobSpec(
        kind="pytorch",
        nodes=4,
        gpus=8,
        nproc_per_node=4,
        script="train.py",
        args=("--lr", "3e-4"),
        env={"LR": "1", "_x1": ""},
        secrets=("HF_TOKEN",),
        cpus="1.5",
        memory="64Gi",
        max_cost=10.0,
        time="6h",
        grace="0s",
        signal=SignalBefore(name="USR1", before="10m"),
        retries=3,
        priority=-5,
        array=ArraySpec(first=2, last=9, parallel=2, only=(2, 5)),
        after=(Dependency(job="prep"),),
        volumes=(VolumeMount(name="data", path="/data", read_only=True), VolumeMount(name="out")),
        checkpoint=Checkpoint(volume="out", dir="/ckpt"),
        fit_window=True,
        devices=(0, 1),
        logs_to="out:/logs",
        notify="https://example.org/hook",
    ),
)


def document(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "gpuctl.io/v1", "kind": "Job", "spec": {"command": ["true"], **spec}}


def problems(value: object) -> dict[str, str]:
    found, told = check_document(value)
    assert (found is None) == bool(told)
    assert len({problem.field for problem in told}) == len(told)
    return {problem.field: str(problem) for problem in told}


def test_a_full_document_comes_back_as_it_was() -> None:
    found, told = check_document(msgspec.to_builtins(FULL))
    assert told == ()
    assert found == FULL


@pytest.mark.parametrize("value", [None, [], [1], "text", 3, True])
def test_what_is_no_document(value: object) -> None:
    assert list(problems(value)) == ["job file"]


def test_everything_wrong_is_told_at_once() -> None:
    told = problems(
        {
            "apiVersion": "gpuctl.io/v2",
            "metadata": {"name": "My Run", "labels": {"a b": "c", "d": "e f"}},
            "spec": {
                "kind": "pytorc",
                "gpuz": 4,
                "gpu_type": "H100",
                "nodes": 0,
                "script": "a.py",
                "command": ["x"],
                "time": 90,
                "env": {"LR": 0.1, "1X": "a", "GPUCTL_A": "b", 3: "c"},
                "array": {"first": 9, "last": 0},
                "args": "hello",
                "signal": {"before": "5x"},
                "after": [{"mode": "ok"}, {"job": "a", "mode": "sometimes"}, "prep"],
                "snapshot": "yes",
                "retries": 1.5,
                "maxCost": "a lot",
                "volumes": {},
            },
        }
    )
    assert set(told) == {
        "apiVersion",
        "kind",
        "metadata.name",
        "metadata.labels.a b",
        "metadata.labels.d",
        "spec.kind",
        "spec.gpuz",
        "spec.gpu_type",
        "spec.nodes",
        "spec.command",
        "spec.time",
        "spec.env.LR",
        "spec.env.1X",
        "spec.env.GPUCTL_A",
        "spec.env.3",
        "spec.array.last",
        "spec.args",
        "spec.signal.name",
        "spec.after[0].job",
        "spec.after[1].mode",
        "spec.after[2]",
        "spec.snapshot",
        "spec.retries",
        "spec.maxCost",
        "spec.volumes",
    }
    assert told["spec.gpu_type"].endswith("did you mean gpuType?")
    assert told["spec.kind"].endswith("did you mean pytorch?")
    assert told["spec.env.LR"].endswith('did you mean "0.1"?')


def test_a_flat_document_is_told_where_its_fields_belong() -> None:
    _, wrong = check_document({"apiVersion": "gpuctl.io/v1", "kind": "Job", "name": "a", "script": "a.py", "spec": {"command": ["true"]}})
    assert {problem.field: problem.nearest for problem in wrong} == {"name": "metadata.name", "script": "spec.script"}


def test_numbers_for_amounts_and_empty_fields_are_as_people_write_them() -> None:
    found, _ = check_document(document(cpus=4, memory=1024, time=None, env=None, signal=None))
    assert found is not None
    assert (found.spec.cpus, found.spec.memory, found.spec.time, found.spec.env) == ("4", "1024", None, {})


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"nodes": 0}, "nodes"),
        ({"gpus": -1}, "gpus"),
        ({"nproc_per_node": 0}, "nprocPerNode"),
        ({"per": "gpu", "gpus": 0}, "per"),
        ({"command": ()}, "script"),
        ({"script": "a.py"}, "command"),
        ({"kind": "pytorch"}, "kind"),
        ({"args": ("x",)}, "args"),
        ({"command": ("a\0b",)}, "command[0]"),
        ({"command": ("",)}, "command[0]"),
        ({"env": {"": "x"}}, "env."),
        ({"env": {"A": "\0"}}, "env.A"),
        ({"env": {"PET_X": "1"}}, "env.PET_X"),
        ({"secrets": ("a-b",)}, "secrets[0]"),
        ({"secrets": ("A",), "env": {"A": "1"}}, "secrets[0]"),
        ({"secrets": ("A", "A")}, "secrets"),
        ({"cpus": "many"}, "cpus"),
        ({"cpus": "0"}, "cpus"),
        ({"memory": "64 apples"}, "memory"),
        ({"max_cost": 0.0}, "maxCost"),
        ({"max_cost": float("nan")}, "maxCost"),
        ({"time": "6"}, "time"),
        ({"time": "0s"}, "time"),
        ({"time": ""}, "time"),
        ({"grace": "soon"}, "grace"),
        ({"fit_window": True}, "fitWindow"),
        ({"signal": SignalBefore(name="USR9")}, "signal.name"),
        ({"signal": SignalBefore(name="KILL")}, "signal.name"),
        ({"signal": SignalBefore(name="USR1", before="0s")}, "signal.before"),
        ({"signal": SignalBefore(name="SIGUSR1", before="1h"), "time": "1h"}, "signal.before"),
        ({"priority": 1001}, "priority"),
        ({"retries": -1}, "retries"),
        ({"after": (Dependency(job=" "),)}, "after[0].job"),
        ({"exclude": ("",)}, "exclude[0]"),
        ({"devices": (-1,)}, "devices[0]"),
        ({"devices": (1, 1)}, "devices"),
        ({"notify": "anna@example.org"}, "notify"),
        ({"array": ArraySpec(first=-1, last=1)}, "array.first"),
        ({"array": ArraySpec(first=9, last=0)}, "array.last"),
        ({"array": ArraySpec(last=10**7)}, "array.last"),
        ({"array": ArraySpec(last=3, parallel=0)}, "array.parallel"),
        ({"array": ArraySpec(last=3, only=(2, 1))}, "array.only"),
        ({"array": ArraySpec(last=3, only=(2, 4))}, "array.only"),
        ({"array": ArraySpec(last=3, args=((), ()))}, "array.args"),
        ({"volumes": (VolumeMount(name="A b"),)}, "volumes[0].name"),
        ({"volumes": (VolumeMount(name="a", path="rel"),)}, "volumes[0].path"),
        ({"volumes": (VolumeMount(name="a", path="/a/../b"),)}, "volumes[0].path"),
        ({"volumes": (VolumeMount(name="a"), VolumeMount(name="a"))}, "volumes"),
        ({"checkpoint": Checkpoint(volume="a", dir="b")}, "checkpoint.dir"),
        ({"checkpoint": Checkpoint(volume="A")}, "checkpoint.volume"),
        ({"logs_to": ":/a"}, "logsTo"),
        ({"logs_to": "A:/a"}, "logsTo"),
        ({"logs_to": "a:/../b"}, "logsTo"),
    ],
)
def test_each_rule(fields: dict[str, Any], field: str) -> None:
    found = check_spec(JobSpec(**{"command": ("true",), **fields}))
    assert [problem.field for problem in found] == [field]


def test_a_plain_job_is_fine() -> None:
    assert check_spec(JobSpec(command=("true",))) == ()
    assert check_spec(JobSpec(kind="ray", command=("python", "a.py"))) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "it is empty"),
        (b"# a comment\n", "it is empty"),
        (b"a: 1\n---\nb: 2\n", "several documents"),
        (b"a: [", "it is not YAML"),
        (b"a: \x00", "it is not YAML"),
        (b"\xff\xfe\x00", "it is not YAML"),
        (b"a: !!python/object/apply:os.system [x]", "it is not YAML"),
        (b"? [a]\n: b", "it is not YAML"),
        (b"a: &a [*a]", "aliases"),
        (b"a: &a {b: *a}", "aliases"),
        (b"x" * (jobfile.LARGEST + 1), "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_job_file(text: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        jobfile.parse(text, source="job.yaml")
    assert caught.value.code == "bad-job-file"
    assert "job.yaml" in caught.value.message


def test_aliases_that_multiply_are_refused_before_they_do() -> None:
    lines = [b"a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [b"%c: &%c [%s]" % (letter, letter, b",".join([b"*%c" % (letter - 1)] * 9)) for letter in b"bcdefghij"]
    with pytest.raises(UsageError, match="more than 100000 values"):
        jobfile.parse(b"\n".join(lines), source="bomb.yaml")


def test_keys_given_twice_are_all_told_with_their_lines() -> None:
    with pytest.raises(InvalidInput) as caught:
        jobfile.parse(b"spec:\n  gpus: 1\n  env: {A: 1, A: 2}\n  gpus: 2\n", source="job.yaml")
    assert {(problem.field, problem.message) for problem in caught.value.problems} == {
        ("spec.gpus", "is given twice, in lines 2 and 4"),
        ("spec.env.A", "is given twice, in lines 3 and 3"),
    }


def test_honest_aliases_and_merges_work() -> None:
    assert jobfile.parse(b"a: &x {b: 1}\nc:\n  <<: *x\n  d: *x\n", source="job.yaml") == {"a": {"b": 1}, "c": {"b": 1, "d": {"b": 1}}}
