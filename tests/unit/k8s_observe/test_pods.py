"""What pods say: how they ended, who ended them, what they wait for."""

from datetime import datetime, timezone
from typing import Any

import msgspec
import pytest

from gpuctl.clusters.kubernetes.manifests import environment
from gpuctl.clusters.kubernetes.observe import translate, translate_pods
from gpuctl.clusters.kubernetes.observe.translate import Subject
from gpuctl.clusters.kubernetes.observe.translate_container import CUT_STATUS, pull_code
from gpuctl.kube.objects.core import Event
from gpuctl.kube.objects.pods import Pod
from gpuctl.model.job import Exit, State
from gpuctl.model.reason import Evidence
from gpuctl.model.spec import JobSpec
from gpuctl.policy.explain import explain
from tests.unit.k8s_observe.made import PLACE, ended, event, pod, root

SPEC = JobSpec(kind="command", command=("x",), nodes=2, gpus=8)


def said(*pods: Pod, events: tuple[Event, ...] = (), spec: JobSpec = SPEC, waits: bool = True) -> list[Evidence]:
    read = translate_pods.read(pods, spec)
    return list(translate_pods.evidence(read, spec=spec, events=events, namespace="ml", gpu_resource="nvidia.com/gpu", waits=waits))


@pytest.mark.parametrize(
    ("state", "code", "data"),
    [
        (ended(1), "exit-code", {"code": "1"}),
        (ended(137, reason="OOMKilled"), "oom-killed", {"limit": str(64 << 30)}),
        (ended(137), "signal", {"signal": "9"}),
        (ended(139), "signal", {"signal": "11"}),
        (
            ended(128, reason="StartError", message='failed to create shim: exec: "trian.py": executable file not found in $PATH: unknown'),
            "start-failed",
            {},
        ),
        (ended(127), "exit-code", {"code": "127"}),
    ],
)
def test_ends(state: Any, code: str, data: dict[str, str]) -> None:
    (found,) = said(pod(phase="Failed", state=state, limits={"memory": "64Gi"}), waits=False)
    assert (found.code, found.data, found.rank, found.node) == (code, data, 0, "node-a")


def test_a_start_that_failed_tells_the_runtimes_last_words() -> None:
    message = 'failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: "trian.py": executable file not found in $PATH: unknown'  # noqa: E501
    (found,) = said(pod(phase="Failed", state=ended(128, reason="StartError", message=message)))
    assert found.text == 'exec: "trian.py": executable file not found in $PATH'


RUNS = {"running": {"startedAt": "2026-03-01T12:00:10Z"}}


def readiness(answer: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": answer, "reason": "ContainersNotReady"}]}


def probed(probe: str, *, code: int = 500, count: int = 9, at: str = "2026-03-01T12:05:00Z") -> Event:
    told = event("Unhealthy", f"{probe} probe failed: HTTP probe failed with statuscode: {code}", at=at, count=count)
    return msgspec.structs.replace(told, first_timestamp=datetime(2026, 3, 1, 12, 1, tzinfo=timezone.utc))


def test_a_probe_that_fails_is_told_while_the_pod_is_not_ready() -> None:
    events = (probed("Readiness", code=503, at="2026-03-01T12:03:00Z"), probed("Readiness"), event("Unhealthy", "x", about="pod-1"))
    going = pod(state=RUNS, status=readiness("False"))
    (found,) = said(going, events=events)
    assert (found.code, found.rank, found.node, found.text.rpartition(" ")[2]) == ("unhealthy", 0, "node-a", "500")
    assert found.data == {"times": "9", "since": "1772366460"}
    job = msgspec.structs.replace(translate.job(Subject(root=root(), pods=(going,)), PLACE, whole=True), state=State.RUNNING)
    (also,) = explain(job, [found], datetime(2026, 3, 1, 12, 6, tzinfo=timezone.utc)).also
    assert also.sentence == (
        "rank 0 on node-a is not ready: Readiness probe failed: HTTP probe failed with statuscode: 500 (9 times in 4m00s, last 1m00s ago)"
    )
    assert said(pod(state=RUNS, status=readiness("True")), events=events) == []  # it has come up since
    assert said(pod(state=RUNS), events=events) == []  # nobody says that it is not


def test_a_probe_that_ended_a_pod_is_told_beside_its_end() -> None:
    over = pod(phase="Failed", state=ended(137), status=readiness("False"))
    found = said(over, events=(probed("Liveness"), probed("Readiness")), waits=False)
    assert [(one.code, one.data.get("fatal")) for one in found] == [("signal", None), ("unhealthy", "yes")]
    well = pod(phase="Succeeded", state=ended(0), status=readiness("False"))
    assert said(well, events=(probed("Liveness"),), waits=False) == []


def test_a_good_end_says_nothing() -> None:
    assert said(pod(phase="Succeeded", state=ended(0, reason="Completed"))) == []


def test_a_crash_loop_is_unmasked() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}
    (found,) = said(pod(state=waiting, last=ended(3), restarts=7))
    assert (found.code, found.data) == ("exit-code", {"code": "3", "restarts": "7"})


