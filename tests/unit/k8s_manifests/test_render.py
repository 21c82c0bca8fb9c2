"""What holds for every job that is rendered, and what is refused."""

import base64
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.base.errors import InvalidInput, UsageError
from gpuctl.base.names import LONGEST_BASE
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.manifests import (
    ClusterFacts,
    Engine,
    Runtime,
    Settings,
    available,
    choose,
    footprint,
    owned_by,
    owner_patch,
    share,
)
from gpuctl.clusters.kubernetes.manifests.expansion import literal
from gpuctl.clusters.kubernetes.manifests.scheduling import priority_class
from gpuctl.model.place import Node
from gpuctl.model.spec import ArraySpec, JobSpec, VolumeMount
from tests.unit.k8s_manifests.cases import (
    CASES,
    EVERYTHING,
    FETCHED,
    RESERVED,
    SOURCE,
    facts,
    main_env,
    rendered,
    submission,
    templates,
    the,
)
from tests.unit.k8s_manifests.little_kubelet import expanded

ALL = frozenset({"jobset.x-k8s.io/v1alpha2", "trainer.kubeflow.org/v1alpha1", "kubeflow.org/v1", "ray.io/v1"})
TORCH = (Runtime(name="torch-distributed", framework="torch"),)
DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?\Z")


@pytest.mark.parametrize(
    ("kind", "missing", "engine"),
    [
        ("pytorch", (), "jobset"),
        ("pytorch", ("jobset",), "trainjob"),
        ("pytorch", ("jobset", "trainer"), "pytorchjob"),
        ("pytorch", ("jobset", "trainer", "kubeflow.org/v1"), "job"),
        ("command", (), "jobset"),
        ("command", ("jobset",), "job"),
        ("ray", (), "rayjob"),
        ("ray", ("ray.io",), "jobset"),
        ("ray", ("ray.io", "jobset"), "job"),
    ],
)
def test_the_best_engine_that_is_there(kind: Any, missing: tuple[str, ...], engine: str) -> None:
    there = facts(served=frozenset(each for each in ALL if not each.startswith(missing)) if missing else ALL, runtimes=TORCH)
    assert choose(kind, there).value == engine
    assert choose(kind, there, "auto").value == engine


def test_engines_can_be_forced_where_they_are() -> None:
    assert choose("pytorch", facts(), "job") is Engine.JOB
    assert choose("ray", facts(), "pytorchjob") is Engine.RAYJOB
    assert choose("command", facts(), array=True) is Engine.JOB
    with pytest.raises(UsageError) as caught:
        choose("pytorch", facts(served=frozenset({"kubeflow.org/v1"})), "jobset")
    assert caught.value.code == "engine-missing"
    assert caught.value.message == "cannot use engine jobset on res-a: JobSet is not installed there"
    assert caught.value.cause == "the cluster does not serve jobset.x-k8s.io/v1alpha2; it has pytorchjob, job"
    with pytest.raises(UsageError, match="Indexed Job"):
        choose("command", facts(), "jobset", array=True)
    assert available(facts(served=frozenset())) == (Engine.JOB,)


def test_a_trainer_without_a_runtime_for_torch_is_no_trainer() -> None:
    without = facts(served=ALL - {"jobset.x-k8s.io/v1alpha2"}, runtimes=())
    assert choose("pytorch", without) is Engine.PYTORCHJOB
    with pytest.raises(UsageError, match="no runtime for torch"):
        rendered(JobSpec(kind="pytorch", script="t.py"), Engine.TRAINJOB, cluster=without)
    with pytest.raises(UsageError, match="no runtime mine") as caught:
        rendered(JobSpec(kind="pytorch", script="t.py"), Engine.TRAINJOB, settings=Settings(runtime="mine"))
    assert caught.value.cause == "runtimes there: deepspeed-distributed, torch-distributed"


base_names = st.from_regex(rf"\A[a-z0-9]([a-z0-9-]{{0,{LONGEST_BASE - 2}}}[a-z0-9])?\Z")


