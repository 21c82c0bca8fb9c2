"""Objects as JobSet 0.11, Kueue 0.14 (its v1beta1) and a real node left them."""

import dataclasses
from datetime import datetime, timezone

import msgspec
import pytest

from gpuctl.clusters.kubernetes.explaining import said
from gpuctl.clusters.kubernetes.observe import translate
from gpuctl.clusters.kubernetes.observe.translate import Subject
from gpuctl.clusters.kubernetes.observe.translate_queue import Position, inactive_queue
from gpuctl.kube.objects.meta import Condition
from gpuctl.model.job import Job, State
from gpuctl.model.reason import Evidence
from tests.unit.k8s_observe.made import PLACE, recorded

NOW = datetime(2026, 11, 28, 21, 45, tzinfo=timezone.utc)


def job(subject: Subject) -> Job:
    return translate.job(subject, PLACE, whole=True)


def evidence(subject: Subject) -> list[Evidence]:
    return list(translate.evidence(subject, PLACE, now=NOW))


def told(subject: Subject) -> list[tuple[str, str]]:
    return [(one.code, one.text) for one in evidence(subject)]


def test_a_job_set_that_waits_for_quota() -> None:
    subject = recorded("kueue-quota")
    assert job(subject).state is State.QUEUED
    assert ("quota", "quota of nvidia.com/gpu in flavor h100 is in use, 8 more needed") in told(subject)
    behind = dataclasses.replace(subject, position=Position(2, 1))
    assert ("quota", "2 ahead; quota of nvidia.com/gpu in flavor h100 is in use, 8 more needed") in told(behind)
    # The controller looked at an old state of its Job; nothing is wrong.
    assert any("already exists" in event.text for event in subject.events)
    assert not any("already exists" in text for _, text in told(subject))


def test_a_preempted_job_says_so_without_ids_of_others() -> None:
    subject = recorded("kueue-preempted")
    assert job(subject).state is State.QUEUED
    assert told(subject)[:2] == [
        ("note", "was preempted (prioritization in the ClusterQueue)"),
        ("quota", "quota of nvidia.com/gpu in flavor h100 is in use, 8 more needed"),
    ]
    assert [(event.what, event.text) for event in job(subject).timeline] == [
        ("submitted", ""),
        ("evicted", "was preempted (prioritization in the ClusterQueue)"),
    ]


def test_a_queue_that_was_stopped() -> None:
    subject = recorded("kueue-stopped")
    assert subject.workload is not None
    assert inactive_queue(subject.workload) == "team-a"
    assert told(subject) == [("note", "lost its admission: the queue was stopped"), ("queued", "queue team-a admits no jobs now")]
    why = Condition(type="Active", status="False", reason="Stopped", message="Can't admit new workloads: is stopped.")
    assert told(dataclasses.replace(subject, queue=why))[1] == (
        "queued",
        "queue team-a admits no jobs now: Can't admit new workloads: is stopped.",
    )


def test_who_holds_a_job_is_told_what_its_owner_did_and_not_what_its_queue_made_of_it() -> None:
    subject = recorded("kueue-quota")
    meta = subject.root.metadata
    held = msgspec.structs.replace(meta, annotations={**(meta.annotations or {}), "gpuctl.io/held": "true"})
    assert [code for code, _ in told(dataclasses.replace(subject, root=msgspec.structs.replace(subject.root, metadata=held)))] == ["held"]


def test_attempts_whose_pods_a_job_set_has_removed() -> None:
    found = job(recorded("jobset-retried"))
    assert (found.state, found.attempt_count, found.exit.code if found.exit else None) == (State.FAILED, 3, 3)
    assert [(each.number, each.state, [pod.node for pod in each.pods]) for each in found.attempts] == [
        (1, State.FAILED, [""]),
        (2, State.FAILED, [""]),
        (3, State.FAILED, ["h100-1"]),
    ]
    assert found.started_at is not None
    last = found.attempts[-1].started_at
    assert last is not None
    assert found.started_at < last  # the job began with its first attempt


def test_an_evicted_attempt_was_lost() -> None:
    found = job(recorded("jobset-evicted"))
    assert [(each.number, each.state) for each in found.attempts] == [(1, State.LOST), (2, found.state)]


def test_a_rank_whose_pod_is_gone_is_still_one() -> None:
    found = job(recorded("gang-lost"))
    assert found.state is State.FAILED
    assert [(pod.node, pod.ranks) for pod in found.attempts[-1].pods] == [("", (0,)), ("real-1", (1,))]
    listed = translate.job(dataclasses.replace(recorded("gang-lost"), pods=None), PLACE, whole=False)
    assert all(not each.pods for each in listed.attempts)  # nobody looked


def test_each_task_of_an_array_fails_for_itself() -> None:
    subject = recorded("array-one-node")
    (failed,) = [one for one in evidence(subject) if one.code == "exit-code"]
    assert (failed.task, failed.rank, failed.data["code"]) == (3, 0, "7")
    assert {one.task for one in said(translate.parts(subject))} <= {3}
    ends = [(event.what, event.text) for event in job(subject).timeline if event.what not in ("submitted", "starting", "running")]
    assert ends == [("task-ended", "task 3 ended with code 7"), ("ended", "")]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (
            'Back-off pulling image "nowhere.invalid/none:1": ErrImagePull: failed to pull and unpack image "nowhere.invalid/none:1": failed to resolve reference "nowhere.invalid/none:1": failed to do request: Head "https://nowhere.invalid/v2/none/manifests/1": dial tcp: lookup nowhere.invalid: no such host',  # noqa: E501
            'Head "https://nowhere.invalid/v2/none/manifests/1": dial tcp: lookup nowhere.invalid: no such host',
        ),
        ("pull access denied, repository does not exist", "pull access denied, repository does not exist"),
    ],
)
def test_what_a_registry_said_comes_first(words: str, left: str) -> None:
    from gpuctl.clusters.kubernetes.observe import translate_container
    from gpuctl.kube.objects.pods import ContainerStatus

    status = msgspec.convert(
        {"name": "main", "image": "x", "state": {"waiting": {"reason": "ImagePullBackOff", "message": words}}}, ContainerStatus
    )
    (found,) = translate_container.waiting(status, image="x", namespace="default", events=(), rank=0, node="a", attempt=1)
    assert found.text == left
