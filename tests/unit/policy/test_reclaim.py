"""What is lent goes back when its owner needs it: to whom, from whom, and no more of it than helps."""

from datetime import datetime, timedelta, timezone
from typing import Any

from gpuctl.policy.queue import decide
from gpuctl.policy.values import ArrayProgress, NodeState, PodPlace, QueueJob, Reclaim, Running, Snapshot, Start

NOW = datetime(2026, 3, 2, 18, tzinfo=timezone.utc)


def node(free: int, **fields: Any) -> NodeState:
    given = {"owner": "platform", "lends_idle": True, "at": NOW, **fields}
    return NodeState(cluster="local", name="ws", gpu_type="h100", gpus=8, gpus_free=free, **given)


def job(name: str, gpus: int, team: str = "platform", **fields: Any) -> QueueJob:
    return QueueJob(**{"id": name, "name": name, "submitted_at": NOW, "team": team, "gpus": gpus, **fields})


def borrower(name: str, gpus: int, minutes: int, **fields: Any) -> Running:
    slots = ((PodPlace(cluster="local", node="ws", gpus=gpus),),)
    given = {"team": "team-a", "preemptible": True, "slots": slots, "gpus": gpus, **fields}
    return Running(id=name, name=name, submitted_at=NOW - timedelta(minutes=minutes), **given)


def reclaimed(jobs: list[QueueJob], running: list[Running], free: int = 0, **fields: Any) -> list[str]:
    decision = decide(jobs, Snapshot(nodes=(node(free, **fields),), running=tuple(running)), NOW)
    return [action.job for action in decision.actions if isinstance(action, Reclaim)]


def test_the_owner_takes_back_what_lets_its_job_start_from_the_last_in_line() -> None:
    old, new = borrower("old", 4, minutes=50), borrower("new", 4, minutes=10)
    assert reclaimed([job("mine", 4)], [old, new]) == ["new"]
    assert reclaimed([job("mine", 8)], [old, new]) == ["new", "old"]
    assert reclaimed([job("mine", 2), job("more", 2)], [old, new]) == ["new"]
    assert reclaimed([job("mine", 4)], [borrower("low", 4, minutes=50, priority=-1), new]) == ["low"]


def test_nobody_is_stopped_who_would_not_be_needed() -> None:
    small, large = borrower("small", 1, minutes=5), borrower("large", 7, minutes=50)
    assert reclaimed([job("mine", 7)], [small, large]) == ["large"]


def test_nobody_is_stopped_for_nothing() -> None:
    one = borrower("one", 4, minutes=5)
    own = borrower("own", 4, minutes=50, team="platform")
    assert reclaimed([job("mine", 8)], [one, own]) == []  # its own job holds the rest
    assert reclaimed([job("mine", 4)], [one], free=4) == []  # it fits beside it
    assert reclaimed([job("theirs", 4, team="team-b", preemptible=True)], [one]) == []
    assert reclaimed([job("held", 4, hold=True)], [one]) == []
    assert reclaimed([job("mine", 4)], [borrower("firm", 4, minutes=5, preemptible=False)]) == []
    assert reclaimed([job("mine", 4)], [one], owner=None, lends_idle=False) == []


def test_who_was_told_already_is_not_told_again_and_counts() -> None:
    told, other = borrower("told", 4, minutes=5, reclaimed=True), borrower("other", 4, minutes=50)
    assert reclaimed([job("mine", 4)], [told, other]) == []
    assert reclaimed([job("mine", 8)], [told, other]) == ["other"]


def test_an_array_gives_back_all_its_slots() -> None:
    slots = tuple((PodPlace(cluster="local", node="ws", gpus=2),) for _ in range(4))
    array = borrower("array", 2, minutes=5, slots=slots, array=ArrayProgress(ready=0, running=4))
    assert reclaimed([job("mine", 8)], [array]) == ["array"]


def test_the_owners_jobs_stand_before_those_that_borrow() -> None:
    earlier = job("earlier", 8, team="team-a", preemptible=True, submitted_at=NOW - timedelta(hours=5), priority=9)
    decision = decide([earlier, job("mine", 8)], Snapshot(nodes=(node(8),)), NOW)
    assert [action.job for action in decision.actions if isinstance(action, Start)] == ["mine"]
