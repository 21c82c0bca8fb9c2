"""Arrays: many tasks over few slots, slots that come and go, preparation once."""

import fcntl
import os
import time

from gpuctl.clusters.local.launchplan import Lease, Request, Slot, Task
from gpuctl.model.spec import ArraySpec, JobSpec
from tests.unit.local_supervisor.harness import Bench, is_locked, until


def tasks(count: int) -> list[Task]:
    return [Task(index=index) for index in range(count)]


def test_every_task_runs_once_with_its_index_and_arguments(bench: Bench) -> None:
    spec = JobSpec(command=("sh", "-c", 'echo $GPUCTL_ARRAY_INDEX $GPUCTL_ATTEMPT "$@"', "sh", "all"), array=ArraySpec(last=9, parallel=3))
    job = bench.launch(spec, tasks=[Task(index=index, attempt=2, args=(f"own {index}",)) for index in range(10)], slots=3)
    job.wait()
    assert [job.log(f"t{index}.a2.n0.r0.log") for index in range(10)] == [f"{index} 2 all own {index}\n".encode() for index in range(10)]
    assert sorted(entry.task for entry in job.entries("task-ended") if entry.task is not None) == list(range(10))


def test_at_most_one_task_a_slot(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "0.1")), tasks=tasks(9), slots=3)
    running = most = 0
    for entry in job.wait():
        running += {"task-started": 1, "task-ended": -1}.get(entry.what, 0)
        most = max(most, running)
    assert most == 3


def test_a_task_that_fails_does_not_stop_the_others(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", "exit $((GPUCTL_ARRAY_INDEX % 2))")), tasks=tasks(6), slots=2)
    job.wait()
    assert {entry.task: entry.data["state"] for entry in job.entries("task-ended")} == {
        index: "failed" if index % 2 else "succeeded" for index in range(6)
    }


def test_a_thousand_tasks(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("true",)), tasks=tasks(1000), slots=8)
    entries = job.wait(timeout=50)
    assert sum(1 for entry in entries if entry.what == "task-ended" and entry.data["state"] == "succeeded") == 1000
    assert entries[-1].what == "ended"


def test_leftovers_of_one_task_are_not_another_tasks(bench: Bench) -> None:
    text = 'if [ "$GPUCTL_ARRAY_INDEX" = 0 ]; then setsid sleep 60 & fi; [ "$GPUCTL_ARRAY_INDEX" = 1 ] && sleep 1; exit 0'
    job = bench.launch(JobSpec(command=("sh", "-c", text)), tasks=tasks(2), slots=2)
    job.wait(timeout=8)
    ended = {entry.task: entry for entry in job.entries("task-ended")}
    assert ended[0].at < ended[1].at - 0.3
    assert {entry.data["state"] for entry in ended.values()} == {"succeeded"}


def test_setup_runs_once_and_the_others_wait_for_it(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("cat", "made"), setup="echo run >> runs; sleep 0.3; echo yes > made"), tasks=tasks(4), slots=4)
    job.wait()
    assert {job.log(f"t{index}.a1.n0.r0.log") for index in range(4)} == {b"yes\n"}
    with open(os.path.join(job.plan.workdir, "runs")) as file:
        assert file.read() == "run\n"


def test_slots_without_further_tasks_are_given_back_at_once(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", '[ "$GPUCTL_ARRAY_INDEX" = 0 ] && sleep 1.5; exit 0')), tasks=tasks(3), slots=2)
    until(lambda: job.locked() == [True, False])
    assert job.entries("shrunk")[0].data == {"slots": 1, "devices": [1]}
    job.wait()


def test_a_shrunk_array_gives_back_a_slot_when_its_task_has_ended(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "0.3")), tasks=tasks(6), slots=2)
    until(lambda: job.entries("task-started"))
    job.ask(Request(what="shrink", count=1))
    until(lambda: job.entries("shrunk"))
    assert sum(job.locked()) == 1
    job.wait()
    assert len(job.entries("task-ended")) == 6


def test_an_array_without_slots_ends_and_leaves_its_tasks_waiting(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "0.3")), tasks=tasks(5), slots=1)
    until(lambda: job.entries("task-started"))
    job.ask(Request(what="shrink", count=1))
    job.wait(timeout=8)
    assert len(job.entries("task-ended")) < 5
    assert job.entries("ended")


def test_a_grown_array_uses_the_further_slot(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "0.4")), tasks=tasks(6), slots=1)
    until(lambda: job.entries("task-started"))
    further = bench.base / "further.lock"
    further.touch(mode=0o600)
    lease = Lease(index=7, uuid="slot-7", kind="slot", lock=str(further))
    job.ask(Request(what="grow", slots=(Slot(pods=((lease,),)),)))
    until(lambda: job.entries("grown"))
    assert is_locked(further)
    job.wait()
    assert {entry.data["slot"] for entry in job.entries("task-started")} == {0, 1}
    assert [7] in [entry.data["devices"] for entry in job.entries("task-started")]
    assert not is_locked(further)


def test_a_further_slot_that_somebody_holds_is_told_back(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "1")), tasks=tasks(2), slots=1)
    until(lambda: job.entries("task-started"))
    further = bench.base / "further.lock"
    with further.open("w") as file:
        os.chmod(further, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        lease = Lease(index=7, uuid="slot-7", kind="slot", lock=str(further))
        job.ask(Request(what="grow", slots=(Slot(pods=((lease,),)),)))
        until(lambda: job.entries("shrunk"))
    assert job.entries("shrunk")[0].data == {"slots": 1, "devices": [7]}
    job.wait()
    assert len(job.entries("task-ended")) == 2


def test_a_cancelled_array_ends_the_waiting_tasks_too(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sleep", "60")), tasks=tasks(50), slots=2)
    until(lambda: len(job.entries("task-started")) == 2)
    began = time.monotonic()
    job.ask(Request(what="stop", by="anna"))
    job.wait(timeout=8)
    assert time.monotonic() - began < 4
    assert {entry.data["state"] for entry in job.entries("task-ended")} == {"cancelled"}
    assert len(job.entries("task-ended")) == 50
    assert job.entries("stopping")[0].task is None


def test_tasks_that_are_tried_again_join_the_line_of_the_array_that_runs(bench: Bench) -> None:
    spec = JobSpec(command=("sh", "-c", 'echo "$GPUCTL_ATTEMPT"; [ "$GPUCTL_ARRAY_INDEX" = 0 ] && sleep 1.5; exit 0'), retries=1)
    job = bench.launch(spec, tasks=tasks(2), slots=2)
    until(lambda: job.entries("task-ended"))
    job.ask(Request(what="again", again=(Task(index=1, attempt=2),)))
    job.wait()
    assert [(entry.task, entry.attempt) for entry in job.entries("task-ended")].count((1, 2)) == 1
    assert job.log("t1.a2.n0.r0.log") == b"2\n"


def test_tasks_that_come_back_while_everything_is_being_ended_end_with_it(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", "trap '' TERM; sleep 60"), grace="2s"), tasks=tasks(1), grace=1)
    until(lambda: job.entries("task-started"))
    job.ask(Request(what="stop"))
    job.ask(Request(what="again", again=(Task(index=5, attempt=2),)))
    job.wait()
    assert {entry.task: entry.data["state"] for entry in job.entries("task-ended")} == {0: "cancelled", 5: "cancelled"}
