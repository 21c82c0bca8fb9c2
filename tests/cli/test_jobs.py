"""``gpuctl jobs``: what it asks the pool, and what it prints in every format."""

import json
from datetime import timedelta
from typing import Any

import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.model.job import Exit, State
from gpuctl.model.reason import Reason
from gpuctl.model.spec import JobSpec
from tests.cli.recorder import NOW, RecordingPool, ago, make_job, one_of_each, reader_that_left


def asked(run: Any, *args: str) -> Any:
    """The query that ``gpuctl jobs ARGS`` hands to the pool."""
    pool = RecordingPool([make_job()])
    outcome = run(pool, "jobs", *args)
    assert outcome.code == 0, outcome.err
    return pool.asked("jobs")[0][0]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("form", ["table", "wide"])
def test_a_table_on_a_terminal(run: Any, snapshot: Any, width: int, form: str) -> None:
    outcome = run(RecordingPool(one_of_each()), "jobs", "-o", form, width=width, tty=True)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot
    if form == "table":
        assert max(map(len, outcome.out.splitlines())) <= width


def test_a_piped_table_is_never_cut(run: Any, snapshot: Any) -> None:
    outcome = run(RecordingPool([make_job("a" * 90, where="w" * 90)]), "jobs", width=40)
    assert "a" * 90 in outcome.out
    assert "w" * 90 in outcome.out


def test_colour_only_where_asked_for(run: Any) -> None:
    pool = RecordingPool(one_of_each())
    assert "\x1b[32mrunning\x1b[0m" in run(pool, "jobs", tty=True, color=True).out
    assert "\x1b" not in run(pool, "jobs", tty=True, color=False).out
    assert "\x1b" not in run(pool, "jobs", "--no-color", tty=True, color=True).out
    assert "\x1b" not in run(pool, "jobs").out


@pytest.mark.parametrize("form", ["json", "yaml", "csv", "name", "columns=name,gpus,reason", "jsonpath=.items[*].spec.gpus"])
def test_formats_for_programs(run: Any, snapshot: Any, form: str) -> None:
    outcome = run(RecordingPool(one_of_each()[:3]), "jobs", "-o", form)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot


AWAY = {"unknown": ("state",), "cluster": "res-a", "reason": Reason(code="unreachable", sentence="connect timed out", what="wait")}


def test_a_job_on_a_cluster_that_is_away_is_a_grey_row(run: Any) -> None:
    away = make_job("gone-k3f9", state=State.RUNNING, started_at=ago(hours=1), where=None, **AWAY)
    pool = RecordingPool([make_job(), away], incomplete={"res-a": "connect timed out"})
    outcome = run(pool, "jobs", "--no-headers")
    assert (outcome.code, outcome.err) == (0, "note: res-a could not be read: connect timed out\n")
    row = next(line.split() for line in outcome.out.splitlines() if line.startswith("gone"))
    assert (row[1], row[3], row[4], row[-1]) == ("?", "res-a", "?", "unreachable")
    assert "\x1b[2m?" in run(pool, "jobs", tty=True, color=True).out
    (known, unknown) = json.loads(run(pool, "jobs", "-o", "json").out)["items"]
    assert ("state" in known, "unknown" in known) == (True, False)
    assert ("state" in unknown, unknown["unknown"], unknown["reason"]["code"]) == (False, ["state"], "unreachable")
    assert run(pool, "jobs", "-o", "jsonpath=.items[*].state").out == f"{known['state']}\n"
    assert run(pool, "jobs", "--sort", "state").out.splitlines()[-1].startswith("gone")


def test_an_empty_list(run: Any) -> None:
    table = run(RecordingPool(), "jobs")
    assert (table.code, table.out) == (0, "")
    assert table.err == "no jobs of anna that are unfinished or ended in the last day; gpuctl jobs -A shows older ones\n"
    machine = run(RecordingPool(), "jobs", "-o", "json")
    assert json.loads(machine.out) == {"apiVersion": "gpuctl.io/v1", "kind": "JobList", "items": []}
    assert machine.err == ""
    assert run(RecordingPool(), "jobs", "-o", "csv", "--no-headers").out == ""


def test_mine_of_the_last_day_by_default(run: Any) -> None:
    query = asked(run)
    assert (query.user, query.recent_seconds, query.states, query.since) == ("anna", 86400, None, None)