@settings(max_examples=100, deadline=None)
@given(
    base=base_names,
    request=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128),
    attempt=st.integers(1, 999),
)
def test_names_are_valid_with_every_tail(base: str, request: str, attempt: int) -> None:
    name = names.job_name(base, request)
    assert names.job_name(base, request) == name != names.job_name(base, request, turn=1)
    assert re.fullmatch(r"[0-9a-f]{12}", names.job_id(request))
    found = names.object_name(name, attempt)
    assert DNS_LABEL.match(found)
    assert len(found) <= names.LONGEST
    assert DNS_LABEL.match(f"{found}-worker-0-9999-xxxxx")
    assert found != names.object_name(name, attempt + 1)


@settings(max_examples=100, deadline=None)
@given(user=st.text(max_size=100), team=st.one_of(st.none(), st.text(max_size=100)))
def test_labels_are_valid_whoever_it_is(user: str, team: str | None) -> None:
    objects = rendered(JobSpec(command=("true",)), Engine.JOB, user=user, team=team)
    for each in objects:
        assert all(LABEL_VALUE.match(value) for value in each["metadata"]["labels"].values())
    tolerated = templates(objects[-1])[0]["spec"]["tolerations"]
    assert all(LABEL_VALUE.match(each.get("value", "")) for each in tolerated)


@given(text=st.text(alphabet="$()AB x{}", max_size=30))
def test_text_goes_through_the_kubelet_unchanged(text: str) -> None:
    assert expanded(literal(text), {"A": "1", "AB": "2", "": "3"}) == text


@pytest.mark.parametrize("case", CASES)
def test_every_object_says_whose_it_is(case: str) -> None:
    spec, engine, changes = CASES[case]
    objects = rendered(spec, engine, **changes)
    own = [each for each in objects if not each["metadata"]["name"].startswith("gpuctl-code-")]
    for each in objects:
        assert each["metadata"]["labels"][names.MANAGED_BY] == "gpuctl"
        assert each["metadata"]["namespace"] == "lab"
    for each in [*own, *templates(objects[-1])]:
        labels = each["metadata"]["labels"]
        assert labels[names.JOB] == "llama-k3f9"
        assert labels[names.JOB_ID] == "0123456789ab"
        assert labels["project"] == "world-model"
    assert msgspec.json.decode(objects[-1]["metadata"]["annotations"][names.SPEC], type=JobSpec) == spec


@pytest.mark.parametrize("case", CASES)
def test_no_secret_and_nothing_of_the_submitters_shell_is_shown(case: str) -> None:
    spec, engine, changes = CASES[case]
    objects = rendered(spec, engine, **changes)
    shown = msgspec.json.encode([each for each in objects if each["kind"] != "Secret"]).decode()
    assert "value of" not in shown
    assert "submitter's shell" not in shown
    assert "f" * 64 not in shown


@pytest.mark.parametrize("case", CASES)
def test_world_size_never_comes_without_rank(case: str) -> None:
    spec, engine, changes = CASES[case]
    env = main_env(rendered(spec, engine, **changes))
    assert "WORLD_SIZE" not in env
    if engine in (Engine.TRAINJOB, Engine.PYTORCHJOB):
        assert not [name for name in env if name.startswith(("PET_N", "PET_M", "MASTER_"))]
    if engine is Engine.TRAINJOB:
        assert not [name for name in env if name.startswith("PET_")]


@pytest.mark.parametrize("case", CASES)
def test_pods_never_start_again_by_themselves(case: str) -> None:
    spec, engine, changes = CASES[case]
    objects = rendered(spec, engine, **changes)
    for pods in templates(objects[-1]):
        assert pods["spec"]["restartPolicy"] == "Never"
        if pods["metadata"]["labels"][names.PART] == names.SUBMITTER:
            continue  # it ends when Ray does
        assert pods["spec"].get("activeDeadlineSeconds") == spec.time_seconds
        assert {"name": "shm", "emptyDir": {"medium": "Memory"}} in pods["spec"]["volumes"]
        mounted = {each["name"] for container in pods["spec"]["containers"] for each in container["volumeMounts"]}
        assert mounted == {each["name"] for each in pods["spec"]["volumes"]}
    assert "preRunningDeadlineSeconds" not in str(objects)


