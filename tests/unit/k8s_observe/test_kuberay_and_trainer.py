"""Objects as KubeRay 1.7 (with Ray 2.60) and Kubeflow Trainer 2.3 on a real node left them."""

import dataclasses
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from gpuctl.clusters.kubernetes import names, targets
from gpuctl.clusters.kubernetes.explaining import said
from gpuctl.clusters.kubernetes.observe import translate
from gpuctl.clusters.kubernetes.observe.objects import Root
from gpuctl.clusters.kubernetes.observe.translate import Subject
from gpuctl.kube.objects.core import Event
from gpuctl.model.job import Exit, Job, State
from gpuctl.model.spec import JobSpec
from tests.unit.k8s_observe.made import PLACE, recorded, root

NOW = datetime(2026, 11, 29, 1, 0, tzinfo=timezone.utc)
LIMIT = JobSpec(kind="ray", script="tune.py", gpus=0, time="90s")


def job(subject: Subject) -> Job:
    return translate.job(subject, PLACE, whole=True)


def told(subject: Subject) -> list[tuple[str, str]]:
    return [(one.code, one.text) for one in translate.evidence(subject, PLACE, now=NOW)]


def voices(subject: Subject) -> list[tuple[str, tuple[int, ...]]]:
    found = targets.all_of(translate.parts(subject), namespace="default")
    return [(each.name.removeprefix(subject.name + "-"), each.ranks) for each in found]


def ray(**status: Any) -> Root:
    """A RayJob as the recorded one, with another status."""
    return msgspec.structs.replace(recorded("rayjob-cut").root, status=msgspec.convert(status, type(Root().status)))


def test_ray_starts_and_its_head_says_nothing_for_the_program() -> None:
    subject = recorded("rayjob-initializing")
    assert job(subject).state is State.STARTING
    assert [ranks for _, ranks in voices(subject)] == [(), (), ()]


def test_ray_runs_where_its_program_runs() -> None:
    subject = recorded("rayjob-running")
    found = job(subject)
    assert found.state is State.RUNNING
    assert found.started_at == datetime(2026, 11, 29, 0, 50, 57, tzinfo=timezone.utc)  # when Ray started it, not when pods came
    assert [pod.ranks for pod in found.attempts[-1].pods] == [(0,), (), ()]
    assert voices(subject)[0] == ("rlwqt", (0,))
    assert job(dataclasses.replace(subject, pods=None)).started_at == found.started_at


def test_pods_that_run_are_not_yet_the_program() -> None:
    subject = recorded("rayjob-running")
    status = msgspec.structs.replace(subject.root.status, job_status="PENDING", ray_job_info=None)
    assert job(dataclasses.replace(subject, root=msgspec.structs.replace(subject.root, status=status))).state is State.STARTING


def test_what_is_left_of_a_program_that_failed() -> None:
    subject = recorded("rayjob-failed")
    found = job(subject)
    assert (found.state, found.exit) == (State.FAILED, Exit(code=3))
    assert [code for code, _ in told(subject)] == ["exit-code"]
    assert [ranks for _, ranks in voices(subject)] == [(0,)]  # Ray is gone, who handed it the program is not
    assert [event.what for event in found.timeline] == ["submitted", "running", "ended"]


@pytest.mark.parametrize("name", ["rayjob-failed", "rayjob-cut"])
def test_nodes_that_nobody_recorded_are_none_and_no_riddle(name: str) -> None:
    """The pods of Ray go at the end, and with them the names of their nodes; only where its output went too, something is lost."""
    subject = recorded(name)
    assert [each.pods for each in job(subject).attempts] == [()]
    (vanished,) = job(dataclasses.replace(subject, pods=())).attempts
    assert [(pod.node, pod.ranks) for pod in vanished.pods] == [("", (0,))]


def test_the_last_lines_that_ray_keeps_tell_why() -> None:
    message = (
        "Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):\n"
        "Traceback (most recent call last):\n"
        '  File "/gpuctl/work/code/tune.py", line 3, in <module>\n'
        "    1 / 0\n"
        "ZeroDivisionError: division by zero\n"
    )
    status = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": message}
    found = said(translate.parts(Subject(root=ray(**status), pods=())))
    assert [one.text for one in found if "ZeroDivisionError" in one.text]


def test_a_limit_that_ends_the_pods_is_no_failure() -> None:
    subject = recorded("rayjob-cut")
    found = job(subject)
    assert (found.state, found.exit) == (State.CUT, None)
    assert [code for code, _ in told(subject)] == ["time-limit"]


