"""The reason engine: every rule's sentence, and which evidence wins."""

import re
from datetime import timedelta
from typing import Any

import pytest

import gpuctl.policy.explain as explain_room
from gpuctl.model import reason as reason_values
from gpuctl.model.job import Attempt, Exit, Job, RankEnd, State, TaskCounts
from gpuctl.model.reason import Evidence, Explanation, Reason
from gpuctl.model.spec import JobSpec
from gpuctl.policy.explain import RULES, explain
from tests.unit.policy.cases import NOW, minutes


def a_job(state: State, **fields: Any) -> Job:
    fields = {"spec": JobSpec(script="train.py"), "submitted_at": NOW - minutes(60), "started_at": NOW - minutes(50), **fields}
    return Job(id="1", name="train-k3f9", base_name="train", user="ben", state=state, **fields)


def seen(code: str, text: str = "", **fields: Any) -> Evidence:
    data = {name: str(value) for name, value in fields.pop("data", {}).items()}
    return Evidence(code=code, text=text, data=data, **fields)


def why(state: State, *evidence: Evidence, **fields: Any) -> Explanation:
    return explain(a_job(state, **fields), evidence, NOW)


RENAMED = {"window-end": "window"}
"""Evidence whose reason is shown under another word."""

GOLDEN: list[tuple[State, Evidence, str, str, str]] = [
    (State.CANCELLED, seen("cancelled", data={"by": "ben"}), "was cancelled by ben while it ran", "nothing", "gpuctl rerun train-k3f9"),
    (
        State.CANCELLED,
        seen("dependency-failed", data={"job": "prep-x", "state": "failed"}),
        "was to start after prep-x, which ended failed",
        "change",
        "gpuctl why prep-x",
    ),
    (
        State.CUT,
        seen("time-limit", data={"limit": 5400}),
        "was cut at its time limit of 1h30m",
        "change",
        "gpuctl rerun train-k3f9 --time 3h",
    ),
    (
        State.FAILED,
        seen("oom-killed", rank=3, node="b", data={"limit": 64 << 30, "used": 63 << 30, "process": "python"}),
        "rank 3 on b (python) was killed for memory using 63Gi: the limit is 64Gi per node",
        "change",
        "gpuctl rerun train-k3f9 --memory 128Gi",
    ),
    (
        State.FAILED,
        seen("oom-killed", rank=0),
        "rank 0 was killed by the kernel: the machine ran out of memory, the job had no limit of its own",
        "change",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.FAILED,
        seen("interpreter-missing", data={"interpreter": "/x/bin/python"}),
        "/x/bin/python is not there any more, or cannot be run",
        "change",
        "gpuctl rerun train-k3f9 --python python3",
    ),
    (
        State.FAILED,
        seen("start-failed", "No such file or directory: './run.sh'"),
        "the program could not be started: No such file or directory: './run.sh'",
        "change",
        "gpuctl job train-k3f9",
    ),
    (
        State.FAILED,
        seen("setup-failed", node="a", data={"code": 2}),
        "--setup ended with exit code 2 on a",
        "change",
        "gpuctl logs train-k3f9 --failed",
    ),
    (
        State.FAILED,
        seen("module-missing", rank=0, data={"module": "yaml.x", "package": "yaml", "interpreter": "/x/python"}),
        "rank 0 could not import yaml.x with /x/python",
        "change",
        "/x/python -m pip install yaml",
    ),
    (
        State.FAILED,
        seen("cuda-oom", rank=5, data={"tried": "2.00 GiB", "total": "79.1 GiB", "free": "1.2 GiB", "device": 1, "others": "10 GiB"}),
        "rank 5 ran out of GPU memory on its GPU 1: tried to allocate 2.00 GiB, 1.2 GiB free of 79.1 GiB, 10 GiB held by other processes",
        "change",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.FAILED,
        seen("python-traceback", "ValueError: bad shape.", rank=1, data={"file": "/home/ben/train.py", "line": 42}),
        "rank 1 raised ValueError: bad shape at train.py:42",
        "change",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.FAILED,
        seen("killed", rank=1, data={"process": "a data-loader worker"}),
        "a data-loader worker of rank 1 was killed, no OOM kill was seen",
        "change",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.FAILED,
        seen("nccl-error", rank=0, data={"error": "collective operation timeout", "operation": "ALLREDUCE", "seconds": 600}),
        "rank 0 failed in NCCL: collective operation timeout in ALLREDUCE after 10m00s",
        "change",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.FAILED,
        seen("rendezvous-timeout", data={"joined": 1, "expected": 2, "seconds": 600}),
        "the nodes did not find each other within 10m00s: 1 of 2 joined",
        "change",
        "gpuctl logs train-k3f9 --failed",
    ),
    (
        State.FAILED,
        seen("connection-lost", "RuntimeError: [/src/gloo/transport/tcp/pair.cc:553] Connection closed by peer", rank=0),
        "rank 0 lost its connection to another rank: RuntimeError: Connection closed by peer",
        "change",
        "gpuctl logs train-k3f9 --failed",
    ),
    (
        State.FAILED,
        seen("signal", rank=2, data={"signal": 9}),
        "rank 2 died of signal 9 (SIGKILL), no OOM kill was seen and gpuctl did not send it",
        "escalate",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.FAILED,
        seen("signal", data={"signal": 11}),
        "the job died of signal 11 (SIGSEGV), a crash in native code",
        "change",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.FAILED,
        seen("signal", data={"signal": 15, "by": "pid 7 of root"}),
        "the job died of signal 15 (SIGTERM), sent by pid 7 of root",
        "escalate",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.FAILED,
        seen("exit-code", rank=0, data={"code": 3}),
        "rank 0 ended with exit code 3",
        "change",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.FAILED,
        seen("exit-code", rank=0, data={"code": 1, "said": "no data in /data."}),
        "rank 0 ended with exit code 1; its last line: no data in /data",
        "change",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.STARTING,
        seen("exit-code", data={"code": 1, "restarts": 4}),
        "the job ended with exit code 1, 4 times in a row",
        "change",
        "gpuctl logs train-k3f9 --first-error",
    ),
    (
        State.CUT,
        seen("evicted", data={"cause": "window", "by": "team-b"}),
        "the job was evicted: the window ended and the nodes went to their next owner (team-b)",
        "wait",
        "gpuctl rerun train-k3f9 --requeue",
    ),
    (
        State.CUT,
        seen("window-end", data={"owner": "team-b", "window": "night", "at": 1767240000}),
        "was cut at the end of window night, 2026-01-01T04:00:00Z: its GPUs went to team-b",
        "change",
        "gpuctl rerun train-k3f9 --requeue",
    ),
    (
        State.FAILED,
        seen("evicted", node="a", data={"cause": "disk"}),
        "the job on a was evicted: the node ran out of disk",
        "change",
        "gpuctl rerun train-k3f9 --requeue",
    ),
    (
        State.FAILED,
        seen("evicted", data={"cause": "memory"}),
        "the job was evicted: the node ran out of memory",
        "change",
        "gpuctl rerun train-k3f9 --requeue",
    ),
    (
        State.FAILED,
        seen("evicted", data={"cause": "preempted"}),
        "the job was evicted: a job with a higher priority needed its place",
        "wait",
        "gpuctl rerun train-k3f9 --requeue",
    ),
    (
        State.LOST,
        seen("node-lost", node="a", data={"seconds": 300}),
        "a stopped answering for 5m00s",
        "escalate",
        "gpuctl rerun train-k3f9 --requeue",
    ),
    (
        State.LOST,
        seen("reboot", at=NOW),
        "the machine was restarted at 2026-03-02T12:00:00Z while the job ran",
        "change",
        "gpuctl rerun train-k3f9 --requeue",
    ),
    (
        State.LOST,
        seen("supervisor-died", data={"pid": 77}),
        "its supervisor (pid 77) ended without a word, what the job did after that is not known",
        "escalate",
        "gpuctl rerun train-k3f9 --requeue",
    ),
    (State.LOST, seen("lost"), "its processes vanished without a word", "escalate", "gpuctl rerun train-k3f9 --requeue"),
    (
        State.QUEUED,
        seen("retrying", data={"attempt": 1, "left": 2}),
        "attempt 1 failed, 2 retries left",
        "wait",
        "gpuctl logs train-k3f9 --attempt 1",
    ),
    (
        State.RUNNING,
        seen("cluster-unreachable", data={"cluster": "res-a", "seconds": 90}),
        "res-a cannot be reached for 1m30s; the job may well go on there",
        "wait",
        "gpuctl doctor",
    ),
    (
        State.QUEUED,
        seen("credentials-expired", data={"cluster": "res-a", "command": "aws sso login"}),
        "the credentials for res-a are no longer accepted",
        "change",
        "aws sso login",
    ),
    (
        State.STARTING,
        seen("image-missing", data={"image": "x:1"}),
        "there is no image x:1",
        "change",
        "gpuctl rerun train-k3f9 --image NAME:TAG",
    ),
    (
        State.STARTING,
        seen("image-auth", data={"image": "x:1", "tries": 3}),
        "the registry refuses to hand out x:1, 3 tries so far",
        "change",
        "gpuctl rerun train-k3f9 --image NAME:TAG",
    ),
    (
        State.STARTING,
        seen("image-rate-limit", data={"image": "x:1"}),
        "the registry's rate limit keeps x:1 away",
        "wait",
        "gpuctl job train-k3f9",
    ),
    (
        State.STARTING,
        seen("image-pull", "no route to host", data={"image": "x:1"}),
        "x:1 cannot be pulled: no route to host",
        "escalate",
        "gpuctl job train-k3f9",
    ),
    (
        State.STARTING,
        seen("config-missing", data={"name": "c", "namespace": "team-a"}),
        "config map c does not exist in team-a",
        "change",
        "gpuctl job train-k3f9",
    ),
    (
        State.STARTING,
        seen("secret-missing", data={"name": "s", "key": "token"}),
        "secret s has no key token",
        "change",
        "gpuctl rerun train-k3f9 --secret NAME",
    ),
    (
        State.STARTING,
        seen("volume-mount", "timed out", node="a", data={"volume": "data"}),
        "volume data cannot be mounted on a: timed out",
        "escalate",
        "gpuctl volumes",
    ),
    (
        State.QUEUED,
        seen("volume-unbound", data={"volume": "data", "class": "fast"}),
        "volume data is not bound yet (storage class fast)",
        "escalate",
        "gpuctl volumes show data",
    ),
    (
        State.QUEUED,
        seen("volume-unbound", "data not found", data={"volume": "data"}),
        "volume data is not bound yet: data not found",
        "escalate",
        "gpuctl volumes",
    ),
    (
        State.QUEUED,
        seen("volume-unbound", "0/6 nodes are available: pod has unbound immediate PersistentVolumeClaims"),
        "a volume is not bound yet: 0/6 nodes are available: pod has unbound immediate PersistentVolumeClaims",
        "escalate",
        "gpuctl volumes",
    ),
    (
        State.STARTING,
        seen("unhealthy", "Readiness probe failed: refused", rank=1, node="a", data={"times": "3"}),
        "rank 1 on a is not ready: Readiness probe failed: refused (3 times)",
        "change",
        "gpuctl logs train-k3f9 --tail 50",
    ),
    (
        State.FAILED,
        seen("admission-refused", "no root containers.", data={"by": "kyverno"}),
        "kyverno refused the job: no root containers",
        "change",
        "gpuctl job train-k3f9 -o yaml",
    ),
    (
        State.QUEUED,
        seen("operator-missing", data={"kind": "RayJob", "operator": "KubeRay"}),
        "nothing on the cluster acts on RayJob: KubeRay is not running",
        "escalate",
        "gpuctl clusters",
    ),
    (
        State.QUEUED,
        seen("taints", data={"taints": "gpu=broken:NoSchedule", "nodes": 3}),
        "3 nodes are closed to this job by taints: gpu=broken:NoSchedule",
        "escalate",
        "gpuctl nodes -o wide",
    ),
    (
        State.QUEUED,
        seen("queued", data={"ahead": 3, "needs": 4, "total": 8, "free": 2}),
        "queued behind 3 jobs, needs 4 of 8, 2 free",
        "wait",
        "gpuctl jobs -u all --state running",
    ),
    *(
        (State.QUEUED, seen(code, f"the scheduler said {code}, 4 missing."), f"the scheduler said {code}, 4 missing", what, command)
        for code, what, command in (
            ("claimed", "wait", "gpuctl nodes"),
            ("dependency", "wait", "gpuctl job train-k3f9"),
            ("held", "change", "gpuctl update train-k3f9 --release"),
            ("backoff", "wait", "gpuctl logs train-k3f9 --first-error"),
            ("capacity", "wait", "gpuctl nodes"),
            ("fragmented", "change", "gpuctl clusters"),
            ("never-fits", "change", "gpuctl nodes"),
            ("no-such-gpu", "change", "gpuctl nodes"),
            ("device-busy", "escalate", "gpuctl nodes"),
            ("not-ready", "escalate", "gpuctl nodes"),
            ("unreachable", "wait", "gpuctl clusters"),
            ("quota", "wait", "gpuctl quota"),
            ("window", "wait", "gpuctl windows"),
            ("volume-home", "change", "gpuctl volumes"),
            ("budget", "change", "gpuctl submit --plan ..."),
        )
    ),
]