def test_a_gang_is_all_or_nothing() -> None:
    spec = JobSpec(kind="pytorch", nodes=4, gpus=8, script="t.py", time="6h")
    made = the(rendered(spec, Engine.JOB), "Job")["spec"]
    assert made["podFailurePolicy"] == {"rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
    assert (made["backoffLimit"], made["completions"], made["parallelism"]) == (0, 4, 4)
    assert "activeDeadlineSeconds" not in made
    again = the(rendered(msgspec.structs.replace(spec, requeue=True), Engine.JOBSET), "JobSet")["spec"]["failurePolicy"]
    assert again["maxRestarts"] == 0
    assert again["rules"][0]["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    message = "Pod lab/llama-0-x has condition DisruptionTarget matching FailJob rule at index 0"
    assert re.search(again["rules"][0]["onJobFailureMessagePatterns"][0], message)


def test_an_array_goes_on_when_tasks_fail() -> None:
    made = the(rendered(JobSpec(command=("x",), array=ArraySpec(last=99, parallel=8)), Engine.JOB), "Job")["spec"]
    assert (made["completions"], made["parallelism"], made["backoffLimitPerIndex"], made["maxFailedIndexes"]) == (100, 8, 0, 100)
    assert "backoffLimit" not in made
    assert "podFailurePolicy" not in made


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (JobSpec(command=("x",), nodes=2, array=ArraySpec(last=3)), "bad-array"),
        (JobSpec(kind="ray", script="x", array=ArraySpec(last=3)), "bad-array"),
        (JobSpec(command=("x",), array=ArraySpec(last=100_000)), "array-too-long"),
        (JobSpec(command=("x",), env={"BIG": "x" * 200_000}), "spec-too-large"),
        (JobSpec(stdin_script="x" * 1_000_000), "spec-too-large"),
        (JobSpec(command=("x",), pod_patch="spec: ["), "bad-pod-patch"),
        (JobSpec(command=("x",), pod_patch="spec: {containers: [{name: other, image: x}, {$patch: replace}]}"), "bad-pod-patch"),
        (JobSpec(command=("x",), queue="nope"), "queue-missing"),
    ],
)
def test_what_cannot_be_objects_is_refused(spec: JobSpec, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        rendered(spec, Engine.JOB)
    assert caught.value.code == code


def test_a_spec_that_is_too_long_to_note_is_cut_where_the_pods_have_it_anyway() -> None:
    spec = JobSpec(stdin_script="echo " + "x" * 200_000)
    objects = rendered(spec, Engine.JOB)
    notes = objects[-1]["metadata"]["annotations"]
    assert notes[names.SPEC_CUT] == "stdinScript"
    assert len(notes[names.SPEC]) < 1000
    (own,) = [each for each in objects if each["kind"] == "Secret" and each["metadata"]["name"] == "llama-k3f9"]
    assert base64.b64decode(own["data"]["gpuctl-script"]).decode() == spec.stdin_script


def test_queues() -> None:
    spec = JobSpec(command=("x",))

    def queue(*there: str, spec: JobSpec = spec, **profile: str) -> tuple[str | None, bool]:
        made = the(rendered(spec, Engine.JOB, cluster=facts(queues=there), settings=Settings(**profile)), "Job")
        return made["metadata"]["labels"].get(names.KUEUE_QUEUE), made["spec"].get("suspend", False)

    assert queue() == (None, False)
    assert queue("one") == ("one", True)
    assert queue("one", "default") == ("default", True)
    assert queue("one", "two", queue="two") == ("two", True)
    with pytest.raises(UsageError, match="2 queues and none is the default"):
        queue("one", "two")
    held = msgspec.structs.replace(spec, hold=True)
    assert queue("one", spec=held) == (None, True)
    notes = the(rendered(held, Engine.JOB, cluster=facts(queues=("one",))), "Job")["metadata"]["annotations"]
    assert (notes[names.HELD], notes[names.QUEUE]) == ("true", "one")


def test_where_pods_may_go() -> None:
    spec = templates(rendered(EVERYTHING, Engine.JOB, cluster=facts(queues=("gpus",)))[-1])[0]["spec"]
    assert spec["nodeSelector"] == {"gpuctl.io/tier": "reserved"}
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-H100-80GB-HBM3"]}]
    assert [each["values"] for each in term["matchFields"]] == [["gpu-7"], ["gpu-9"]]
    assert {"key": "gpuctl.io/owner", "operator": "Equal", "value": "team-a", "effect": "NoSchedule"} in spec["tolerations"]
    unlabelled = facts(products=(), tier_labels=False)
    mapped = Settings(gpu_map={"pool=small": "A100", "pool=big": "H100"})
    spec = templates(rendered(JobSpec(command=("x",), gpu_type="H100"), Engine.JOB, cluster=unlabelled, settings=mapped)[-1])[0]["spec"]
    assert spec["nodeSelector"] == {"pool": "big"}
    assert "affinity" not in spec


def test_amd_gpus_are_asked_for_by_their_name() -> None:
    spec = templates(rendered(JobSpec(command=("x",), gpus=2), Engine.JOB, settings=Settings(gpu_resource="amd.com/gpu"))[-1])[0]["spec"]
    assert spec["containers"][0]["resources"]["limits"]["amd.com/gpu"] == "2"
    assert spec["tolerations"][0]["key"] == "amd.com/gpu"


@given(gpus=st.integers(1, 8), cores=st.integers(1, 256), memory=st.integers(1 << 30, 4 << 40))
def test_shares_of_a_node_fit_it_together(gpus: int, cores: int, memory: int) -> None:
    node = Node(name="n", cluster="c", gpus=8, cpu_millis=cores * 1000, memory=memory)
    plain = footprint(JobSpec(command=("x",)), Engine.JOBSET, Settings())
    cpu, size = share(JobSpec(command=("x",), gpus=gpus), [node], plain)
    assert cpu is not None
    assert size is not None
    assert cpu * (8 // gpus) <= cores * 1000
    assert size * (8 // gpus) <= memory
    assert share(JobSpec(command=("x",), gpus=gpus), [], plain) == (None, None)
    assert share(JobSpec(command=("x",), gpus=gpus, cpus="3", memory="5Gi"), [node], plain) == (3000, 5 << 30)


@given(gpus=st.integers(1, 8), cores=st.integers(4, 256), memory=st.integers(16 << 30, 4 << 40))
def test_the_head_of_a_ray_fits_beside_the_shares_of_its_workers(gpus: int, cores: int, memory: int) -> None:
    node = Node(name="n", cluster="c", gpus=8, cpu_millis=cores * 1000, memory=memory)
    takes = footprint(JobSpec(kind="ray", command=("x",)), Engine.JOBSET, Settings())
    assert (takes.head_cpu_millis, takes.head_memory) == (2000, 8 << 30)
    cpu, size = share(JobSpec(kind="ray", command=("x",), gpus=gpus), [node], takes)
    assert cpu is not None
    assert size is not None
    assert cpu * (8 // gpus) + takes.head_cpu_millis <= cores * 1000
    assert size * (8 // gpus) + takes.head_memory <= memory


def test_a_ray_without_a_pod_for_its_head_asks_for_none() -> None:
    assert footprint(JobSpec(kind="ray", command=("x",)), Engine.JOB, Settings()).head_cpu_millis == 0


def test_a_head_goes_where_placement_saw_room_for_it() -> None:
    spec = JobSpec(kind="ray", command=("x",), nodes=2, gpus=8)
    there = facts(nodes=(*facts().nodes, Node(name="cpu-1", cluster="res-a", tier="reserved", cpu_millis=8000, memory=32 << 30)))

    def head(node: str | None, **changes: Any) -> dict[str, Any]:
        placed = RESERVED._replace(head=node)
        return templates(rendered(spec, Engine.JOBSET, cluster=changes.get("cluster", there), placement=placed)[-1])[0]["spec"]

    tolerated = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    beside = head("cpu-1")
    (wish,) = beside["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["preference"]["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["cpu-1"]}]
    assert tolerated not in beside["tolerations"]
    assert tolerated in head("gpu-1")["tolerations"]
    nobody_knows = head(None)
    assert tolerated in nobody_knows["tolerations"]
    assert "affinity" not in nobody_knows
    # A queue starts it some other time.
    queued = head("cpu-1", cluster=msgspec.structs.replace(there, queues=("gpus",)))
    assert "affinity" not in queued
    assert tolerated in queued["tolerations"]


@pytest.mark.parametrize(
    ("spec", "settings", "image"),
    [
        ({}, {}, "buildpack-deps:bookworm-scm"),
        ({"kind": "pytorch", "script": "train.py"}, {}, "buildpack-deps:bookworm-scm"),
        ({"kind": "ray"}, {}, "rayproject/ray:2.52.0-py312-cu128"),
        ({"image": "lab/train:1"}, {}, "lab/train:1"),
        ({}, {"image": "lab/base:1"}, "lab/base:1"),
        ({"image": "lab/train:1"}, {"git_image": "registry.example/git:2"}, "registry.example/git:2"),
        ({}, {"git_image": "registry.example/git:2"}, "registry.example/git:2"),
    ],
)
def test_what_fetches_a_repository(spec: dict[str, Any], settings: dict[str, Any], image: str) -> None:
    asked = JobSpec(**{"kind": "command", "command": ("x",), "git": SOURCE, "gpus": 8, **spec})
    objects = rendered(asked, Engine.JOB, code=FETCHED, settings=Settings(**settings))
    pod = templates(objects[-1])[0]["spec"]
    (fetching,) = [each for each in pod["initContainers"] if each["name"] == "gpuctl-code"]
    assert fetching["image"] == image
    assert pod["containers"][0]["image"] != "buildpack-deps:bookworm-scm"
    shared = any(each["name"] == "GPUCTL_POD_SHARED" for each in fetching["env"])
    assert shared == (image != pod["containers"][0]["image"])
    brought = templates(rendered(msgspec.structs.replace(asked, git=None), Engine.JOB, settings=Settings(**settings))[-1])[0]["spec"]
    assert {each["image"] for each in brought["initContainers"]} == {pod["containers"][0]["image"]}


def test_priority_classes() -> None:
    classes = Settings(priority_classes={-100: "low", 0: "normal", 100: "high"})
    assert [priority_class(value, classes) for value in (-500, -100, -1, 0, 99, 100, 1000)] == [
        "low",
        "low",
        "low",
        "normal",
        "normal",
        "high",
        "high",
    ]
    assert priority_class(5, Settings()) is None


def test_jobset_leaves_pods_alone_whose_priority_is_no_labels_value() -> None:
    classes = Settings(priority_classes={-100: "low", 0: "normal"})
    there = facts(below_zero=("gpuctl-preemptible", "low"))

    def marked(engine: Engine, *, cluster: ClusterFacts = there, **spec: Any) -> list[bool]:
        pods = templates(rendered(JobSpec(command=("x",), **spec), engine, cluster=cluster, settings=classes)[-1])
        return [names.JOBSET_NODE_SELECTOR in each["metadata"].get("annotations", {}) for each in pods]

    assert marked(Engine.JOBSET, priority=-5) == [True]
    assert marked(Engine.JOBSET, kind="ray", priority=-5, nodes=2) == [True, True]
    assert marked(Engine.JOBSET, priority=5) == [False]
    assert marked(Engine.JOB, priority=-5) == [False]
    lent = msgspec.structs.replace(there, lends=True, preemptible_class="gpuctl-preemptible")
    assert marked(Engine.JOBSET, cluster=lent, requeue=True) == [True]
    patched = "spec: {priorityClassName: low}"
    assert marked(Engine.JOBSET, pod_patch=patched) == [True]
    nobody_names_one = msgspec.structs.replace(there, below_zero=("",))
    pods = templates(rendered(JobSpec(command=("x",)), Engine.JOBSET, cluster=nobody_names_one)[-1])
    assert names.JOBSET_NODE_SELECTOR in pods[0]["metadata"]["annotations"]


def test_a_volume_is_mounted_once_however_often_it_is_named() -> None:
    spec = templates(rendered(EVERYTHING, Engine.JOB, cluster=facts(queues=("gpus",)))[-1])[0]["spec"]
    claims = {
        each["persistentVolumeClaim"]["claimName"]: each["persistentVolumeClaim"]
        for each in spec["volumes"]
        if "persistentVolumeClaim" in each
    }
    assert claims == {"data": {"claimName": "data", "readOnly": True}, "runs": {"claimName": "runs"}}
    env = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
    assert (env["GPUCTL_VOLUME_DATA"], env["GPUCTL_VOLUME_RUNS"], env["GPUCTL_CHECKPOINT_DIR"]) == (
        "/data",
        "/volumes/runs",
        "/volumes/runs/llama",
    )
    written = JobSpec(command=("x",), volumes=(VolumeMount(name="a-b", read_only=True),), logs_to="a-b")
    mounts = templates(rendered(written, Engine.JOB)[-1])[0]["spec"]["containers"][0]["volumeMounts"]
    assert mounts[-1] == {"name": "volume-a-b", "mountPath": "/volumes/a-b"}


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("rayproject/ray:2.52.0-py312-cu128", "2.52.0"),
        ("registry.example:5000/team/ray:v2.60.1", "2.60.1"),
        ("team/ray:cu128-2.55.0@sha256:0", "2.55.0"),
        ("team/ray", "2.58.0"),
        ("registry.example:5000/team/ray", "2.58.0"),
    ],
)
def test_the_version_of_ray_is_that_of_the_image(image: str, version: str) -> None:
    made = the(rendered(JobSpec(kind="ray", script="t.py", image=image), Engine.RAYJOB, settings=Settings(ray_version="2.58.0")), "RayJob")
    assert made["spec"]["rayClusterSpec"]["rayVersion"] == version
    assert made["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize(("image", "code"), [("rayproject/ray:2.40.0", "ray-too-old"), ("team/ray:latest", "ray-version-unknown")])
def test_a_ray_that_could_not_keep_strangers_out_is_refused(image: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        rendered(JobSpec(kind="ray", script="t.py", image=image), Engine.RAYJOB)
    assert caught.value.code == code


def test_a_patch_that_a_trainjob_would_lose_is_refused() -> None:
    patch = "spec: {hostNetwork: true, containers: [{name: side, image: x}]}"
    with pytest.raises(InvalidInput) as caught:
        rendered(JobSpec(kind="pytorch", script="t.py", pod_patch=patch), Engine.TRAINJOB)
    assert {problem.field for problem in caught.value.problems} == {"spec.hostNetwork", "spec.containers[1]"}


def test_what_hands_ray_its_entrypoint_goes_where_the_head_goes_and_holds_nothing() -> None:
    patch = """
        spec:
          tolerations: [{key: team, operator: Exists}]
          containers: [{name: main, resources: {limits: {nvidia.com/gpu: 8}}, securityContext: {runAsUser: 1000}}]
    """
    spec = JobSpec(kind="ray", script="t.py", gpus=8, time="1h", setup="make", pod_patch=patch)
    made = rendered(spec, Engine.RAYJOB)[-1]["spec"]
    pods = made["submitterPodTemplate"]
    (container,) = pods["spec"]["containers"]
    assert pods["metadata"]["labels"][names.PART] == names.SUBMITTER
    assert (
        pods["metadata"]["labels"].items()
        >= {names.JOB_ID: made["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"]["labels"][names.JOB_ID]}.items()
    )
    assert container["command"][2:] == ["ray-submit", made["entrypoint"]]
    assert container["resources"] == {"requests": {"cpu": "100m", "memory": "256Mi"}}
    assert container["securityContext"] == {"runAsUser": 1000}
    assert {"key": "team", "operator": "Exists"} in pods["spec"]["tolerations"]
    assert [each["name"] for each in pods["spec"]["volumes"]] == [each["name"] for each in container["volumeMounts"]] == ["gpuctl-in"]
    assert "activeDeadlineSeconds" not in pods["spec"]


def test_ray_is_gone_as_soon_as_its_job_has_ended() -> None:
    made = rendered(JobSpec(kind="ray", script="t.py"), Engine.RAYJOB)[-1]
    assert (made["spec"]["shutdownAfterJobFinishes"], made["spec"]["ttlSecondsAfterFinished"]) == (True, 0)
    assert made["metadata"]["annotations"]["ray.io/disable-provisioned-head-restart"] == "true"


def test_a_sidecar_comes_after_the_job() -> None:
    patch = "spec: {containers: [{name: side, image: x}, {name: main, env: [{name: A, value: b}]}]}"
    for engine, kind in ((Engine.JOB, "pytorch"), (Engine.RAYJOB, "ray"), (Engine.PYTORCHJOB, "pytorch")):
        objects = rendered(JobSpec(kind=kind, script="t.py", pod_patch=patch), engine)  # type: ignore[arg-type]
        for pods in templates(objects[-1]):
            if pods["metadata"]["labels"][names.PART] == names.SUBMITTER:
                assert len(pods["spec"]["containers"]) == 1  # a patch is for those that run the job
                continue
            assert [each["name"] for each in pods["spec"]["containers"]][1:] == ["side"]
            assert {"name": "A", "value": "b"} in pods["spec"]["containers"][0]["env"]


def test_a_patch_of_a_container_that_is_not_there_is_none() -> None:
    spec = JobSpec(kind="ray", script="t.py", pod_patch="spec: {containers: [{name: ray-head, resources: {requests: {cpu: 1}}}]}")
    with pytest.raises(InvalidInput, match="main, for the container that runs the job") as caught:
        rendered(spec, Engine.RAYJOB)
    assert caught.value.code == "bad-pod-patch"


def test_a_head_takes_what_a_patch_lets_it_take() -> None:
    small = "spec: {containers: [{name: main, resources: {requests: {cpu: 100m, memory: 1G}}}]}"
    usual, patched = (footprint(JobSpec(kind="ray", script="t.py", pod_patch=each), Engine.RAYJOB, Settings()) for each in (None, small))
    assert (usual.head_cpu_millis, usual.head_memory) == (2000, 8 << 30)
    assert (patched.head_cpu_millis, patched.head_memory) == (100, 10**9)


def test_pods_on_their_nodes_network_still_find_their_peers() -> None:
    spec = templates(rendered(JobSpec(command=("x",), pod_patch="spec: {hostNetwork: true}"), Engine.JOB)[-1])[0]["spec"]
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")


def test_owners() -> None:
    objects = rendered(EVERYTHING, Engine.JOB, cluster=facts(queues=("gpus",)))
    owner = {**objects[-1], "metadata": {**objects[-1]["metadata"], "uid": "u-1"}}
    owned = owned_by(objects, owner)
    assert [each["kind"] for each in owned] == [each["kind"] for each in objects[:-1]]
    for each in owned:
        (reference,) = each["metadata"]["ownerReferences"]
        assert (reference["kind"], reference["name"], reference["uid"]) == ("Job", "llama-k3f9", "u-1")
    second = {**owner, "metadata": {**owner["metadata"], "uid": "u-2"}}
    assert [each["uid"] for each in owned_by(owned, second)[0]["metadata"]["ownerReferences"]] == ["u-1", "u-2"]
    assert len(owned_by(owned, owner)[0]["metadata"]["ownerReferences"]) == 1
    assert owner_patch(owner)["metadata"]["ownerReferences"][0]["uid"] == "u-1"


def test_a_second_attempt_meets_nothing_of_the_first() -> None:
    spec, engine, changes = CASES["second-attempt"]
    assert the(rendered(spec, engine, **changes), "Job")["metadata"]["name"] == "llama-k3f9-2"
    assert main_env(rendered(spec, engine, **changes))["GPUCTL_RESUME_FROM"] == "/volumes/runs"


def test_a_ray_without_its_operator_has_a_token_of_its_own() -> None:
    spec = JobSpec(kind="ray", nodes=2, gpus=8, script="t.py")
    tokens = set()
    for _ in range(2):
        objects = rendered(spec, Engine.JOB, ray_token=None)
        (own,) = [each for each in objects if each["kind"] == "Secret" and each["metadata"]["name"] == "llama-k3f9"]
        tokens.add(base64.b64decode(own["data"]["gpuctl-ray-token"]))
    assert len(tokens) == 2
    assert main_env(objects)["RAY_AUTH_TOKEN"] == {"secretKeyRef": {"name": "llama-k3f9", "key": "gpuctl-ray-token"}}
    assert main_env(objects)["RAY_AUTH_MODE"] == "token"


def test_labels_of_a_person_never_replace_ours() -> None:
    asked = submission(JobSpec(command=("x",)), labels={names.JOB: "other", "mine": "yes"})
    labels = the(rendered(asked.spec, Engine.JOB, submission=asked), "Job")["metadata"]["labels"]
    assert (labels[names.JOB], labels["mine"]) == ("llama-k3f9", "yes")


def test_facts_are_values() -> None:
    assert ClusterFacts(name="a", namespace="b") == ClusterFacts(name="a", namespace="b")
    assert not ClusterFacts(name="a", namespace="b").serves("ray.io/v1")
