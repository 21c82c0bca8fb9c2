"""Situations of the queue, one by one."""

from datetime import timedelta
from typing import Any

import pytest

from gpuctl.model.job import Exit, State
from gpuctl.policy.queue import decide
from gpuctl.policy.values import (
    Action,
    After,
    ArrayProgress,
    Claim,
    EndedAttempt,
    Finish,
    Grow,
    PodPlace,
    Retry,
    Running,
    Shrink,
    Start,
    Wait,
)
from tests.unit.policy.cases import NOW, counted, job, machine, minutes, running, snapshot


def acts(jobs: list[Any], *nodes: Any, **fields: Any) -> dict[str, Action]:
    return {action.job: action for action in decide(jobs, snapshot(*nodes, **fields), NOW).actions}


def wait(action: Action) -> Wait:
    assert isinstance(action, Wait), action
    return action


def test_priority_then_age_then_id() -> None:
    jobs = [job("b", gpus=4), job("a", gpus=4), job("old", age=99, gpus=4), job("vip", age=1, gpus=4, priority=1)]
    found = acts(jobs, machine())
    assert {name for name, action in found.items() if isinstance(action, Start)} == {"vip", "old"}
    assert wait(found["a"]).ahead == 0
    assert wait(found["b"]).ahead == 1


def test_the_sentence_of_the_head_and_of_those_behind() -> None:
    jobs = [job(f"j{number}", age=50 - number, gpus=4, time_limit=3600) for number in range(4)]
    found = acts(jobs, machine(taken=tuple(range(2, 8))), running=(running("train", tuple(range(2, 8)), ends=140),))
    head = wait(found["j0"])
    assert head.reason.code == "capacity"
    assert head.reason.sentence == "needs 4 of 8 slots, 2 free; next: train-x ends by 14:20 UTC"
    assert head.expected_start == NOW + minutes(140)
    last = wait(found["j3"])
    assert last.reason.code == "queued"
    assert last.reason.sentence == "queued behind 3 jobs, needs 4 of 8 slots, 2 free; next: train-x ends by 14:20 UTC"
    assert last.ahead == 3
    # Two of four slots at a time: 14:20, 14:20, 15:20, 15:20.
    assert last.expected_start == NOW + minutes(200)


def test_no_start_is_promised_when_somebody_ahead_has_no_end() -> None:
    jobs = [job(f"j{number}", age=50 - number, gpus=8, time_limit=3600 if number % 2 else None) for number in range(5)]
    found = acts(jobs, machine(taken=tuple(range(8))), running=(running("train", tuple(range(8)), ends=10),))
    assert wait(found["j0"]).expected_start == NOW + minutes(10)
    behind = wait(found["j4"])
    assert behind.expected_start is None
    assert behind.reason.advice == "give jobs a --time to learn when this one starts: 2 of 5 running or ahead have none"


def test_a_running_array_is_one_job_however_many_slots_it_has() -> None:
    slots = tuple((number,) for number in range(8))
    array = running("sweep", *slots, array=ArrayProgress(ready=0, running=8))
    waits = wait(acts([job("big", gpus=8)], machine(taken=tuple(range(8))), running=(array,))["big"])
    assert waits.reason.advice == "give jobs a --time to learn when this one starts: 1 of 1 running or ahead have none"


def test_back_fill_passes_only_on_what_the_head_does_not_need_or_in_time() -> None:
    busy = running("train", (4, 5, 6, 7), ends=60)
    head = job("head", age=50, gpus=6)
    found = acts(
        [head, job("quick", gpus=4, time_limit=3600), job("slow", age=5, gpus=3, time_limit=3601)],
        machine(taken=(4, 5, 6, 7)),
        running=(busy,),
    )
    assert isinstance(found["quick"], Start)
    assert wait(found["slow"]).reason.code == "queued"
    found = acts([head, job("small", gpus=2), job("more", age=5, gpus=1)], machine(taken=(4, 5, 6, 7)), running=(busy,))
    assert isinstance(found["small"], Start)
    held = wait(found["more"])
    assert held.reason.sentence == "queued behind 1 job, needs 1 of 8 slots, 2 free but held for head-x; next: train-x ends by 13:00 UTC"


def test_what_has_no_end_keeps_every_free_device_for_the_head() -> None:
    found = acts(
        [job("head", age=50, gpus=4), job("small", gpus=1)], machine(taken=tuple(range(2, 8))), running=(running("r", (2, 3, 4, 5, 6, 7)),)
    )
    assert isinstance(found["small"], Wait)


def test_a_job_that_can_never_start_is_in_nobodys_way() -> None:
    found = acts([job("huge", age=50, gpus=64), job("small", gpus=8)], machine())
    assert wait(found["huge"]).reason.code == "never-fits"
    assert isinstance(found["small"], Start)


