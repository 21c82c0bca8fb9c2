"""Schedules that are wrong, each in its own way, and what is told about those that are right."""

from datetime import datetime, timezone
from typing import Any

import pytest

from gpuctl.base.errors import InvalidInput, UsageError
from gpuctl.model.schedule import PoolSchedule
from gpuctl.policy.windows import review
from gpuctl.policy.windows.selection import PoolNode

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
FRAME = """
apiVersion: gpuctl.io/v1alpha1
kind: PoolSchedule
metadata: {{name: pool}}
spec:
  pool: {{}}
  timeZone: {zone}
  defaultOwner: platform
  windows:
  - {first}
  - {second}
  exceptions: [{exception}]
"""
NIGHT = '{name: night, owner: team-a, start: "0 22 * * 1-5", end: "0 6 * * 2-6", priority: 10}'
DAY = '{name: day, owner: team-b, start: "0 6 * * *", end: "0 22 * * *"}'


def text(first: str = NIGHT, second: str = DAY, zone: str = "Europe/Berlin", exception: str = "") -> bytes:
    return FRAME.format(first=first, second=second, zone=zone, exception=exception).encode()


def read(**parts: str) -> tuple[PoolSchedule | None, dict[str, str]]:
    schedule, problems = review.read(text(**parts), source="file", now=NOW)
    return schedule, {problem.field: str(problem) for problem in problems}


def only(**parts: str) -> str:
    schedule, problems = read(**parts)
    assert schedule is None
    assert len(problems) == 1, problems
    return next(iter(problems.values()))


def window(**fields: Any) -> str:
    known = {"name": "other", "owner": "team-b", "start": "0 22 * * *", "end": "0 6 * * *", **fields}
    return (
        "{"
        + ", ".join(
            f'{key}: "{value}"' if isinstance(value, str) else f"{key}: {value}" for key, value in known.items() if value is not None
        )
        + "}"
    )


def test_a_right_one_has_no_problem() -> None:
    schedule, problems = read()
    assert problems == {}
    assert schedule is not None
    assert [each.name for each in schedule.spec.windows] == ["night", "day"]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"zone": "Mars/Olympus"}, "spec.timeZone: is no time zone known here, got 'Mars/Olympus'"),
        ({"second": window(start="0 22 31 2 *")}, "spec.windows[1].start: is no cron expression (bad day-of-month)"),
        ({"second": window(start="61 22 * * *")}, "spec.windows[1].start: is no cron expression (bad minute)"),
        ({"second": window(start="@daily")}, "spec.windows[1].start: has 1 field, got '@daily'"),
        ({"second": window(start="0 0 22 * * *")}, "spec.windows[1].start: has 6 fields"),
        ({"second": window(duration="8h")}, "spec.windows[1].duration: cannot be given together with end"),
        ({"second": window(end=None)}, "spec.windows[1].end: is missing (allowed: end (cron), or duration)"),
        ({"second": window(end=None, duration="8d")}, "spec.windows[1].duration: is out of range, got 8d"),
        ({"second": window(end=None, duration=8)}, "spec.windows[1].duration: is no duration, got the number 8"),
        ({"second": window(name="night", priority=1)}, "spec.windows[1].name: is also the name of spec.windows[0], got night"),
        ({"second": window(owner="Team B")}, "spec.windows[1].owner: has characters that a name cannot hold"),
        ({"second": window(start="0 6 * * *", end="0 6 * * *")}, "spec.windows[1].end: comes with the start, so the window never opens"),
        ({"exception": "{date: 2026-02-31, skip: true}"}, "spec.exceptions[0].date: is no date of the calendar, got '2026-02-31'"),
        ({"exception": "{date: 2026-12-24}"}, "spec.exceptions[0]: says nothing (allowed: skip: true, or an owner)"),
        ({"exception": "{date: 2026-12-24, skip: true, owner: team-b}"}, "spec.exceptions[0]: says two things"),
        ({"exception": "{date: 2026-12-24, skip: true, windows: [nigth]}"}, "spec.exceptions[0].windows[0]: is no window, got nigth"),
    ],
)
def test_each_problem(parts: dict[str, str], told: str) -> None:
    assert only(**parts).startswith(told)


@pytest.mark.parametrize(
    ("drain", "told"),
    [
        ("{policy: Evic}", "spec.windows[1].drain.policy: is none of them, got 'Evic' (allowed: CheckpointThenEvict, Evict,"),
        ("{maxOverrun: 2h}", "spec.windows[1].drain.maxOverrun: belongs to policy RunToCompletion, got Evict"),
        ("{policy: CheckpointThenEvict}", "spec.windows[1].drain.signal: is missing: CheckpointThenEvict sends one"),
        ("{policy: CheckpointThenEvict, signal: KILL}", "spec.windows[1].drain.signal: cannot be caught, so it warns nobody"),
        ("{grace: soon}", "spec.windows[1].drain.grace: not a duration"),
    ],
)
def test_how_jobs_make_room(drain: str, told: str) -> None:
    second = window(start="0 12 * * *", end="0 13 * * *")[:-1] + f", drain: {drain}}}"
    assert only(second=second).startswith(told)