@pytest.mark.parametrize(
    ("state", "evidence", "sentence", "what", "command"), GOLDEN, ids=[f"{row[1].code}-{n}" for n, row in enumerate(GOLDEN)]
)
def test_rules(state: State, evidence: Evidence, sentence: str, what: str, command: str) -> None:
    found = why(state, evidence)
    assert found.reason.code == RENAMED.get(evidence.code, evidence.code)
    assert found.reason.sentence == sentence
    assert (found.reason.what, found.reason.command) == (what, command)
    assert found.evidence == (evidence,)


def test_every_rule_but_the_notes_has_a_golden_sentence() -> None:
    assert set(RULES) - {row[1].code for row in GOLDEN} == {"code-changed", "note"}


@pytest.mark.parametrize("code", sorted(RULES))
@pytest.mark.parametrize("state", list(State))
def test_every_rule_bears_evidence_without_data_and_with_nonsense(code: str, state: State) -> None:
    nonsense = dict.fromkeys(RULES[code].reads, "no number, \x00")
    for evidence in (seen(code), Evidence(code=code, data=nonsense, text="x" * 5000 + "\n\n.")):
        found = why(state, evidence)
        for reason in (found.reason, *found.also):
            assert reason.sentence
            assert not reason.sentence.endswith(".") or reason.sentence.endswith("...")
            assert "\n" not in reason.sentence
            assert len(reason.sentence) < 400