def test_each_cluster_has_its_own_head() -> None:
    nodes = [counted("a", 0), counted("b", 4, cluster="res-b")]
    jobs = [job("one", age=50, gpus=8, cluster="res-a"), job("two", age=40, gpus=8, cluster="res-b"), job("young", gpus=2, cluster="res-b")]
    other = Running(
        id="r", name="r-x", submitted_at=NOW - minutes(90), slots=((PodPlace(cluster="res-b", node="b", gpus=4),),), gpus=4, gpu_type="H100"
    )
    found = acts(jobs, *nodes, running=(other,))
    assert wait(found["two"]).ahead == 0
    assert isinstance(found["young"], Wait)


def test_held_jobs_wait_and_say_how_to_go_on() -> None:
    reason = wait(acts([job("a", hold=True)], machine())["a"]).reason
    assert (reason.code, reason.what, reason.command) == ("held", "change", "gpuctl update a-x --release")


@pytest.mark.parametrize(
    ("mode", "state", "outcome"),
    [
        ("ok", State.SUCCEEDED, "start"),
        ("ok", State.FAILED, "cancel"),
        ("ok", State.CANCELLED, "cancel"),
        ("ok", None, "cancel"),
        ("ok", State.RUNNING, "wait"),
        ("any", State.LOST, "start"),
        ("any", None, "start"),
        ("any", State.QUEUED, "wait"),
        ("fail", State.FAILED, "start"),
        ("fail", State.CUT, "start"),
        ("fail", State.SUCCEEDED, "cancel"),
        ("fail", State.STARTING, "wait"),
    ],
)
def test_dependencies(mode: Any, state: State | None, outcome: str) -> None:
    action = acts([job("a", after=(After(job="p", name="prep-x", mode=mode, state=state),))], machine())["a"]
    if outcome == "start":
        assert isinstance(action, Start)
    elif outcome == "wait":
        assert wait(action).reason.code == "dependency"
        assert "prep-x" in wait(action).reason.sentence
    else:
        assert isinstance(action, Finish)
        assert action.state is State.CANCELLED
        assert action.reason is not None
        assert action.reason.code == "dependency-failed"
        assert "prep-x" in action.reason.sentence


def test_what_this_decision_ends_is_known_to_those_who_wait_for_it() -> None:
    ended = EndedAttempt(number=1, state=State.FAILED, at=NOW, exit=Exit(code=3))
    jobs = [
        job("a", ended=ended),
        job("b", after=(After(job="a", name="a-x", mode="ok", state=State.RUNNING),)),
        job("c", after=(After(job="b", name="b-x", mode="ok", state=State.QUEUED),)),
        job("d", after=(After(job="a", name="a-x", mode="fail", state=State.RUNNING),)),
    ]
    found = acts(jobs, machine())
    assert found["a"] == Finish(job="a", state=State.FAILED, exit=Exit(code=3))
    assert isinstance(found["b"], Finish)
    assert isinstance(found["c"], Finish)
    assert isinstance(found["d"], Start)


def test_a_job_that_is_tried_again_does_not_end_those_who_wait_for_it() -> None:
    ended = EndedAttempt(number=1, state=State.FAILED, at=NOW)
    jobs = [job("a", ended=ended, retries_left=1), job("b", after=(After(job="a", name="a-x", mode="ok", state=State.FAILED),))]
    decision = decide(jobs, snapshot(machine()), NOW)
    found = {action.job: action for action in decision.actions}
    assert isinstance(found["a"], Retry)
    assert wait(found["b"]).reason.code == "dependency"
    assert decision.wake_at == NOW + timedelta(seconds=10)


def test_back_off_wakes_and_starts() -> None:
    pausing = job("a", not_before=NOW + timedelta(seconds=20), attempts=1)
    decision = decide([pausing], snapshot(machine()), NOW)
    assert wait(decision.actions[0]).reason.sentence == "attempt 2 may start in 20s, at 12:00 UTC"
    assert decision.wake_at == NOW + timedelta(seconds=20)
    later = decide([pausing], snapshot(machine()), NOW + timedelta(seconds=20))
    assert isinstance(later.actions[0], Start)
    assert later.wake_at is None


@pytest.mark.parametrize(("ready", "parallel", "slots"), [(100, 3, 3), (100, None, 8), (2, 5, 2)])
def test_arrays_start_as_wide_as_they_may(ready: int, parallel: int | None, slots: int) -> None:
    found = acts([job("a", array=ArrayProgress(ready=ready, running=0, parallel=parallel))], machine())
    assert isinstance(found["a"], Start)
    assert len(found["a"].slots) == slots
    assert len({pod.devices for slot in found["a"].slots for pod in slot}) == slots


