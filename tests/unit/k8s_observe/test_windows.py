"""A job that a window ended: what its object says by annotation, told from other ends and from earlier attempts."""

from datetime import datetime, timezone
from typing import Any

import pytest

from gpuctl.clusters.kubernetes.observe import translate, translate_array
from gpuctl.clusters.kubernetes.observe.translate import Subject
from gpuctl.model.job import State, TaskCounts
from gpuctl.model.spec import ArraySpec, Checkpoint, JobSpec
from gpuctl.policy.explain import explain
from tests.unit.k8s_observe.made import PLACE, pod, root

NOW = datetime(2026, 3, 3, 6, 0, tzinfo=timezone.utc)
CUT = {
    "gpuctl.io/window": "night",
    "gpuctl.io/window-ends": "2026-03-03T05:00:00Z",
    "gpuctl.io/window-cut": "2026-03-03T04:50:00Z",
    "gpuctl.io/window-next-owner": "platform",
}
SPEC = JobSpec(kind="command", command=("x",), gpus=8, time="12h")


def failed(at: str, *, notes: Any = None, spec: JobSpec = SPEC, pods: Any = None, reason: str = "BackoffLimitExceeded") -> Subject:
    status = {
        "startTime": "2026-03-02T21:00:00Z",
        "conditions": [{"type": "Failed", "status": "True", "reason": reason, "message": "x", "lastTransitionTime": at}],
    }
    return Subject(root=root(spec=spec, status=status, annotations=notes if notes is not None else CUT), pods=pods)


def evicted(began: str = "2026-03-02T21:00:10Z") -> Any:
    ended = {"exitCode": 143, "signal": 0, "startedAt": began, "finishedAt": "2026-03-03T04:55:00Z", "reason": "Error"}
    gone = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
    return pod(0, state={"terminated": ended}, phase="Failed", status={"conditions": [gone]})


@pytest.mark.parametrize("pods", [None, (), (evicted(),)])
def test_it_is_cut_and_says_by_which_window_and_for_whom(pods: Any) -> None:
    subject = failed("2026-03-03T04:55:20Z", pods=pods)
    job = translate.job(subject, PLACE, whole=True)
    assert job.state is State.CUT
    answer = explain(job, translate.evidence(subject, PLACE, now=NOW), NOW)
    assert (answer.reason.code, answer.reason.what) == ("window", "change")
    assert answer.reason.sentence == "was cut at the end of window night, 2026-03-03T05:00:00Z: its GPUs went to platform"
    assert answer.reason.command == "gpuctl rerun train-k3f9 --requeue"
    assert "evicted" not in [each.code for each in answer.also]
    assert job.timeline[-1].what == "cut"


def test_a_checkpoint_is_where_it_goes_on() -> None:
    spec = JobSpec(kind="command", command=("x",), gpus=8, checkpoint=Checkpoint(volume="ck", dir="/run"))
    subject = failed("2026-03-03T04:55:20Z", spec=spec)
    answer = explain(translate.job(subject, PLACE, whole=True), translate.evidence(subject, PLACE, now=NOW), NOW)
    assert str(answer.reason.advice).startswith("run it again: it resumes from its checkpoint")


def test_a_list_needs_no_pods_to_know() -> None:
    subject = failed("2026-03-03T04:55:20Z", spec=JobSpec(kind="command", command=("x",), gpus=8))
    assert not translate.needs_pods(subject.root)
    assert translate.job(subject, PLACE, whole=False).state is State.CUT


@pytest.mark.parametrize(
    "subject",
    [
        failed("2026-03-03T03:00:00Z"),  # before the window ended anything
        failed("2026-03-03T08:00:00Z"),  # long after, by itself
        failed("2026-03-03T04:55:20Z", notes={**CUT, "gpuctl.io/window-cut": "soon"}),
        failed("2026-03-03T04:55:20Z", notes={key: CUT[key] for key in CUT if key != "gpuctl.io/window-cut"}),
        failed("2026-03-03T05:05:00Z", pods=(evicted(began="2026-03-03T05:01:00Z"),)),  # a later attempt
    ],
)
def test_other_ends_are_not_its_doing(subject: Subject) -> None:
    assert translate.job(subject, PLACE, whole=False).state is State.FAILED


def test_one_that_is_in_line_again_says_so() -> None:
    status = {"restarts": 1, "replicatedJobsStatus": [{"name": "worker", "ready": 0}]}
    waiting = pod(0, phase="Pending", node="")
    subject = Subject(root=root("JobSet", spec=SPEC, status=status, annotations=CUT), pods=(waiting,))
    job = translate.job(subject, PLACE, whole=True)
    assert job.state is State.QUEUED
    answer = explain(job, translate.evidence(subject, PLACE, now=NOW), NOW)
    assert "was cut at the end of window night, it is in line again" in [answer.reason.sentence, *(each.sentence for each in answer.also)]


def test_tasks_of_an_array_that_a_window_ended_are_cut_and_the_others_are_not() -> None:
    spec = JobSpec(kind="command", command=("x",), gpus=1, array=ArraySpec(first=0, last=2))
    status = {
        "failedIndexes": "0,1",
        "completedIndexes": "2",
        "conditions": [{"type": "Failed", "status": "True", "reason": "FailedIndexes", "lastTransitionTime": "2026-03-03T09:00:00Z"}],
    }
    ended = {"exitCode": 143, "startedAt": "2026-03-03T01:00:00Z", "finishedAt": "2026-03-03T04:55:00Z", "reason": "Error"}
    pods = (
        pod(0, state={"terminated": ended}, phase="Failed", annotations=CUT),
        pod(1, state={"terminated": {**ended, "exitCode": 1}}, phase="Failed"),
    )
    subject = Subject(root=root(spec=spec, status=status, annotations=CUT), pods=pods)
    job = translate.job(subject, PLACE, whole=True)
    assert [each.state for each in job.attempts] == [State.CUT, State.FAILED]
    assert job.tasks == TaskCounts(succeeded=1, failed=1, cut=1)
    assert list(translate_array.states(subject.root, spec, job.state, translate.parts(subject).current).values()) == [
        State.CUT,
        State.FAILED,
        State.SUCCEEDED,
    ]
