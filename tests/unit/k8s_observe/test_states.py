"""Where jobs stand: recorded objects of a real API server, and the statuses of operators that it does not run."""

from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from gpuctl.clusters.kubernetes import names, record
from gpuctl.clusters.kubernetes.observe import gather, translate
from gpuctl.clusters.kubernetes.observe.objects import Root
from gpuctl.clusters.kubernetes.observe.translate import Subject
from gpuctl.clusters.kubernetes.observe.translate_root import indexes
from gpuctl.clusters.kubernetes.record import End
from gpuctl.model.job import Exit, Job, State
from gpuctl.model.spec import ArraySpec, JobSpec
from gpuctl.policy.explain import explain
from tests.unit.k8s_observe.made import PLACE, ended, pod, recorded, root

LATER = datetime(2026, 3, 1, 13, tzinfo=timezone.utc)


def shown(subject: Subject) -> Job:
    return translate.job(subject, PLACE, whole=True)


def codes(subject: Subject, now: datetime = LATER) -> list[str]:
    return [one.code for one in translate.evidence(subject, PLACE, now=now)]


@pytest.mark.parametrize(
    ("name", "state", "quick"),
    [
        ("gang-running", State.RUNNING, State.RUNNING),
        ("gang-succeeded", State.SUCCEEDED, State.SUCCEEDED),
        ("gang-failed", State.FAILED, State.FAILED),
        ("cancelled", State.CANCELLED, State.CANCELLED),
        ("evicted", State.LOST, State.LOST),
        ("unschedulable", State.QUEUED, State.QUEUED),
        ("image", State.STARTING, State.QUEUED),
        ("array-going", State.RUNNING, State.RUNNING),
        ("array-failed", State.FAILED, State.FAILED),
        ("quota", State.QUEUED, State.QUEUED),
    ],
)
def test_recorded_states_with_and_without_pods(name: str, state: State, quick: State) -> None:
    subject = recorded(name)
    assert shown(subject).state is state
    bare = Subject(root=subject.root)
    assert translate.job(bare, PLACE, whole=False).state is quick
    assert (state is quick) or translate.needs_pods(subject.root)


@pytest.mark.parametrize("name", ["gang-running", "gang-succeeded", "gang-failed", "cancelled", "evicted", "array-failed"])
def test_what_the_object_settles_needs_no_pods(name: str) -> None:
    assert not translate.needs_pods(recorded(name).root)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gang-failed", "exit-code"),
        ("cancelled", "cancelled"),
        ("evicted", "evicted"),
        ("unschedulable", "capacity"),
        ("image", "image-pull"),
        ("quota", "quota"),
    ],
)
def test_recorded_reasons(name: str, reason: str) -> None:
    subject = recorded(name)
    seen = translate.evidence(subject, PLACE, now=LATER)
    assert explain(shown(subject), seen, LATER).reason.code == reason


def test_a_running_gang_has_its_nodes_and_ranks() -> None:
    job = shown(recorded("gang-running"))
    (attempt,) = job.attempts
    assert [each.ranks for each in attempt.pods] == [(0,), (1,)]
    assert {each.node for each in attempt.pods} <= {f"h100-{number}" for number in range(4)}
    assert [event.what for event in job.timeline] == ["submitted", "starting", "running"]
    assert not job.verified


def test_times_never_go_back() -> None:
    for name in ("gang-succeeded", "gang-failed", "cancelled", "evicted"):
        job = shown(recorded(name))
        assert job.ended_at is not None
        assert job.submitted_at <= (job.started_at or job.submitted_at) <= job.ended_at
        assert [event.at for event in job.timeline] == sorted(event.at for event in job.timeline)


def test_an_array_counts_its_tasks() -> None:
    going, failed = shown(recorded("array-going")), shown(recorded("array-failed"))
    assert going.tasks is not None
    assert going.tasks.total == 5
    assert failed.tasks is not None
    assert (failed.tasks.failed, failed.tasks.total) == (5, 5)
    assert {attempt.task for attempt in failed.attempts} == {5, 6, 7, 8, 9}
    assert all(attempt.exit == Exit(code=1) for attempt in failed.attempts)