def test_the_docstring_lists_every_code_with_the_keys_its_rule_reads() -> None:
    rows = re.findall(r"^``([a-z-]+)`` +((?:[a-z]+(?:, )?)*)  +\S", explain_room.__doc__ or "", re.MULTILINE)
    assert {code: tuple(keys.split(", ")) if keys else () for code, keys in rows} == {
        **{code: rule.reads for code, rule in RULES.items()},
        "silent": ("seconds",),
    }
    listed = set(re.findall(r"``([a-z-]+)``", reason_values.Evidence.__doc__ or ""))
    assert set(RULES) | {"silent"} <= listed


def ranks(*ends: tuple[int, Exit, float], task: int | None = None) -> tuple[Attempt, ...]:
    ended = tuple(RankEnd(rank=rank, exit=how, at=NOW + timedelta(seconds=at)) for rank, how, at in ends)
    return (Attempt(number=1, cluster="local", state=State.FAILED, exit=ended[0].exit, ranks=ended, task=task),)


def test_the_cause_wins_over_what_other_ranks_said_after_it() -> None:
    attempts = ranks((0, Exit(signal=6), 1), (1, Exit(code=1), 2))
    found = why(
        State.FAILED,
        seen("nccl-error", rank=0, at=NOW),
        seen("python-traceback", "ValueError: x", rank=1, at=NOW + minutes(1)),
        seen("exit-code", rank=1, data={"code": 1}, at=NOW),
        attempts=attempts,
    )
    assert found.reason.code == "python-traceback"
    assert [one.code for one in found.also] == ["nccl-error"], "that the rank then ended with 1 is no news"