def test_equal_priority_may_not_overlap_and_the_first_instant_is_named() -> None:
    told = only(second=window(priority=10, start="0 5 * * 6", end="0 7 * * 6"))
    assert told.startswith(
        "spec.windows[1].priority: other and night (spec.windows[0]) overlap with equal priority, first at Sat 2026-03-07 05:00 CET"
    )


def test_an_overlap_in_a_year_is_found() -> None:
    told = only(
        first=window(name="one", end=None, duration="1d", start="0 0 24 12 *"), second=window(end=None, duration="2h", start="0 23 24 12 *")
    )
    assert "first at Thu 2026-12-24 23:00 CET" in told


def test_windows_that_touch_do_not_overlap() -> None:
    schedule, problems = read(second=window(priority=10, start="0 6 * * 2-6", end="0 22 * * 2-6"))
    assert schedule is not None, problems


def test_an_overlap_only_in_the_hour_that_spring_takes_is_found() -> None:
    """Two durations that tile on every other day: 22:00 and 8 h, then 06:00 and 16 h."""
    told = only(first=window(name="one", end=None, duration="8h"), second=window(start="0 6 * * *", end=None, duration="16h"))
    assert "first at Sun 2026-03-29 06:00 CEST" in told


def test_an_end_before_its_start_keeps_a_window_open_too_long() -> None:
    told = only(second=window(start="0 22 2 * *", end="0 6 2 * *"))
    assert told.startswith("spec.windows[1].end: leaves the window open for 30d")


def test_everything_at_once() -> None:
    schedule, problems = read(
        zone="Berlin", first=window(start="x", owner=""), second=window(end=None, name=""), exception="{date: soon, skip: true}"
    )
    assert schedule is None
    assert set(problems) == {
        "spec.timeZone",
        "spec.windows[0].start",
        "spec.windows[0].owner",
        "spec.windows[1].name",
        "spec.windows[1].end",
        "spec.exceptions[0].date",
    }


def test_missing_and_unknown_fields_do_not_hide_others() -> None:
    document = b"kind: PoolSchedul\nspec: {timezone: UTC, defaultOwner: platform, windows: [{name: n, start: '* * *'}]}\n"
    _, problems = review.read(document, source="file", now=NOW)
    fields = {problem.field for problem in problems}
    assert {"kind", "apiVersion", "metadata", "spec.timezone", "spec.timeZone", "spec.pool"} <= fields
    assert {"spec.windows[0].owner", "spec.windows[0].start", "spec.windows[0].end"} <= fields


@pytest.mark.parametrize("document", [b"", b"[1, 2", b"a: &a [*a]", b"---\na: 1\n---\nb: 2\n", b"\xff\xfe\x00"])
def test_what_is_no_document_is_refused_as_a_schedule(document: bytes) -> None:
    with pytest.raises(UsageError) as error:
        review.read(document, source="file", now=NOW)
    assert error.value.code == "bad-schedule"
    assert "schedule file" in error.value.message


def test_keys_given_twice() -> None:
    with pytest.raises(InvalidInput) as error:
        review.read(b"kind: a\nkind: b\n", source="file", now=NOW)
    assert error.value.code == "bad-schedule"


def test_a_list_is_no_schedule() -> None:
    schedule, problems = review.read(b"- 1\n", source="file", now=NOW)
    assert schedule is None
    assert [problem.message for problem in problems] == ["is no schedule"]


def notes(fleet: list[PoolNode] | None = None, **parts: str) -> list[str]:
    schedule, problems = read(**parts)
    assert schedule is not None, problems
    return list(review.notes(schedule, NOW, fleet=fleet))


def test_gaps_and_days_on_which_clocks_change() -> None:
    found = notes(first=window(name="one"), second=window(start="0 12 * * *", end="0 13 * * *"))
    assert found[0].startswith("outside every window for 4d")
    assert "clocks go forward by 1h at Sun 2026-03-29 03:00 CEST; one is open for 7h00m then" in found
    assert "clocks go back by 1h at Sun 2026-10-25 02:00 CET; one is open for 9h00m then" in found
    assert len([note for note in found if note.startswith("clocks")]) == 4


def test_what_comes_to_nothing() -> None:
    found = notes(
        second=window(start="0 0 29 2 *", end="0 0 1 3 *", priority=1), exception="{date: 2026-12-26, skip: true, windows: [night]}"
    )
    assert "window other does not begin within 400 days" in found
    assert "no window begins on 2026-12-26, so its exception changes nothing" in found


def test_a_long_opening_is_asked_about() -> None:
    found = notes(second=window(start="0 22 * * 5", end="0 6 * * 1", priority=1))
    assert any(note.startswith("window other is open for 2d08h from Fri 2026-03-06 22:00 CET") for note in found)


def test_a_selector_that_matches_nothing() -> None:
    schedule, _ = read()
    assert schedule is not None
    found = list(review.notes(schedule, NOW, fleet=[]))
    assert found[0] == "its pool selects none of the 0 nodes that are there"