def test_a_limit_is_told_by_time_where_ray_was_gone_before_it_could_say_so() -> None:
    """As KubeRay left a job whose head was killed at its limit: it knew only that nobody answered any more."""
    begun = datetime(2026, 11, 29, 0, 27, tzinfo=timezone.utc)

    def after(seconds: int) -> Root:
        status = {
            "jobDeploymentStatus": "Failed",
            "jobStatus": "FAILED",
            "reason": "JobDeploymentStatusTransitionGracePeriodExceeded",
            "message": "The RayJob submitter finished at 2026-11-29 00:27:48 but the ray job did not reach terminal state within 30s",
            "startTime": begun.isoformat(),
            "rayJobInfo": {"startTime": (begun + timedelta(seconds=50)).isoformat()},
            "endTime": (begun + timedelta(seconds=seconds)).isoformat(),
        }
        return root("RayJob", spec=LIMIT, status=status)

    assert job(Subject(root=after(96), pods=())).state is State.CUT
    early = Subject(root=after(70), pods=())
    assert job(early).state is State.FAILED
    assert [code for code, _ in told(early)] == ["lost"]
    assert "Ray was gone before the program had ended" in told(early)[0][1]


def test_a_setup_that_failed_somewhere_is_named() -> None:
    message = (
        "Job entrypoint command failed with exit code 4, last available logs (truncated to 20,000 chars):\n"
        "gpuctl: setup ended with 4 on 10.244.0.7\n"
    )
    status = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": message}
    (one,) = translate.evidence(Subject(root=ray(**status), pods=()), PLACE, now=NOW)
    assert (one.code, one.node, one.data) == ("setup-failed", "10.244.0.7", {"code": "4"})


@pytest.mark.parametrize(
    ("reason", "message", "seen"),
    [
        (
            "FailedToCreateWorkerPod",
            'Failed to create worker Pod for the cluster default/tune-g52n-4fwlc, pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1',  # noqa: E501
            ("quota", "exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1"),
        ),
        (
            "FailedToCreateWorkerPod",
            'Failed to create worker Pod for the cluster default/tune-g52n-4fwlc, Pod "tune-g52n-4fwlc-worker-worker-xql5p" is invalid: spec.containers[1].image: Required value',  # noqa: E501
            ("admission-refused", "spec.containers[1].image: Required value"),
        ),
    ],
)
def test_workers_that_nobody_can_make(reason: str, message: str, seen: tuple[str, str]) -> None:
    about = {"kind": "RayCluster", "name": "tune-g52n-4fwlc", "uid": "of the cluster"}
    event = msgspec.convert({"type": "Warning", "reason": reason, "message": message, "involvedObject": about}, Event)
    waiting = Subject(root=ray(jobDeploymentStatus="Initializing"), pods=(), events=(event,))
    assert seen in told(waiting)


def test_a_train_job_whose_runtime_starts_a_failed_rank_again() -> None:
    subject = recorded("trainjob-restarting")
    assert job(subject).state is State.RUNNING
    assert any(code == "exit-code" for code, _ in told(subject))


def test_the_limit_of_a_train_job_counts_while_its_pods_wait() -> None:
    subject = recorded("trainjob-restarting")
    waited = timedelta(minutes=20)
    (resumed,) = subject.root.status.conditions or ()
    assert resumed.last_transition_time is not None
    begun = resumed.last_transition_time - waited
    meta = subject.root.metadata
    limited = msgspec.structs.replace(JobSpec(kind="pytorch", nodes=2, gpus=0, script="train.py"), time="1h")
    notes = {**(meta.annotations or {}), names.SPEC: msgspec.json.encode(limited).decode()}
    root = msgspec.structs.replace(
        subject.root,
        metadata=msgspec.structs.replace(meta, annotations=notes, creation_timestamp=begun),
        status=msgspec.structs.replace(subject.root.status, conditions=[msgspec.structs.replace(resumed, last_transition_time=begun)]),
    )
    found = job(dataclasses.replace(subject, root=root))
    assert found.state is State.RUNNING
    assert found.ends_by == begun + timedelta(hours=1)
    assert found.started_at is not None
    assert found.started_at >= begun + waited  # its program did not run before


def test_a_train_job_at_its_deadline() -> None:
    subject = recorded("trainjob-deadline")
    assert job(subject).state is State.CUT
    assert [code for code, _ in told(subject)] == ["time-limit"]
    assert subject.root.metadata.label(names.JOB)