def test_of_a_whole_array_the_task_is_named_and_its_log_shown() -> None:
    counts = TaskCounts(succeeded=2, failed=1)
    array = why(State.FAILED, seen("exit-code", rank=0, task=2, node="b", data={"code": 7}), tasks=counts)
    assert array.reason.sentence == "rank 0 of task 2 on b ended with exit code 7"
    assert array.reason.command == "gpuctl logs train-k3f9_2 --first-error"
    bare = why(State.FAILED, tasks=counts, attempts=ranks((0, Exit(code=7), 1), task=2))
    assert bare.reason.sentence == "rank 0 of task 2 ended with exit code 7"
    assert why(State.FAILED, seen("setup-failed", task=2)).reason.command == "gpuctl logs train-k3f9_2 --failed"


@pytest.mark.parametrize(
    ("text", "advice"), [("Torch not compiled with CUDA enabled", "built without CUDA"), ("No CUDA GPUs are available", "-j")]
)
def test_asking_for_cuda_where_there_is_none_gets_an_answer_of_its_own(text: str, advice: str) -> None:
    found = why(State.FAILED, seen("python-traceback", f"AssertionError: {text}", rank=1))
    assert text in found.reason.sentence
    assert advice in (found.reason.advice or "")


def test_a_dead_supervisor_is_told_once() -> None:
    found = why(State.LOST, seen("supervisor-died", "its supervisor died without a word (killed?)"))
    assert found.reason.sentence == "its supervisor died without a word (killed?)"


