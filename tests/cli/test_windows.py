"""``gpuctl windows``: whose the nodes are, when that changes, the week as a strip, and the check of a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpuctl.model.schedule import ScheduleStatus
from gpuctl.policy.windows import review
from tests.cli.recorder import NOW, RecordingPool

NIGHT = """
apiVersion: gpuctl.io/v1alpha1
kind: PoolSchedule
metadata: {name: h100-night}
spec:
  pool: {nodeSelector: {gpuctl.io/gpu: h100}, count: 16}
  timeZone: Europe/Berlin
  defaultOwner: platform
  windows:
  - {name: night, owner: team-train, start: "0 22 * * 1-5", end: "0 6 * * 2-6", priority: 10,
     drain: {notify: 45m, lead: 30m, grace: 10m, policy: Evict}, borrow: {idle: true}}
  - {name: lunch, owner: team-b, start: "30 12 * * *", duration: 90m}
  exceptions: [{date: 2026-12-24, skip: true}]
"""


def status(text: str = NIGHT, **fields: Any) -> ScheduleStatus:
    schedule, problems = review.read(text.encode(), source="night.yaml", now=NOW)
    assert schedule is not None, problems
    return ScheduleStatus(
        **{"cluster": "local", "name": schedule.metadata.name, "schedule": schedule, "nodes": ("ws",), "node_count": 1, "gpus": 8, **fields}
    )


@pytest.fixture
def pool() -> RecordingPool:
    return RecordingPool(schedules=(status(),))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("args", ["windows", "windows --team team-train", "windows --week", "windows show h100-night"])
def test_tables(run: Any, pool: RecordingPool, snapshot: Any, args: str, width: int) -> None:
    outcome = run(pool, *args.split(), width=width, tty=True)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot
    assert max(map(len, outcome.out.splitlines())) <= width


@pytest.mark.parametrize("form", ["wide", "name", "json", "csv", "yaml"])
def test_every_format(run: Any, pool: RecordingPool, snapshot: Any, form: str) -> None:
    outcome = run(pool, "windows", "-o", form)
    assert outcome.code == 0
    assert outcome.out == snapshot


def test_json_has_exact_instants_of_the_week(run: Any, pool: RecordingPool) -> None:
    item = json.loads(run(pool, "windows", "-o", "json").out)["items"][0]
    assert (item["owner"], item["next"]) == ("team-b", {"owner": "platform", "at": "2026-03-01T13:00:00Z"})
    spans = item["spans"]
    assert (spans[0]["start"], spans[-1]["end"]) == ("2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z")
    assert [span["end"] for span in spans[:-1]] == [span["start"] for span in spans[1:]]
    assert {
        "start": "2026-03-02T21:00:00Z",
        "end": "2026-03-03T05:00:00Z",
        "owner": "team-train",
        "window": "night",
        "lends": True,
    } in spans


def test_another_instant(run: Any, pool: RecordingPool) -> None:
    for at, owner in {"2026-03-02T21:00:00Z": "team-train", "2026-03-02T20:59:59Z": "platform", "34h": "team-train"}.items():
        assert run(pool, "windows", "--at", at, "-o", "columns=owner", "--no-headers").out == f"{owner}\n"


def test_a_strip_knows_days_of_23_and_25_hours(run: Any, pool: RecordingPool) -> None:
    berlin = {"GPUCTL_TIME_ZONE": "Europe/Berlin"}
    spring = run(pool, "windows", "--at", "2026-03-29T12:00", env=berlin).out.splitlines()
    assert next(line for line in spring if line.startswith("Sun 29 Mar"))[13:21] == "....  .."
    autumn = run(pool, "windows", "--at", "2026-10-25T12:00", env=berlin).out.splitlines()
    assert len(next(line for line in autumn if line.startswith("Sun 25 Oct"))) == 13 + 48


def test_colour_adds_nothing_that_letters_do_not_say(run: Any, pool: RecordingPool) -> None:
    import re

    plain = run(pool, "windows", "--team", "team-train", tty=True).out
    coloured = run(pool, "windows", "--team", "team-train", tty=True, color=True).out
    assert coloured != plain
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_what_a_team_may_borrow(run: Any, pool: RecordingPool) -> None:
    rows = run(pool, "windows", "--team", "team-b").out.splitlines()
    monday = next(line for line in rows if line.startswith("Mon 02 Mar"))[13:]
    assert monday == "." * 22 + "//##" + "." * 16 + "+" * 6


def test_a_team_that_owns_nothing_is_told_who_does(run: Any, pool: RecordingPool) -> None:
    outcome = run(pool, "windows", "--team", "team-trian")
    assert outcome.code == 0
    assert outcome.err == "note: nothing is team-trian's this week; owners: platform, team-b, team-train; did you mean team-train?\n"


def test_a_schedule_about_no_node_is_told(run: Any) -> None:
    outcome = run(RecordingPool(schedules=(status(nodes=(), node_count=3),)), "windows")
    assert outcome.err == "note: schedule h100-night is about none of the nodes of local\n"


def test_without_a_schedule_the_nodes_are_everybodys(run: Any) -> None:
    outcome = run(RecordingPool(), "windows")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no windows, so the nodes are everybody's, always\n")
    assert json.loads(run(RecordingPool(), "windows", "-o", "json").out)["items"] == []


def test_what_could_not_be_read_is_said(run: Any, pool: RecordingPool) -> None:
    pool.incomplete = {"res-a": "forbidden"}
    assert "note: res-a could not be read: forbidden\n" in run(pool, "windows").err
    outcome = run(RecordingPool(incomplete={"res-a": "forbidden"}), "windows", "show", "x")
    assert outcome.code == 7


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        ("windows show h100-nigth", 3, "gpuctl windows show h100-night"),
        ("windows --at never", 2, "--at: is no instant"),
        ("windows --at 9999d", 2, "--at: is too far away"),
        ("windows --at 99999999999d", 2, "--at: is too far away"),
        ("windows check nowhere.yaml", 2, "No such file"),
    ],
)
def test_refusals(run: Any, pool: RecordingPool, args: str, code: int, word: str) -> None:
    outcome = run(pool, *args.split())
    assert (outcome.code, outcome.out) == (code, "")
    assert word in outcome.err


def test_a_right_file_and_what_is_worth_knowing(run: Any, tmp_path: Path) -> None:
    (tmp_path / "night.yaml").write_text(NIGHT)
    pool = RecordingPool()
    outcome = run(pool, "windows", "check", "night.yaml")
    assert outcome.code == 0
    assert outcome.out.startswith("night.yaml: schedule h100-night with 2 windows is right\n")
    assert "clocks go forward by 1h at Sun 2026-03-29 03:00 CEST" in outcome.out
    assert pool.calls == []
    assert json.loads(run(pool, "windows", "check", "-", "-o", "json", stdin=NIGHT).out)["name"] == "h100-night"


def test_every_problem_of_a_file_at_once(run: Any, tmp_path: Path, snapshot: Any) -> None:
    bad = NIGHT.replace("Berlin", "Berln").replace("0 22 * * 1-5", "0 22 31 2 *").replace("2026-12-24", "2026-02-31")
    bad = bad.replace("duration: 90m", 'duration: 90m, end: "x"').replace("count: 16", "count: 0").replace("owner: team-b", "ownr: team-b")
    (tmp_path / "bad.yaml").write_text(bad)
    outcome = run(RecordingPool(), "windows", "check", "bad.yaml")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == snapshot


def test_a_schedule_that_is_not_obeyed_is_shown_with_why_and_the_rest_goes_on(run: Any, snapshot: Any) -> None:
    broken = ScheduleStatus(cluster="lab", name="mars", node_count=4, problems=("spec.timeZone is no time zone known here: got 'Mars'",))
    late = status(cluster="lab", name="h100-night", notes=("nobody switches 1 of its 1 nodes",))
    pool = RecordingPool(schedules=(late, broken), incomplete={"cloud": "cannot list poolschedules: forbidden"})
    outcome = run(pool, "windows", width=80, tty=True)
    assert outcome.out == snapshot
    assert "note: schedule mars on lab is not obeyed: spec.timeZone is no time zone known here: got 'Mars'" in outcome.err
    assert "note: schedule h100-night on lab: nobody switches 1 of its 1 nodes" in outcome.err
    assert "cannot list poolschedules: forbidden" in outcome.err
    assert outcome.code == 0
    shown = run(pool, "windows", "show", "mars", width=80)
    assert shown.out == snapshot
    item = json.loads(run(pool, "windows", "show", "mars", "-o", "json").out)
    assert ("owner" in item, item["problems"]) == (False, ["spec.timeZone is no time zone known here: got 'Mars'"])


def test_a_name_that_two_clusters_have_is_asked_for_with_its_cluster(run: Any) -> None:
    pool = RecordingPool(schedules=(status(cluster="a"), status(cluster="b")))
    outcome = run(pool, "windows", "show", "h100-night")
    assert outcome.code != 0
    assert "a/h100-night, b/h100-night" in outcome.err
    assert "on b" in run(pool, "windows", "show", "b/h100-night").out


def test_the_clock_of_the_place_counts(run: Any) -> None:
    pool = RecordingPool(schedules=(status(clock_ahead=34 * 3600.0),))
    assert run(pool, "windows", "-o", "columns=owner", "--no-headers").out == "team-train\n"