def test_a_running_array_grows_in_its_turn() -> None:
    array = running("arr", (0,), array=ArrayProgress(ready=5, running=1, parallel=3), age=20)
    older = job("old", age=30, gpus=6)
    found = acts([older], machine(taken=(0,)), running=(array,))
    assert isinstance(found["old"], Start)
    assert isinstance(found["arr"], Grow)
    assert len(found["arr"].slots) == 1
    found = acts([job("young", age=1, gpus=6)], machine(taken=(0,)), running=(array,))
    assert isinstance(found["arr"], Grow)
    assert len(found["arr"].slots) == 2
    assert isinstance(found["young"], Wait)


def test_a_running_array_gives_back_what_somebody_ahead_needs() -> None:
    slots = tuple((index,) for index in range(8))
    array = running("arr", *slots, array=ArrayProgress(ready=50, running=8), age=20)
    found = acts([job("vip", priority=1, gpus=3)], machine(taken=tuple(range(8))), running=(array,))
    assert found["arr"] == Shrink(job="arr", slots=3)
    assert isinstance(found["vip"], Wait)
    found = acts([job("later", age=1, gpus=3)], machine(taken=tuple(range(8))), running=(array,))
    assert "arr" not in found


def test_what_was_asked_back_already_is_not_asked_twice() -> None:
    slots = tuple((index,) for index in range(1, 8))
    progress = ArrayProgress(ready=50, running=7)
    fields = {"array": progress, "age": 20}
    vip = job("vip", priority=1, gpus=3)
    found = acts([vip], machine(taken=tuple(range(1, 8))), running=(running("arr", *slots, shrinking=2, **fields),))
    assert "arr" not in found
    found = acts([vip], machine(taken=tuple(range(1, 8))), running=(running("arr", *slots, shrinking=1, **fields),))
    assert found["arr"] == Shrink(job="arr", slots=1)


def test_slots_that_no_task_will_use_come_back() -> None:
    array = running("arr", (0,), (1,), (2,), array=ArrayProgress(ready=0, running=1))
    assert acts([], machine(taken=(0, 1, 2)), running=(array,)) == {"arr": Shrink(job="arr", slots=2)}


def test_older_claims_of_others_come_first_and_younger_ones_do_not() -> None:
    claim = Claim(user="anna", since=NOW - minutes(30), gpus=6)
    found = acts([job("mine", age=10, gpus=4), job("older", age=40, gpus=2)], machine(), claims=(claim,))
    assert isinstance(found["older"], Start)
    reason = wait(found["mine"]).reason
    assert reason.code == "claimed"
    assert reason.sentence == "queued behind 1 job, needs 4 of 8 slots, 6 free but 1 older job of others first (anna: 6 since 11:30 UTC)"


def test_a_claimed_job_holds_nothing_against_its_own_users_older_jobs() -> None:
    claim = Claim(user="anna", since=NOW - minutes(30), gpus=2)
    free = machine(taken=tuple(range(2, 8)))
    found = acts([job("vip", priority=5, age=10, gpus=2), job("older", age=40, gpus=2)], free, claims=(claim,))
    assert isinstance(found["older"], Start)
    assert isinstance(found["vip"], Wait)


def test_devices_of_foreign_processes_are_named() -> None:
    node = machine(taken=(3, 4), busy={3: "held by anna, pid 4242", 4: "held by anna, pid 4243"})
    reason = wait(acts([job("a", gpus=8)], node)["a"]).reason
    assert reason.code == "device-busy"
    assert reason.sentence == "needs 8 of 8 slots, 6 free; slot 3 held by anna, pid 4242 and 1 more"
    node = machine(taken=tuple(range(8)), busy={3: "held by anna, pid 4242"})
    assert wait(acts([job("a", gpus=8)], node)["a"]).reason.code == "device-busy"
    ours = wait(acts([job("a", gpus=4)], node)["a"]).reason
    assert ours.code == "capacity"
    assert "pid 4242" in ours.sentence


def test_nothing_is_held_idle_for_a_foreign_process_to_end() -> None:
    node = machine(taken=(3,), busy={3: "held by anna, pid 4242"})
    found = acts([job("wide", age=50, gpus=8), job("small", gpus=1)], node)
    assert wait(found["wide"]).reason.code == "device-busy"
    assert isinstance(found["small"], Start)


def test_overdue_jobs_end_now_not_in_the_past() -> None:
    found = acts([job("a", gpus=8)], machine(taken=tuple(range(8))), running=(running("r", tuple(range(8)), ends=-5),))
    assert wait(found["a"]).expected_start == NOW


def test_a_limit_beyond_the_calendar_is_no_end() -> None:
    found = acts([job("a", age=20, gpus=8, time_limit=10**12), job("b", gpus=8)], machine())
    assert isinstance(found["a"], Start)
    assert wait(found["b"]).expected_start is None