def test_among_equal_causes_the_first_failing_rank_is_told() -> None:
    attempts = ranks((0, Exit(code=1), 5), (3, Exit(code=1), 1))
    evidence = [seen("python-traceback", f"ValueError: {rank}", rank=rank) for rank in (0, 3)]
    for order in (evidence, evidence[::-1]):
        found = why(State.FAILED, *order, attempts=attempts)
        assert found.reason.sentence == "rank 3 raised ValueError: 3"
        assert len(found.evidence) == 2


def test_being_killed_for_memory_wins_over_the_signal_and_the_traceback() -> None:
    found = why(
        State.FAILED, seen("signal", data={"signal": 9}), seen("python-traceback", "X: y"), seen("oom-killed", data={"limit": 1 << 30})
    )
    assert found.reason.code == "oom-killed"


def test_among_conditions_the_newest_wins() -> None:
    old = seen("image-pull", "old", at=NOW - minutes(5), data={"image": "x"})
    new = seen("image-missing", at=NOW, data={"image": "x"})
    assert why(State.STARTING, old, new).reason.code == "image-missing"
    assert why(State.STARTING, new, old).reason.code == "image-missing"


def test_a_terminated_container_is_believed_before_a_waiting_one() -> None:
    found = why(State.STARTING, seen("image-pull", "x", at=NOW), seen("exit-code", data={"code": 1}, at=NOW - minutes(1)))
    assert found.reason.code == "exit-code"


def test_evidence_of_earlier_attempts_explains_nothing_now() -> None:
    attempts = tuple(Attempt(number=number, cluster="local", state=State.FAILED, exit=Exit(code=number)) for number in (1, 2))
    found = why(State.FAILED, seen("oom-killed", attempt=1), attempts=attempts)
    assert found.reason.sentence == "the job ended with exit code 2"


