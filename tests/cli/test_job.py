"""``gpuctl job`` and ``gpuctl why``: one job in full, and why it stands where it stands."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.model.job import Attempt, Code, Exit, Job, Pod, RankEnd, State, TimelineEvent
from gpuctl.model.reason import Evidence, Explanation, Reason
from gpuctl.model.spec import Dependency, JobSpec, VolumeMount
from tests.cli.recorder import NOW, RecordingPool, ago, make_job

REASON = Reason(
    code="cuda-oom",
    sentence="rank 2 ran out of GPU memory: 2.5 GiB more were asked for, 79.1 of 80.0 GiB were in use",
    what="change",
    advice="use a smaller batch, or shard the optimizer",
    command="gpuctl logs train-k3f9 --first-error",
)


def failed_job() -> Job:
    """A job with every fact a page may show."""
    attempts = (
        Attempt(
            number=1,
            cluster="local",
            state=State.LOST,
            started_at=ago(hours=3),
            ended_at=ago(hours=2),
            pods=(Pod(node="ws", devices=(0, 1, 2, 5), ranks=(0, 1, 2, 3)),),
            reason=Reason(code="reboot"),
        ),
        Attempt(
            number=2,
            cluster="local",
            state=State.FAILED,
            started_at=ago(hours=1),
            ended_at=ago(minutes=10),
            exit=Exit(code=1),
            pods=(Pod(node="ws", devices=(0, 1, 2, 3), ranks=(0, 1, 2, 3)),),
            ranks=(RankEnd(rank=2, exit=Exit(code=1), at=ago(minutes=10)),),
            reason=REASON,
        ),
    )
    spec = JobSpec(
        kind="pytorch",
        gpus=4,
        script="train.py",
        args=("--lr", "3e-4", "--name", "a b"),
        time="6h",
        retries=2,
        env={"LR": "1", "HF_HOME": "/x"},
        secrets=("WANDB_API_KEY",),
        after=(Dependency(job="prep-x2k9"),),
        volumes=(VolumeMount(name="data", path="/data", read_only=True),),
        priority=5,
    )
    timeline = (
        TimelineEvent(at=ago(hours=4), what="submitted", text="by anna"),
        TimelineEvent(at=ago(hours=3), what="running", attempt=1),
        TimelineEvent(at=ago(minutes=10), what="ended", text=REASON.sentence, attempt=2),
    )
    return make_job(
        state=State.FAILED,
        spec=spec,
        reason=REASON,
        exit=Exit(code=1),
        attempts=attempts,
        attempt_count=2,
        timeline=timeline,
        code=Code(workdir="/home/anna/proj", commit="3f9a01c7d2e4", dirty=True, branch="main"),
        interpreter="/home/anna/proj/.venv/bin/python",
        labels={"exp": "3"},
        where="local:0-3",
    )


@pytest.mark.parametrize("tty", [True, False])
def test_a_job_in_full(run: Any, snapshot: Any, tty: bool) -> None:
    outcome = run(RecordingPool([failed_job()]), "job", "train-k3f9", tty=tty)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot
    if tty:
        assert max(map(len, outcome.out.splitlines())) <= 80


def test_a_terminal_colours_the_state_of_the_job_and_of_each_attempt(run: Any) -> None:
    page = run(RecordingPool([failed_job()]), "job", "train-k3f9", tty=True, color=True).out
    assert page.startswith("job/train-k3f9  \x1b[31mfailed\x1b[0m\n")
    assert "\x1b[31mlost" in page
    assert page.count("\x1b[31mfailed") == 2


def test_a_waiting_job_and_one_that_runs(run: Any, snapshot: Any) -> None:
    waiting = make_job(
        "llama-k3f9", State.QUEUED, expected_start=NOW + timedelta(minutes=20), reason=Reason(code="capacity", sentence="behind 2 jobs")
    )
    running = make_job("tune-b7b7", spec=JobSpec(script="t.py", time="6h"), ends_by=NOW + timedelta(hours=5))
    assert run(RecordingPool([waiting]), "job").out + run(RecordingPool([running]), "job").out == snapshot


def test_my_latest_without_a_name(run: Any) -> None:
    for args in ([], ["-"]):
        pool = RecordingPool([make_job("newest-k3f9"), make_job("older-x2k9")])
        assert run(pool, "job", *args, "-o", "name").out == "job/newest-k3f9\n"
    assert run(RecordingPool([make_job()]), "job", "-o", "jsonpath=.spec.nodes").out == "1\n"


def test_machine_formats_hold_the_object(run: Any) -> None:
    shown = json.loads(run(RecordingPool([failed_job()]), "job", "-o", "json").out)
    assert shown["kind"] == "Job"
    assert shown["attempts"][1]["ranks"] == [{"rank": 2, "exit": {"code": 1}, "at": "2026-03-01T11:50:00Z"}]
    assert shown["spec"]["secrets"] == ["WANDB_API_KEY"]
    table = run(RecordingPool([failed_job()]), "job", "-o", "columns=name,exit").out
    assert table == "NAME        EXIT\ntrain-k3f9  1\n"


def test_no_such_job(run: Any) -> None:
    outcome = run(RecordingPool(), "job", "nope")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == "error[no-such-job]: no job nope\n"


def explained(also: tuple[Reason, ...] = ()) -> RecordingPool:
    """A pool that explains the failed job."""
    evidence = (
        Evidence(
            code="cuda-oom",
            text="torch.OutOfMemoryError: CUDA out of memory.\nTried to allocate 2.50 GiB",
            at=ago(minutes=10),
            rank=2,
            source="log",
        ),
        Evidence(code="exit-code", text="exit code 1", rank=2, node="ws", attempt=2),
    )
    return RecordingPool([failed_job()], explanation=Explanation(reason=REASON, evidence=evidence, also=also))


@pytest.mark.parametrize("tty", [True, False])
def test_why_begins_with_the_sentence(run: Any, snapshot: Any, tty: bool) -> None:
    note = Reason(
        code="code-changed", sentence="code changed after submit: train.py", advice="submit it again", command="gpuctl rerun train-k3f9"
    )
    outcome = run(explained((note,)), "why", "train-k3f9", tty=tty)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot
    assert REASON.sentence in " ".join(outcome.out.split()).split("Evidence")[0]


def test_why_for_programs(run: Any) -> None:
    shown = json.loads(run(explained(), "why", "-o", "json").out)
    assert (shown["kind"], shown["job"], shown["state"]) == ("Explanation", "train-k3f9", "failed")
    assert shown["reason"] == msgspec.to_builtins(REASON)
    assert [fact["code"] for fact in shown["evidence"]] == ["cuda-oom", "exit-code"]
    assert run(explained(), "why", "-o", "name").out == "job/train-k3f9\n"
    assert run(explained(), "why", "-o", "jsonpath=.reason.code").out == "cuda-oom\n"


def test_an_array_of_thousands_stays_a_page(run: Any) -> None:
    attempts = tuple(Attempt(number=1, task=index, cluster="local", state=State.SUCCEEDED) for index in range(1000))
    timeline = tuple(TimelineEvent(at=ago(minutes=1), what="ended", text=f"task {index}") for index in range(1000))
    out = run(RecordingPool([make_job(attempts=attempts, timeline=timeline)]), "job").out
    assert len(out.splitlines()) < 110
    assert "  ... 960 more; -o json shows all\n" in out
    assert "  ... 960 before; -o json shows all\n" in out
    assert out.rstrip().endswith("task 999")
    assert len(json.loads(run(RecordingPool([make_job(attempts=attempts)]), "job", "-o", "json").out)["attempts"]) == 1000


def test_the_page_of_a_failed_job_says_why_also_if_the_job_does_not(run: Any) -> None:
    bare = msgspec.structs.replace(failed_job(), reason=None)
    known = RecordingPool([bare], explanation=Explanation(reason=REASON))
    assert f"  why        {REASON.sentence}\n" in run(known, "job").out
    assert known.asked("explain") == [("train-k3f9",)]
    unknown = RecordingPool([bare], errors={"explain": UnavailableError("its cluster is away")})
    page = run(unknown, "job")
    assert page.code == 0
    assert "  why " not in page.out
    for quiet in (RecordingPool([bare]), RecordingPool([make_job()])):
        run(quiet, "job", "-o", "json" if quiet.known["train-k3f9"].final else "table")
        assert quiet.asked("explain") == []
