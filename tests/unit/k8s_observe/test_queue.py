"""What Kueue says, in the words of several of its versions."""

from typing import Any

import msgspec
import pytest

from gpuctl.clusters.kubernetes.observe import translate_events, translate_queue
from gpuctl.clusters.kubernetes.observe.translate_queue import Position
from gpuctl.kube.objects.kueue import Workload
from tests.unit.k8s_observe.made import event


def workload(*conditions: dict[str, Any], **spec: Any) -> Workload:
    return msgspec.convert(
        {"metadata": {"name": "w"}, "spec": {"queueName": "team-a", **spec}, "status": {"conditions": list(conditions)}}, Workload
    )


def condition(kind: str, status: str, reason: str = "", message: str = "", at: str = "2026-03-01T12:00:00Z") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def pending(reason: str, message: str) -> Workload:
    return workload(condition("QuotaReserved", "False", reason, message))


@pytest.mark.parametrize(
    ("reason", "message", "code", "text"),
    [
        (
            "Pending",
            "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor h100, 8 more needed",
            "quota",
            "quota of nvidia.com/gpu in flavor h100 is in use, 8 more needed",
        ),
        (
            "Pending",
            "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor h100, previously considered podsets requests (0) + current podset request (64) > maximum capacity (32)",  # noqa: E501
            "never-fits",
            "asks 64 nvidia.com/gpu, the queue may never hold more than 32 of flavor h100",
        ),
        (
            "Pending",
            "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor h100, request > maximum capacity (64 > 32)",  # noqa: E501
            "never-fits",
            "asks 64 nvidia.com/gpu, the queue may never hold more than 32 of flavor h100",
        ),
        ("ExceedsMaxQuota", "too much", "never-fits", "too much"),
        ("NoMatchingFlavor", "no flavor", "no-such-gpu", "no flavor"),
        ("WaitingForQuota", "waits", "quota", "waits"),
        ("Suspended", "ClusterQueue is stopped", "window", None),
        ("Inadmissible", "LocalQueue team-a doesn't exist", "admission-refused", "LocalQueue team-a doesn't exist"),
        ("Inadmissible", "ClusterQueue shared is inactive", "queued", "queue shared admits no jobs now"),
        ("PendingEvaluation", "", "queued", "PendingEvaluation"),
    ],
)
def test_why_it_waits(reason: str, message: str, code: str, text: str | None) -> None:
    (found,) = translate_queue.evidence(pending(reason, message))
    assert found.code == code
    assert text is None or found.text == text


def test_an_admitted_workload_says_nothing() -> None:
    assert translate_queue.evidence(workload(condition("QuotaReserved", "True"), condition("Admitted", "True"))) == ()


def test_the_place_in_line() -> None:
    (found,) = translate_queue.evidence(workload(), position=Position(3, 1))
    assert (found.code, found.text, found.data) == ("queued", "in queue team-a, behind 3 jobs", {"ahead": "3"})
    (found,) = translate_queue.evidence(workload(), position=Position(0, 0))
    assert found.text == "at the head of queue team-a"


def test_a_preempted_job_waits_again_and_says_so() -> None:
    found = translate_queue.evidence(
        workload(
            condition("Evicted", "True", "Preempted", "Preempted to accommodate a workload"),
            condition("Preempted", "True", "InClusterQueue", "for job big"),
            condition("QuotaReserved", "False", "Pending", "waits"),
        )
    )
    assert [(one.code, one.text) for one in found] == [("note", "was preempted (for job big)"), ("queued", "waits")]


def test_a_workload_switched_off_is_held() -> None:
    assert [one.code for one in translate_queue.evidence(workload(active=False))] == ["held"]


def test_checks_that_are_still_open() -> None:
    (found,) = translate_queue.evidence(
        workload(condition("QuotaReserved", "True"), condition("Admitted", "False", message="prov-check pending"))
    )
    assert found.text == "its quota is reserved; waits for admission checks: prov-check pending"


@pytest.mark.parametrize(
    ("message", "code", "by"),
    [
        (
            'pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=24, limited: requests.nvidia.com/gpu=24',  # noqa: E501
            "quota",
            None,
        ),
        ('admission webhook "validate.kyverno.svc" denied the request: no team label', "admission-refused", "validate.kyverno.svc"),
        (
            "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'owner' with binding 'b' denied request: not your node",
            "admission-refused",
            "owner",
        ),
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
            "admission-refused",
            "Pod Security",
        ),
        (
            'Internal error occurred: failed calling webhook "m.io": context deadline exceeded',
            "admission-refused",
            "a webhook that does not answer",
        ),
        ('Pod "x" is invalid: spec.containers[0].image: Required value', "admission-refused", "the API server"),
    ],
)
def test_pods_that_could_not_be_created(message: str, code: str, by: str | None) -> None:
    (found,) = translate_events.evidence([event("FailedCreate", f"Error creating: {message}", about="root-uid")])
    assert (found.code, found.data.get("by")) == (code, by)


def test_a_quota_is_told_in_numbers() -> None:
    message = (
        "exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=20, limited: requests.nvidia.com/gpu=24"
    )
    (found,) = translate_events.evidence([event("FailedCreate", f"Error creating: {message}")])
    assert found.data == {"told": "quota gpus: 20 of 24 GPUs used, 8 asked for", "needs": "8", "total": "24"}
    assert found.text == message


@pytest.mark.parametrize(
    ("asked", "used", "limit", "told"),
    [
        ("requests.amd.com/gpu=1", "requests.amd.com/gpu=1", "requests.amd.com/gpu=1", "1 of 1 GPU used, 1 asked for"),
        (
            "pods=1,requests.cpu=64,requests.nvidia.com/gpu=8",
            "pods=3,requests.cpu=1500m,requests.nvidia.com/gpu=0",
            "pods=3,requests.cpu=16,requests.nvidia.com/gpu=4",
            "0 of 4 GPUs used, 8 asked for; 3 of 3 pods used, 1 asked for; 1500m of 16 CPUs used, 64 asked for",
        ),
        ("limits.memory=64Gi", "limits.memory=0", "limits.memory=32Gi", "0 of 32Gi limits.memory used, 64Gi asked for"),
    ],
)
def test_a_quota_is_told_in_what_it_counts(asked: str, used: str, limit: str, told: str) -> None:
    message = f"Error creating: exceeded quota: team-a, requested: {asked}, used: {used}, limited: {limit}"
    (found,) = translate_events.evidence([event("FailedCreate", message)])
    assert found.data["told"] == f"quota team-a: {told}"


def test_normal_events_are_no_evidence() -> None:
    assert translate_events.evidence([event("FailedCreate", "x", kind="Normal"), event("SuccessfulCreate", "Created pod")]) == ()