def test_a_waiting_jobs_own_scheduler_is_believed_and_the_last_failure_told_beside_it() -> None:
    queued = Reason(code="backoff", sentence="attempt 2 may start in 20s", what="wait")
    failed = (Attempt(number=1, cluster="local", state=State.FAILED, exit=Exit(code=1)),)
    found = why(State.QUEUED, seen("python-traceback", "X: y", attempt=1), seen("retrying", attempt=1), reason=queued, attempts=failed)
    assert found.reason == queued
    assert [one.code for one in found.also] == ["python-traceback", "retrying"]


def test_notes_come_beside() -> None:
    found = why(State.RUNNING, seen("code-changed", data={"files": "train.py"}), seen("note", "a note"))
    assert found.reason.code == "running"
    assert [one.sentence for one in found.also] == ["code changed after submit: train.py", "a note"]


@pytest.mark.parametrize(
    ("state", "fields", "code", "sentence"),
    [
        (State.RUNNING, {"where": "local:0,1", "ends_by": NOW + minutes(70)}, "running", "running for 50m00s on local:0,1, 1h10m left"),
        (State.RUNNING, {"tasks": TaskCounts(succeeded=7, running=2, queued=1)}, "running", "running for 50m00s, 7 of 10 tasks ended"),
        (State.STARTING, {"where": "local:0"}, "starting", "starting for 50m00s on local:0"),
        (State.SUCCEEDED, {"ended_at": NOW, "attempt_count": 2}, "succeeded", "succeeded after 50m00s, in attempt 2"),
        (State.QUEUED, {}, "queued", "queued for 1h00m, not looked at yet"),
        (State.FAILED, {"exit": Exit(code=3)}, "exit-code", "the job ended with exit code 3"),
        (State.FAILED, {"exit": Exit(signal=77)}, "signal", "the job died of signal 77, read what it said last"),
        (State.FAILED, {}, "failed", "failed, how is not known"),
        (State.FAILED, {"attempts": ranks((0, Exit(signal=15), 2), (1, Exit(code=7), 1))}, "exit-code", "rank 1 ended with exit code 7"),
        (State.CANCELLED, {"started_at": None}, "cancelled", "was cancelled before it started"),
        (State.CUT, {"spec": JobSpec(time="6h")}, "time-limit", "was cut at its time limit of 6h"),
        (State.LOST, {}, "lost", "its processes vanished without a word"),
    ],
)
def test_without_evidence_the_jobs_own_record_speaks(state: State, fields: dict[str, Any], code: str, sentence: str) -> None:
    found = why(state, **fields)
    assert found.reason.code == code
    assert found.reason.sentence == (sentence if code != "signal" else sentence.split(",", maxsplit=1)[0])


@pytest.mark.parametrize(("seconds", "code"), [(599, "running"), (840, "silent")])
def test_a_silent_job(seconds: int, code: str) -> None:
    found = why(State.RUNNING, seen("silent", data={"seconds": seconds}))
    assert found.reason.code == code
    assert ("no log line for 14m00s" in found.reason.sentence) == (code == "silent")


def test_the_failed_tasks_of_an_array_are_counted() -> None:
    found = why(State.FAILED, exit=Exit(code=1), tasks=TaskCounts(succeeded=7, failed=2, lost=1))
    assert found.also[0].sentence == "2 failed, 1 lost of 10 tasks"
    assert found.also[0].command == "gpuctl rerun train-k3f9 --failed"


def test_a_job_that_is_started_again_by_itself_needs_nobody() -> None:
    found = why(State.LOST, seen("reboot"), spec=JobSpec(requeue=True))
    assert found.reason.advice == "nothing: it is started again by itself while retries are left"


def test_evidence_that_nobody_knows_is_ignored() -> None:
    assert why(State.SUCCEEDED, seen("from-the-future")).reason.code == "succeeded"