def test_of_several_ranks_in_a_pod_none_is_blamed() -> None:
    torch = JobSpec(kind="pytorch", script="t.py", nodes=2, gpus=8)
    (found,) = said(pod(1, phase="Failed", state=ended(1)), spec=torch)
    assert (found.rank, found.node) == (None, "node-a")
    read = translate_pods.read([pod(1)], torch)
    assert read[0].ranks == tuple(range(8, 16))


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        ({"reason": "Evicted", "message": "The node was low on resource: memory. Threshold quantity: 100Mi"}, "evicted", "memory"),
        ({"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}, "evicted", "disk"),
        (
            {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the total limit of containers 10Gi."},
            "evicted",
            "disk",
        ),
        ({"reason": "Preempting", "message": "Preempted in order to admit critical pod"}, "evicted", "preempted"),
        ({"reason": "NodeShutdown", "message": "Pod was terminated in response to imminent node shutdown."}, "node-lost", None),
        ({"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"}, "time-limit", None),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}, "evicted", "preempted"),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]}, "node-lost", None),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}]}, "node-lost", None),
        (
            {
                "conditions": [
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "EvictionByEvictionAPI",
                        "message": "Eviction API: evicting for window night",
                    }
                ]
            },
            "evicted",
            "window",
        ),
    ],
)
def test_who_took_it_away(status: Any, code: str, cause: str | None) -> None:
    found = said(pod(phase="Failed", state=ended(137), status=status))
    assert found[0].code == code
    assert found[0].data.get("cause") == cause


def test_the_limits_own_signal_is_no_second_cause() -> None:
    found = said(pod(phase="Failed", state=ended(143), status={"reason": "DeadlineExceeded"}))
    assert [one.code for one in found] == ["time-limit"]


def test_the_others_of_a_failed_gang_are_not_blamed() -> None:
    killed = pod(1, phase="Failed", state=ended(143, at="2026-03-01T12:10:05Z"), deletionTimestamp="2026-03-01T12:10:31Z")
    found = said(pod(0, phase="Failed", state=ended(1)), killed)
    assert [(one.code, one.rank) for one in found] == [("exit-code", 0)]


def test_a_pod_deleted_by_hand_is_lost() -> None:
    found = said(pod(0, phase="Failed", state=ended(143, at="2026-03-01T12:10:05Z"), deletionTimestamp="2026-03-01T12:10:31Z"))
    assert [(one.code, one.text) for one in found] == [("lost", "its pod was deleted")]


def test_a_rank_that_failed_before_its_deletion_is_blamed() -> None:
    found = said(pod(0, phase="Failed", state=ended(1), deletionTimestamp="2026-03-01T12:20:00Z"))
    assert [one.code for one in found] == ["exit-code"]


def waiting(reason: str, message: str) -> Pod:
    return pod(phase="Pending", state={"waiting": {"reason": reason, "message": message}})


@pytest.mark.parametrize(
    ("reason", "message", "code"),
    [
        ("ErrImagePull", 'failed to resolve reference "docker.io/lab/x:9": docker.io/lab/x:9: not found', "image-missing"),
        ("ErrImagePull", "rpc error: code = NotFound desc = manifest unknown: manifest unknown", "image-missing"),
        ("InvalidImageName", 'Failed to apply default image tag "lab/x::": couldn\'t parse image name', "image-missing"),
        ("ErrImageNeverPull", 'Container image "x" is not present with pull policy of Never', "image-missing"),
        ("ErrImagePull", "failed to authorize: failed to fetch anonymous token: 401 Unauthorized", "image-auth"),
        (
            "ErrImagePull",
            "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope",
            "image-auth",
        ),
        ("ErrImagePull", "toomanyrequests: You have reached your pull rate limit", "image-rate-limit"),
        ("ErrImagePull", "dial tcp 10.0.0.1:443: i/o timeout", "image-pull"),
    ],
)
def test_pulls(reason: str, message: str, code: str) -> None:
    assert pull_code(reason, message) == code
    (found,) = said(waiting(reason, message))
    assert (found.code, found.data["image"]) == (code, "lab/train:1")


def test_while_backing_off_events_remember_what_the_registry_said() -> None:
    events = (
        event("Failed", 'Failed to pull image "lab/train:1": 429 Too Many Requests'),
        event("Failed", "Error: ErrImagePull"),
        event("Pulling", 'Pulling image "lab/train:1"', count=4, kind="Normal"),
    )
    (found,) = said(waiting("ImagePullBackOff", 'Back-off pulling image "lab/train:1"'), events=events)
    assert (found.code, found.data["tries"]) == ("image-rate-limit", "4")


