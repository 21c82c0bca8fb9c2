"""The end of a window, as a supervisor keeps it: a word to the ranks, SIGTERM, and at the instant nothing is left."""

import sys
import time
from pathlib import Path
from typing import Any

from gpuctl.clusters.local.launchplan import Request, Task, WindowEnd
from gpuctl.model.spec import JobSpec, SignalBefore
from tests.unit.local_supervisor.harness import Bench, until

SAVES = "import signal, sys, time; signal.signal(15, lambda *_: (print('saved'), sys.exit(0))); print('up', flush=True); time.sleep(300)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)"
WARNED = (
    "import signal, sys, time; signal.signal(10, lambda *_: print('warned', flush=True)); signal.signal(15, lambda *_: sys.exit(0));"
    " print('up', flush=True); time.sleep(300)"
)


def python(text: str) -> JobSpec:
    return JobSpec(command=(sys.executable, "-c", text))


def test_a_job_is_told_and_then_cut(bench: Bench) -> None:
    job = bench.launch(python(SAVES), window=WindowEnd(at=time.time() + 3, grace=2, owner="platform", window="night"))
    until(job.log)
    job.wait(timeout=10)
    assert job.log(streams="o") == b"up\nsaved\n"
    assert job.entries("task-ended")[0].data == {"state": "cut", "code": 0}
    assert job.entries("stopping")[0].data["why"] == "window"
    data = job.evidence()["window-end"].data["data"]
    assert (data["owner"], data["window"]) == ("platform", "night")
    assert job.locked() == [False]


def test_at_the_instant_nothing_of_it_is_left(bench: Bench) -> None:
    end = time.time() + 3
    job = bench.launch(python(DEAF), window=WindowEnd(at=end, grace=1))
    until(job.log)
    job.wait(timeout=10)
    assert end - 0.1 < job.entries("task-ended")[0].at < end + 2
    assert job.entries("task-ended")[0].data == {"state": "cut", "signal": 9}
    assert job.locked() == [False]


def test_the_windows_own_signal_comes_before(bench: Bench) -> None:
    job = bench.launch(python(WARNED), window=WindowEnd(at=time.time() + 4, grace=1, signal="USR1", signal_before=2))
    until(job.log)
    job.wait(timeout=10)
    assert job.log(streams="o") == b"up\nwarned\n"


def test_the_signal_that_a_job_asked_for_counts_back_from_the_window_too(bench: Bench) -> None:
    spec = JobSpec(command=(sys.executable, "-c", WARNED), signal=SignalBefore(name="USR1", before="2s"))
    job = bench.launch(spec, window=WindowEnd(at=time.time() + 4, grace=1), time_limit=300)
    until(job.log)
    job.wait(timeout=10)
    assert job.log(streams="o") == b"up\nwarned\n"


def test_another_end_of_the_window_is_obeyed_and_so_is_none(bench: Bench) -> None:
    job = bench.launch(python(SAVES), window=WindowEnd(at=time.time() + 2.5, grace=1))
    until(job.log)
    job.ask(Request(what="window"))
    time.sleep(2.5)
    assert job.entries("stopping") == []
    job.ask(Request(what="window", window=WindowEnd(at=time.time() + 0.5, grace=1)))
    job.wait(timeout=10)
    assert job.entries("task-ended")[0].data["state"] == "cut"


def test_tasks_that_were_not_reached_stay_in_line(bench: Bench) -> None:
    tasks = [Task(index=number) for number in range(5)]
    job = bench.launch(python(SAVES), tasks=tasks, window=WindowEnd(at=time.time() + 3, grace=2))
    until(lambda: job.entries("task-started"))
    job.wait(timeout=10)
    assert [(entry.task, entry.data["state"]) for entry in job.entries("task-ended")] == [(0, "cut")]
    assert not Path(job.plan.scratch).exists()


def test_a_job_is_told_in_its_log_and_among_its_events_once_for_each_end(bench: Bench) -> None:
    end = time.time() + 300
    job = bench.launch(python(SAVES), window=WindowEnd(at=end, grace=1, owner="platform", window="night", notify=600))
    until(lambda: b"window night ends at " in job.log(streams="g"))
    assert b": the devices go to platform" in job.log(streams="g")
    job.ask(Request(what="window", window=WindowEnd(at=end, grace=1, owner="platform", window="night", notify=600)))
    job.ask(Request(what="window", window=WindowEnd(at=end + 60, grace=1, owner="platform", window="night", notify=600)))
    until(lambda: len(_told(job)) == 2)
    job.ask(Request(what="window", window=WindowEnd(at=time.time(), grace=0, lent=True, owner="platform")))
    job.wait(timeout=10)
    assert len(_told(job)) == 2
    assert job.evidence()["window-end"].data["data"]["lent"] == "true"


def _told(job: Any) -> list[str]:
    return [entry.data["text"] for entry in job.entries("note") if "ends at" in entry.data["text"]]


def test_a_job_that_its_own_limit_ends_before_is_not_told(bench: Bench) -> None:
    job = bench.launch(python("print('up')"), window=WindowEnd(at=time.time() + 300, grace=1, notify=600), time_limit=100)
    job.wait(timeout=10)
    assert _told(job) == []