@pytest.mark.parametrize(("text", "numbers"), [("", set()), ("0", {0}), ("0-2,7", {0, 1, 2, 7}), ("3,5-6", {3, 5, 6})])
def test_index_lists(text: str, numbers: set[int]) -> None:
    assert indexes(text) == numbers


def condition(kind: str, at: str = "2026-03-01T12:30:00Z", *, status: str = "True", reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


DISRUPTED = "Pod ml/x has condition DisruptionTarget matching FailJob rule at index 0"


@pytest.mark.parametrize(
    ("kind", "body", "status", "state"),
    [
        ("JobSet", {"suspend": True}, {}, State.QUEUED),
        ("JobSet", {}, {"replicatedJobsStatus": [{"name": "node", "ready": 1}]}, State.RUNNING),
        ("JobSet", {}, {"replicatedJobsStatus": [{"name": "node", "active": 1}]}, State.QUEUED),
        ("JobSet", {}, {"conditions": [condition("Completed")], "terminalState": "Completed"}, State.SUCCEEDED),
        ("JobSet", {}, {"conditions": [condition("Failed", reason="FailedJobs")]}, State.FAILED),
        (
            "JobSet",
            {},
            {"conditions": [condition("Failed", reason="FailJobSetFailurePolicyAction", message=f"PodFailurePolicy: {DISRUPTED}")]},
            State.LOST,
        ),
        ("TrainJob", {"suspend": True}, {"conditions": [condition("Suspended")]}, State.QUEUED),
        ("TrainJob", {}, {"jobsStatus": [{"name": "node", "ready": 1}]}, State.RUNNING),
        ("TrainJob", {}, {"conditions": [condition("Complete")]}, State.SUCCEEDED),
        ("TrainJob", {}, {"conditions": [condition("Failed", reason="DeadlineExceeded")]}, State.CUT),
        ("PyTorchJob", {"runPolicy": {"suspend": True}}, {"conditions": [condition("Suspended")]}, State.QUEUED),
        ("PyTorchJob", {}, {"conditions": [condition("Running")], "replicaStatuses": {"Master": {"active": 1}}}, State.RUNNING),
        ("PyTorchJob", {}, {"conditions": [condition("Running", status="False"), condition("Succeeded")]}, State.SUCCEEDED),
        ("PyTorchJob", {}, {"conditions": [condition("Failed")]}, State.FAILED),
        ("RayJob", {}, {"jobDeploymentStatus": "Initializing"}, State.QUEUED),
        ("RayJob", {"suspend": True}, {"jobDeploymentStatus": "Suspended"}, State.QUEUED),
        ("RayJob", {}, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, State.RUNNING),
        ("RayJob", {}, {"jobDeploymentStatus": "Running", "jobStatus": "PENDING"}, State.QUEUED),
        (  # what KubeRay takes for a state while the head does not answer
            "RayJob",
            {},
            {"jobDeploymentStatus": "Running", "jobStatus": "Failure", "rayJobInfo": {"startTime": "2026-03-01T12:05:00Z"}},
            State.RUNNING,
        ),
        ("RayJob", {}, {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, State.SUCCEEDED),
        ("RayJob", {}, {"jobDeploymentStatus": "Complete", "jobStatus": "FAILED"}, State.FAILED),
        ("RayJob", {}, {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, State.CANCELLED),
        ("RayJob", {}, {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"}, State.CUT),
        ("RayJob", {}, {"jobDeploymentStatus": "ValidationFailed", "message": "bad"}, State.FAILED),
        ("Job", {}, {"conditions": [condition("Failed", reason="PodFailurePolicy", message=DISRUPTED)]}, State.LOST),
        (
            "JobSet",
            {},
            {"conditions": [condition("Failed", message="Container main for pod ml/x failed with exit code 198 matching")]},
            State.CUT,
        ),
        ("Job", {}, {"conditions": [condition("FailureTarget", reason="BackoffLimitExceeded")], "active": 1}, State.QUEUED),
    ],
)
def test_operators_statuses(kind: str, body: Any, status: Any, state: State) -> None:
    found = root(kind, spec=JobSpec(kind="pytorch", script="t.py"), body=body, status=status)
    assert shown(Subject(root=found, pods=())).state is state


def test_the_newest_condition_counts_whatever_its_place() -> None:
    conditions = [condition("Succeeded", "2026-03-01T12:40:00Z"), condition("Failed", "2026-03-01T12:30:00Z")]
    assert shown(Subject(root=root("PyTorchJob", status={"conditions": conditions}))).state is State.SUCCEEDED


def failed_after(seconds: int) -> Root:
    end = (datetime(2026, 3, 1, 12, tzinfo=timezone.utc) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"startTime": "2026-03-01T12:00:00Z", "conditions": [condition("Failed", end, reason="BackoffLimitExceeded")]}
    return root(spec=JobSpec(kind="command", command=("x",), time="10m"), status=status)


def test_a_time_limit_is_told_from_a_failure_by_the_pods() -> None:
    late = failed_after(605)
    assert translate.needs_pods(late)
    cut = pod(phase="Failed", state=ended(143), status={"reason": "DeadlineExceeded"})
    assert shown(Subject(root=late, pods=(cut,))).state is State.CUT
    assert shown(Subject(root=late, pods=(pod(phase="Failed", state=ended(1)),))).state is State.FAILED
    assert shown(Subject(root=late, pods=())).state is State.CUT
    assert shown(Subject(root=failed_after(5000), pods=())).state is State.FAILED
    assert not translate.needs_pods(failed_after(300))


def test_a_gang_runs_when_all_of_it_runs() -> None:
    found = root(spec=JobSpec(kind="command", command=("x",), nodes=2, gpus=8), body={"parallelism": 2}, status={"active": 2, "ready": 1})
    running = {"running": {"startedAt": "2026-03-01T12:00:10Z"}}
    one, two = pod(0, state=running), pod(1, phase="Pending", state={"waiting": {"reason": "ContainerCreating"}})
    assert shown(Subject(root=found, pods=(one, two))).state is State.STARTING
    assert shown(Subject(root=found, pods=(one, pod(1, state=running)))).state is State.RUNNING
    # What is left of a gang in which one rank has ended does not start again.
    assert shown(Subject(root=found, pods=(pod(0, phase="Failed", state=ended(1)),))).state is State.RUNNING


def test_pods_gone_are_told_as_such() -> None:
    status = {
        "startTime": "2026-03-01T12:00:00Z",
        "conditions": [condition("Failed", reason="BackoffLimitExceeded", message="limit reached")],
    }
    subject = Subject(root=root(status=status), pods=())
    (found,) = translate.evidence(subject, PLACE, now=LATER)
    assert (found.code, found.text) == ("lost", "its pods are gone; the controller says limit reached")


@pytest.mark.parametrize(("kind", "seen"), [("JobSet", ["operator-missing"]), ("RayJob", ["operator-missing"]), ("Job", [])])
def test_an_operator_that_does_not_act(kind: str, seen: list[str]) -> None:
    subject = Subject(root=root(kind), pods=())
    assert codes(subject) == seen
    assert codes(subject, datetime(2026, 3, 1, 12, 0, 30, tzinfo=timezone.utc)) == []


def test_a_queue_nobody_serves() -> None:
    found = root("JobSet", body={"suspend": True}, labels={names.KUEUE_QUEUE: "team-a"})
    assert codes(Subject(root=found, pods=())) == ["operator-missing"]
    assert codes(Subject(root=found, pods=(), kueue_answers=False)) == []


def test_held_and_deleted_are_told() -> None:
    assert codes(Subject(root=root(body={"suspend": True}, annotations={names.HELD: "true"}), pods=())) == ["held"]
    assert codes(Subject(root=root(status={"active": 1}, deletionTimestamp="2026-03-01T12:10:00Z"), pods=())) == ["note"]


def test_a_tombstone_stands_for_the_job_that_was() -> None:
    end = End(state=State.CANCELLED, at=LATER, by="anna", submitted_at=LATER - timedelta(minutes=5), where="lab:node-a", attempts=1)
    found = root(status={"conditions": [condition("Complete")]}, annotations={record.ENDED: msgspec.json.encode(end).decode()})
    job = shown(Subject(root=found))
    assert (job.state, job.ended_at, job.started_at, job.where, job.attempt_count) == (State.CANCELLED, LATER, None, "lab:node-a", 1)
    assert not translate.needs_pods(found)
    assert codes(Subject(root=found)) == ["cancelled"]


def test_one_object_for_each_job() -> None:
    end = msgspec.json.encode(End(state=State.CANCELLED, at=LATER)).decode()
    tombstone = root(annotations={record.ENDED: end}, name="train-k3f9-ended")
    whole, second = root("JobSet"), root("JobSet", labels={names.ATTEMPT: "2"})
    below = root(ownerReferences=[{"kind": "JobSet", "uid": "root-uid", "controller": True}])
    half = root(labels={record.LAUNCHING: "true", names.JOB_ID: "other"})
    assert gather.one_each([tombstone, whole, below, half]) == [whole]
    assert gather.one_each([second, whole]) == [second]
    assert gather.one_each([tombstone, below]) == [tombstone]
    going = root("JobSet", body={"suspend": True}, deletionTimestamp="2026-03-01T12:10:00Z")
    assert gather.one_each([going, tombstone]) == [tombstone]
    stopping = root("JobSet", deletionTimestamp="2026-03-01T12:10:00Z")
    assert gather.one_each([tombstone, stopping]) == [stopping]


def test_a_newer_gpuctls_job_is_still_shown() -> None:
    newer = '{"kind":"pytorch","script":"t.py","nodes":2,"gpus":8,"hologram":true,"array":{"first":0,"last":3,"shuffle":"yes"}}'
    found = root(annotations={names.SPEC: newer, record.RECORD: '{"digest":"x","future":[1]}'})
    job = shown(Subject(root=found, pods=()))
    assert (job.spec.script, job.spec.nodes, job.spec.array) == ("t.py", 2, ArraySpec(first=0, last=3))
    assert codes(Subject(root=found, pods=())) == ["note"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"nodes":"many","gpus":8}'])
def test_a_spec_that_cannot_be_read_hides_nothing(text: str) -> None:
    job = shown(Subject(root=root(annotations={names.SPEC: text}), pods=()))
    assert job.name == "train-k3f9"
    assert job.spec.nodes == 1
    assert job.spec.gpus == (8 if "gpus" in text else 1)


def test_jobset_restarts_are_attempts() -> None:
    found = root("JobSet", status={"restarts": 2, "replicatedJobsStatus": [{"name": "node", "ready": 1}]})
    restarted = pod(state={"running": {"startedAt": "2026-03-01T12:20:00Z"}}, labels={names.JOBSET_RESTARTS: "2"})
    job = shown(Subject(root=found, pods=(restarted,)))
    assert (job.attempt_count, [each.number for each in job.attempts]) == (3, [1, 2, 3])
    assert translate.job(Subject(root=found), PLACE, whole=False).attempt_count == 3


def test_ray_tells_its_code_in_words() -> None:
    message = "Job entrypoint command failed with exit code 3, last available logs (truncated to 20,000 chars):"
    found = root(
        "RayJob",
        spec=JobSpec(kind="ray", script="t.py"),
        status={"jobDeploymentStatus": "Complete", "jobStatus": "FAILED", "message": message},
    )
    subject = Subject(root=found, pods=())
    assert shown(subject).exit == Exit(code=3)
    assert codes(subject) == ["exit-code"]