@pytest.mark.parametrize(
    ("message", "code", "data"),
    [
        ('secret "hf" not found', "secret-missing", {"name": "hf", "namespace": "ml"}),
        ('configmap "conf" not found', "config-missing", {"name": "conf", "namespace": "ml"}),
        ("couldn't find key token in Secret ml/hf", "secret-missing", {"key": "token", "namespace": "ml", "name": "hf"}),
        ("couldn't find key lr in ConfigMap ml/conf", "config-missing", {"key": "lr", "namespace": "ml", "name": "conf"}),
    ],
)
def test_what_the_container_lacks(message: str, code: str, data: dict[str, str]) -> None:
    (found,) = said(waiting("CreateContainerConfigError", message))
    assert (found.code, found.data) == (code, data)


def test_mounts_fail_after_the_bind_only() -> None:
    volumes = [{"name": "volume-data", "persistentVolumeClaim": {"claimName": "data"}}]
    stuck = pod(phase="Pending", state={"waiting": {"reason": "ContainerCreating"}}, volumes=volumes)
    old = event("FailedMount", 'MountVolume.SetUp failed for volume "volume-data"', at="2026-03-01T11:59:00Z")
    assert said(stuck, events=(old,)) == []
    new = event("FailedAttachVolume", 'Multi-Attach error for volume "pvc-12" Volume is already used', at="2026-03-01T12:01:00Z")
    (found,) = said(stuck, events=(old, new))
    assert (found.code, found.data) == ("volume-mount", {"volume": "pvc-12"})
    named = event("FailedMount", "Unable to attach or mount volumes: unmounted volumes=[volume-data]: timed out")
    (found,) = said(stuck, events=(named,))
    assert found.data == {"volume": "data"}


def test_a_mount_of_a_missing_secret_is_a_missing_secret() -> None:
    stuck = pod(phase="Pending", state={"waiting": {"reason": "PodInitializing"}})
    (found,) = said(stuck, events=(event("FailedMount", 'MountVolume.SetUp failed for volume "gpuctl-in" : secret "code" not found'),))
    assert (found.code, found.data["name"]) == ("secret-missing", "code")


def test_peers_that_never_came() -> None:
    state = ended(75, message="gang-incomplete: 2 of 4 nodes did not start within 1800 s (node 2 3)\n")
    (found,) = said(pod(phase="Failed", init=[{"name": "gpuctl-gang", "state": state}]))
    assert (found.code, found.data) == ("rendezvous-timeout", {"joined": "2", "expected": "4", "seconds": "1800"})


def test_code_that_could_not_be_unpacked() -> None:
    message = "code-unpacked: the code could not be unpacked into /gpuctl/work"
    (found,) = said(pod(phase="Failed", init=[{"name": "gpuctl-code", "state": ended(74, message=message)}]))
    assert (found.code, found.text, found.data) == ("start-failed", "the code could not be unpacked into /gpuctl/work", {"what": "code"})
    (found,) = said(pod(phase="Failed", init=[{"name": "gpuctl-code", "state": ended(2)}]))
    assert (found.code, found.text) == ("start-failed", "gpuctl-code ended with 2")


def test_a_setup_that_failed() -> None:
    (found,) = said(pod(phase="Failed", state=ended(3, message="setup-failed: setup ended with 3")))
    assert (found.code, found.data) == ("setup-failed", {"code": "3"})


def test_the_in_pod_programs_word_for_a_time_limit() -> None:
    assert CUT_STATUS == environment.CUT_STATUS
    (found,) = said(pod(phase="Failed", state=ended(CUT_STATUS)))
    assert found.code == "time-limit"


def test_the_exit_is_that_of_who_failed_first_by_itself() -> None:
    first = pod(0, phase="Failed", state=ended(7, at="2026-03-01T12:10:00Z"))
    killed = pod(1, phase="Failed", state=ended(137, at="2026-03-01T12:09:59Z"), deletionTimestamp="2026-03-01T12:10:20Z")
    assert translate_pods.exit_of(translate_pods.read([first, killed], SPEC)) == Exit(code=7)


def test_ray_numbers_its_head_before_its_workers() -> None:
    ray = JobSpec(kind="ray", script="t.py", nodes=2, gpus=8)
    head = pod(0, labels={"gpuctl.io/part": "head"})
    worker = pod(0, labels={"gpuctl.io/part": "worker"})
    assert [(each.node_index, each.ranks) for each in translate_pods.read([worker, head], ray)] == [(0, (0,)), (1, ())]
