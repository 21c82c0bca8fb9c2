"""``gpuctl controller``: manifests in YAML and JSON, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpuctl.cli.generate import walk
from gpuctl.controllers.windows import oneshot
from tests.cli.recorder import RecordingPool
from tests.fakes.kube_api import KINDS, SCHEDULES, FakeApi, Server
from tests.fakes.kube_world import NODES, node


def test_the_definition_is_the_same_in_yaml_and_json(run: Any) -> None:
    written = run(RecordingPool(), "controller", "crds")
    assert (written.code, written.err) == (0, "")
    listed = json.loads(run(RecordingPool(), "controller", "crds", "-o", "json").out)
    assert (listed["apiVersion"], listed["kind"]) == ("v1", "List")
    assert listed["items"] == list(yaml.safe_load_all(written.out))
    assert [each["metadata"]["name"] for each in listed["items"]] == ["poolschedules.gpuctl.io"]


@pytest.mark.parametrize("form", ["table", "wide", "name", "csv", "columns=name", "jsonpath=.items"])
def test_other_formats_are_refused(run: Any, form: str) -> None:
    outcome = run(RecordingPool(), "controller", "crds", "-o", form)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"--output: shows no Kubernetes objects, got '{form}' (allowed: yaml, json)" in outcome.err


def test_the_noun_alone_starts_nothing(run: Any) -> None:
    outcome = run(RecordingPool(), "controller")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("Usage: gpuctl controller [OPTIONS] [VERB] [ARGS]...\n")


def manifests(run: Any, *args: str) -> list[dict[str, Any]]:
    outcome = run(RecordingPool(), "controller", "manifests", "--image", "registry.example:5000/ml/gpuctl:1.0", *args)
    assert (outcome.code, outcome.err) == (0, "")
    return list(yaml.safe_load_all(outcome.out))


def named(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(each for each in documents if each["kind"] == kind)


def test_manifests_are_the_same_every_time_and_in_json(run: Any) -> None:
    documents = manifests(run)
    assert manifests(run) == documents
    listed = json.loads(run(RecordingPool(), "controller", "manifests", "--image", "registry.example:5000/ml/gpuctl:1.0", "-o", "json").out)
    assert listed == {"apiVersion": "v1", "kind": "List", "items": documents}
    identities = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in documents]
    assert len(set(identities)) == len(identities)
    assert [kind for kind, _, _ in identities[:2]] == ["Namespace", "CustomResourceDefinition"]
    assert all("generateName" not in each["metadata"] for each in documents)


def test_options_reach_the_objects(run: Any) -> None:
    args = (
        "--namespace",
        "1e3",
        "--replicas",
        "3",
        "--cluster-name",
        "res a",
        "--gpu-resource",
        "example.com/gpu-*",
        "--gpu-resource",
        "example.com/x",
    )
    documents = manifests(run, *args)
    assert {each["metadata"]["namespace"] for each in documents if "namespace" in each["metadata"]} == {"1e3"}
    assert {each["namespace"] for document in documents for each in document.get("subjects", ())} == {"1e3"}
    deployment = named(documents, "Deployment")["spec"]
    assert deployment["replicas"] == 3
    container = deployment["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example:5000/ml/gpuctl:1.0"
    assert container["args"][-4:] == ["--cluster-name", "res a", "--gpu-resource", "example.com/x"]
    policy = str(named(documents, "ValidatingAdmissionPolicy"))
    assert r"^(example\\.com/gpu-.*|example\\.com/x)$" in policy
    assert "nvidia" not in policy


def test_words_that_other_readers_take_for_numbers_are_quoted(run: Any) -> None:
    out = run(RecordingPool(), "controller", "manifests", "--image", "x", "--namespace", "1e3", "--cluster-name", "y").out
    assert 'name: "1e3"\n' in out
    assert '- "y"\n' in out


def test_without_admission(run: Any) -> None:
    whole, without = manifests(run), manifests(run, "--without-admission")
    left_out = [each for each in whole if each not in without]
    assert {each["kind"] for each in left_out} == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    assert without == [each for each in whole if each not in left_out]


def test_an_image_has_to_be_named(run: Any) -> None:
    outcome = run(RecordingPool(), "controller", "manifests")
    assert (outcome.code, outcome.out) == (2, "")
    assert "error[no-image]: cannot print manifests: --image is missing" in outcome.err
    assert "docker build" in outcome.err


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        ("--namespace", "GPU System", "--namespace: is no name of a namespace, got 'GPU System'"),
        ("--namespace", "", "--namespace: is no name of a namespace, got ''"),
        ("--namespace", "n" * 64, "--namespace: is no name of a namespace"),
        ("--namespace", "kube-system", "--namespace: is the cluster's own, got 'kube-system'"),
        ("--replicas", "0", "--replicas: is out of range, got 0 (allowed: 1 to 9)"),
        ("--replicas", "-1", "--replicas: is out of range, got -1"),
        ("--replicas", "two", "two"),
        ("--image", "a b", "--image: is no image, got 'a b'"),
        ("--image", "Registry/x", "--image: is no image"),
        ("--image", "", "--image: is no image, got ''"),
        ("--cluster-name", " ", "--cluster-name: is no name, got ' '"),
        ("--gpu-resource", "gpu", "--gpu-resource: is no name of a resource, got 'gpu'"),
        ("--gpu-resource", "a.b/c'", "--gpu-resource: is no name of a resource"),
    ],
)
def test_bad_input(run: Any, flag: str, value: str, told: str) -> None:
    outcome = run(RecordingPool(), "controller", "manifests", "--image", "x", flag, value)
    assert (outcome.code, outcome.out) == (2, "")
    assert told in outcome.err


def test_everything_wrong_is_told_at_once(run: Any) -> None:
    outcome = run(RecordingPool(), "controller", "manifests", "--namespace", "A", "--replicas", "0", "--image", "")
    assert [line.split(":")[0].strip() for line in outcome.err.splitlines()[1:]] == ["--image", "--namespace", "--replicas"]


@pytest.mark.parametrize("image", ["gpuctl", "gpuctl:1", "docker.io/a/b_c/gpuctl:v1.0-rc.1", "r.example:5000/g@sha256:" + "0" * 64])
def test_images(run: Any, image: str) -> None:
    outcome = run(RecordingPool(), "controller", "manifests", "--image", image)
    assert outcome.code == 0
    assert f"image: {image}\n" in outcome.out


def test_the_container_is_started_with_options_that_its_verb_has(run: Any) -> None:
    documents = manifests(run, "--cluster-name", "res-a", "--gpu-resource", "example.com/x")
    args = named(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    command = next(each for each in walk.program().every if each.path == tuple(args[:2]))
    known = {name for flag in command.flags for name in flag.names}
    assert {each for each in args if each.startswith("--")} <= known


NIGHT = {"name": "night", "owner": "team-a", "start": "0 0 * * *", "duration": "24h"}
SCHEDULES_PATH = "/apis/gpuctl.io/v1alpha1/poolschedules"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[FakeApi, dict[str, str]]]:
    """A cluster whose one GPU node is to become team-a's, and the environment that leads there."""
    api = FakeApi(groups={**KINDS, **SCHEDULES})
    api.put("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "gpuctl-system"}})
    api.put(NODES, node("n0", 8, "NVIDIA-H100-80GB-HBM3"))
    spec = {"pool": {}, "timeZone": "UTC", "defaultOwner": "team-a", "windows": []}
    api.put(SCHEDULES_PATH, {"kind": "PoolSchedule", "metadata": {"name": "pool", "generation": 1}, "spec": spec})
    server = Server(api, tmp_path, context="lab")
    yield api, {"KUBECONFIG": str(server.kubeconfig)}
    server.close()


def test_a_dry_run_prints_what_is_due_and_changes_nothing(run: Any, lab: tuple[FakeApi, dict[str, str]]) -> None:
    api, env = lab
    outcome = run(RecordingPool(), "controller", "windows", "--dry-run", env=env)
    assert outcome.out.splitlines() == [
        "CLUSTER  ACTION  OBJECT  DETAIL",
        "lab      close   n0      nothing new starts: it goes to team-a",
        "lab      wait    n0      is being closed",
    ]
    assert (outcome.code, outcome.err) == (0, "")
    assert api.bodies == []
    listed = json.loads(run(RecordingPool(), "controller", "windows", "--dry-run", "-o", "json", env=env).out)
    assert listed["kind"] == "WindowActionList"
    assert [each["action"] for each in listed["items"]] == ["close", "wait"]


def test_once_does_what_is_due(run: Any, lab: tuple[FakeApi, dict[str, str]]) -> None:
    api, env = lab
    outcome = run(RecordingPool(), "controller", "windows", "--once", "-o", "name", env=env)
    assert outcome.out == "close/n0\nwait/n0\n"
    (found,) = api.all(NODES)
    assert found["spec"]["taints"] == [{"key": "gpuctl.io/window-closing", "value": "team-a", "effect": "NoSchedule"}]
    api.remove(SCHEDULES_PATH, (None, "pool"))
    found["spec"] = {}
    api.put(NODES, found)
    quiet = run(RecordingPool(), "controller", "windows", "--once", env=env)
    assert (quiet.code, quiet.out) == (0, "")
    assert "nothing is due" in quiet.err


def test_once_leaves_a_cluster_to_the_controller_that_leads_there(
    run: Any, lab: tuple[FakeApi, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, env = lab
    monkeypatch.setattr(oneshot, "DURATION_S", -1.0)  # it does not wait to see whether the record changes
    spec = {"holderIdentity": "pod-1", "leaseDurationSeconds": 15}
    lease = {"kind": "Lease", "metadata": {"name": "gpuctl-window-controller"}, "spec": spec}
    api.put("/apis/coordination.k8s.io/v1/leases", lease, namespace="gpuctl-system")
    outcome = run(RecordingPool(), "controller", "windows", "--once", env=env)
    assert (outcome.code, outcome.out) == (6, "")
    assert "error[another-leads]: cannot act on lab: pod-1 leads there" in outcome.err
    assert "--dry-run" in outcome.err
    assert [each["spec"] for each in api.all(NODES)] == [{}]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--in-cluster", "--context", "lab"], 2, "--in-cluster cannot be given together with --context"),
        (["--context", "a", "--context", "b", "--cluster-name", "x"], 2, "--cluster-name names one cluster"),
        (["--context", "lab", "--context", "lab"], 2, "a --context is given twice"),
        (["--notify-url", "ftp://x"], 2, "--notify-url ftp://x is no http or https URL"),
        (["--listen", "8080"], 2, "--listen: is no address"),
        (["--log-format", "jsn"], 2, "did you mean json?"),
        (["--context", "lub", "--dry-run"], 3, "lab"),
        (["--namespace", "nowhere", "--once"], 3, "nowhere"),
    ],
)
def test_what_does_not_go_together_is_told(run: Any, lab: tuple[FakeApi, dict[str, str]], args: list[str], code: int, said: str) -> None:
    outcome = run(RecordingPool(), "controller", "windows", *args, env=lab[1])
    assert outcome.code == code
    assert said in outcome.err
    assert [each["spec"] for each in lab[0].all(NODES)] == [{}]
    assert lab[0].all("/apis/coordination.k8s.io/v1/leases") == []


def test_without_the_extra_the_way_to_it_is_told(tmp_path: Path) -> None:
    program = "import sys; sys.modules['prometheus_client'] = None; from gpuctl.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "controller", "windows", "--dry-run"]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error[extra-missing]" in done.stderr
    assert "gpuctl-cli[controllers]" in done.stderr