def test_filters(run: Any) -> None:
    query = asked(
        run, "-u", "bert", "--state", "failed,lost", "--state", "cut", "--name", "llama*", "-l", "exp=3", "-l", "a=b=c", "--limit", "7"
    )
    assert query.user == "bert"
    assert query.states == {State.FAILED, State.LOST, State.CUT}
    assert (query.name, query.labels, query.limit) == ("llama*", {"exp": "3", "a": "b=c"}, 7)
    assert asked(run, "-u", "all").user is None
    assert asked(run, "--team", "vision").user is None
    assert asked(run, "-A").recent_seconds is None
    assert asked(run, "--state", "unfinished").states == {State.QUEUED, State.STARTING, State.RUNNING}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("2026-02-28", NOW - timedelta(days=1, hours=12)),
        ("2026-03-01T10:00:00Z", NOW - timedelta(hours=2)),
        ("2026-03-01T11:00:00+01:00", NOW - timedelta(hours=2)),
        ("2026-03-01T10:00:00", NOW - timedelta(hours=2)),
    ],
)
def test_since(run: Any, text: str, expected: Any) -> None:
    query = asked(run, "--since", text)
    assert query.since == expected
    assert query.recent_seconds is None


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--state", "runing"], "did you mean running?"),
        (["--since", "tuesday"], "a duration (2h), a date (2026-03-01)"),
        (["--since", "5"], "a duration (2h), a date (2026-03-01)"),
        (["-l", "nolabel"], "--label: is no label, got 'nolabel' (allowed: KEY=VALUE)"),
        (["--sort", "gpu"], "did you mean gpus?"),
        (["-o", "tabel"], "did you mean table?"),
        (["-o", "columns=nam"], "did you mean name?"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_bad_input_is_refused_with_the_nearest_word(run: Any, args: list[str], expected: str) -> None:
    outcome = run(RecordingPool([make_job()]), "jobs", *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert expected in outcome.err


def test_every_wrong_state_is_listed(run: Any) -> None:
    outcome = run(RecordingPool(), "jobs", "--state", "runing,faild")
    assert "did you mean running?" in outcome.err
    assert "did you mean failed?" in outcome.err


def test_sort(run: Any) -> None:
    jobs = [
        make_job("a-1111", spec=JobSpec(gpus=8), started_at=ago(minutes=1)),
        make_job("b-2222", spec=JobSpec(gpus=16), started_at=ago(minutes=3)),
        make_job("c-3333", State.QUEUED, spec=JobSpec(gpus=2)),
    ]

    def names(*args: str) -> list[str]:
        return [line[4:5] for line in run(RecordingPool(jobs), "jobs", "-o", "name", *args).out.split()]

    assert names("--sort", "gpus") == ["c", "a", "b"]  # by number, not as text
    assert names("--sort", "-gpus") == ["b", "a", "c"]
    assert names("--sort", "elapsed") == ["a", "b", "c"]
    assert names("--sort", "-elapsed") == ["b", "a", "c"]  # what has no value stays last
    assert names("--sort", "-GPUS", "--limit", "1") == ["b"]


def test_an_unreachable_cluster_is_named_and_the_rest_shown(run: Any) -> None:
    pool = RecordingPool([make_job()], incomplete={"res-a": "connect timed out after 5 s"})
    table = run(pool, "jobs")
    assert table.code == 0
    assert "train-k3f9" in table.out
    assert table.err == "note: res-a could not be read: connect timed out after 5 s\n"
    assert json.loads(run(pool, "jobs", "-o", "json").out)["incomplete"] == ["res-a"]


def test_an_error_of_the_pool_is_the_exit_code(run: Any) -> None:
    outcome = run(RecordingPool(errors={"jobs": UnavailableError("cannot list jobs: the store is busy")}), "jobs")
    assert (outcome.code, outcome.out) == (7, "")
    assert outcome.err == "error[unavailable]: cannot list jobs: the store is busy\n"


def test_tasks_are_folded_in_tables_only(run: Any) -> None:
    failed = {"exit": Exit(code=1)}
    jobs = [
        *(make_job(f"sweep-h5h5_{index}", State.SUCCEEDED) for index in (0, 1, 2)),
        make_job("sweep-h5h5_3", State.FAILED, **failed),
        make_job("sweep-h5h5_4", State.RUNNING),
        make_job("sweep-h5h5_5", State.RUNNING),
        *(make_job(f"sweep-h5h5_{index}", State.QUEUED) for index in range(6, 12)),
        *(make_job(f"other-j8j8_{index}", State.QUEUED) for index in (12, 14)),
    ]
    pool = RecordingPool(jobs)
    rows = [line.split()[0] for line in run(pool, "jobs", "--tasks", "--no-headers").out.splitlines()]
    assert rows == ["sweep-h5h5_0-2", "sweep-h5h5_3", "sweep-h5h5_4", "sweep-h5h5_5", "sweep-h5h5_6-11", "other-j8j8_12", "other-j8j8_14"]
    assert pool.asked("jobs")[0][0].tasks is True
    assert len(run(pool, "jobs", "--tasks", "-o", "name").out.split()) == len(jobs)
    assert len(json.loads(run(pool, "jobs", "--tasks", "-o", "json").out)["items"]) == len(jobs)


def test_a_reader_that_leaves_is_no_error(run: Any) -> None:
    outcome = run(RecordingPool(one_of_each()), "jobs", out=reader_that_left())
    assert (outcome.code, outcome.err) == (141, "")


def test_long_names_give_way_in_their_middle_when_nothing_else_can(run: Any) -> None:
    jobs = [make_job("a-very-long-name-for-a-job-indeed-k3f9", State.RUNNING), make_job("a-very-long-name-for-a-job-indeed-x2k9")]
    lines = run(RecordingPool(jobs), "jobs", width=80, tty=True).out.splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines[1:]]
    assert [name[-5:] for name in names] == ["-k3f9", "-x2k9"]
    assert all("…" in name and name.startswith("a-very-long") for name in names)
    assert "a-very-long-name-for-a-job-indeed-k3f9" in run(RecordingPool(jobs), "jobs", width=80).out


def test_a_bare_end_is_told_with_its_number(run: Any) -> None:
    ended = [
        make_job(
            name="a-k3f9", state=State.FAILED, exit=Exit(code=7), reason=Reason(code="exit-code", sentence="rank 0 ended with exit code 7")
        ),
        make_job(name="b-k3f9", state=State.FAILED, exit=Exit(signal=9), reason=Reason(code="signal", sentence="rank 0 died of signal 9")),
        make_job(name="c-k3f9", state=State.FAILED, exit=Exit(code=1), reason=Reason(code="cuda-oom", sentence="out of memory")),
    ]
    outcome = run(RecordingPool(ended), "jobs", "-o", "columns=reason", "--no-headers")
    assert sorted(outcome.out.split("\n")) == ["", "cuda-oom", "exit 7", "signal 9"]
