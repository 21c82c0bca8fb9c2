"""Owners against a model that walks minute by minute; the two days on which clocks change; laws that hold for every schedule."""

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gpuctl.model.schedule import Borrow, NodePool, PoolSchedule, ScheduleException, ScheduleMetadata, ScheduleSpec, Window
from gpuctl.policy.windows import owners
from gpuctl.policy.windows.selection import PoolNode, chosen

UTC = timezone.utc
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC")
MINUTE = timedelta(minutes=1)
NODE = PoolNode("local", "ws")


def make(
    *windows: Window, zone: str = "Europe/Berlin", exceptions: tuple[ScheduleException, ...] = (), pool: NodePool | None = None
) -> PoolSchedule:
    return PoolSchedule(
        api_version="gpuctl.io/v1alpha1",
        kind="PoolSchedule",
        metadata=ScheduleMetadata(name="pool"),
        spec=ScheduleSpec(pool=pool or NodePool(), time_zone=zone, default_owner="platform", windows=windows, exceptions=exceptions),
    )


def night(**fields: object) -> Window:
    return Window(**{"name": "night", "owner": "team-a", "start": "0 22 * * 1-5", "end": "0 6 * * 2-6", "priority": 10, **fields})  # type: ignore[arg-type]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def switches(schedule: PoolSchedule, start: datetime, end: datetime) -> list[tuple[str, str]]:
    """Every change of owner, as wall clock with its offset and who comes."""
    zone = ZoneInfo(schedule.spec.time_zone)
    spans = list(owners.intervals(schedule, start, end))
    return [(f"{span.start.astimezone(zone):%d %H:%M%z}", span.owner) for span in spans[1:]]


# The model: a cron that looks at the wall clock every minute, and one bit per window.


class Walker:
    """Fires as Debian's cron does, told the time once a minute."""

    def __init__(self, minute: str, hour: str, weekdays: str, zone: str) -> None:
        self.minutes = _numbers(minute, 60)
        self.hours = _numbers(hour, 24)
        self.days = {day % 7 for day in _numbers(weekdays, 7)}
        self.every = "*" in (minute + hour)
        self.zone = ZoneInfo(zone)
        self.seen: datetime | None = None

    def fires(self, moment: datetime) -> list[datetime]:
        """The wall clocks for which it fires at this minute, ascending."""
        local = moment.astimezone(self.zone)
        wall = local.replace(tzinfo=None, fold=0)
        before, self.seen = self.seen, wall
        if self.every:
            return [wall] * self._matches(wall)
        if local.fold:
            return []
        missed = int((wall - before) / MINUTE) if before is not None and wall > before else 1
        return [each for number in range(missed - 1, -1, -1) if self._matches(each := wall - MINUTE * number)]

    def _matches(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and wall.isoweekday() % 7 in self.days


def _numbers(text: str, end: int) -> set[int]:
    if text == "*":
        return set(range(end))
    return {number for part in text.split(",") for number in _run(part)}


def _run(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def model(schedule: PoolSchedule, start: datetime, end: datetime) -> list[str]:
    """The owner at every minute of [start, end), walked from ten days before."""
    spec = schedule.spec
    walkers = []
    for window in spec.windows:
        fields = [(text.split()[0], text.split()[1], text.split()[4]) for text in (window.start, window.end) if text is not None]
        walkers.append((window, [Walker(*each, spec.time_zone) for each in fields]))
    until: dict[str, datetime | None] = {}
    holder: dict[str, str] = {}
    found = []
    moment = start - timedelta(days=10)
    while moment < end:
        best: tuple[int, str] | None = None
        for window, (opens, *closes) in walkers:
            events = [(wall, 0) for wall in opens.fires(moment)] + [(wall, 1) for close in closes for wall in close.fires(moment)]
            for wall, closing in sorted(events):
                exception = next((each for each in spec.exceptions if each.date == str(wall.date())), None)
                if closing:
                    holder.pop(window.name, None)
                elif not (exception and exception.skip):
                    until[window.name] = moment + timedelta(seconds=window.seconds) if window.seconds is not None else None
                    holder[window.name] = exception.owner if exception and exception.owner else window.owner
            limit = until.get(window.name)
            if limit is not None and moment >= limit:
                holder.pop(window.name, None)
            if window.name in holder and (best is None or window.priority > best[0]):
                best = (window.priority, holder[window.name])
        if moment >= start:
            found.append(best[1] if best else spec.default_owner)
        moment += MINUTE
    return found


def told(schedule: PoolSchedule, start: datetime, end: datetime) -> list[str]:
    """The same from ``intervals``, which must tile the span."""
    found: list[str] = []
    reached = start
    for span in owners.intervals(schedule, start, end):
        assert span.start == reached
        assert span.end > span.start
        assert (span.end - span.start) % MINUTE == timedelta(0)
        found += [span.owner] * int((span.end - span.start) / MINUTE)
        reached = span.end
    assert reached == end
    return found


EDGES = {
    "Europe/Berlin": ["2026-03-29", "2026-10-25", "2027-03-28", "2027-10-31"],
    "America/New_York": ["2026-03-08", "2026-11-01", "2027-03-14", "2027-11-07"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04", "2027-04-04", "2027-10-03"],
    "Pacific/Apia": ["2011-04-02", "2011-09-24", "2011-12-29", "2011-12-30", "2012-04-01"],
    "UTC": ["2026-06-01"],
}

MINUTES = st.sampled_from(["0", "30", "15", "59", "0,30"])
HOURS = st.sampled_from(["0", "1", "2", "3", "6", "10", "22", "23", "2,14", "1-4", "*"])
WEEKDAYS = st.sampled_from(["*", "1-5", "0", "6", "0,6", "1,3,5", "2-6", "7"])
DURATIONS = st.sampled_from(["30m", "1h", "8h", "16h", "23h", "1d", "36h", "2d12h"])


@st.composite
def crons(draw: st.DrawFn) -> str:
    return f"{draw(MINUTES)} {draw(HOURS)} * * {draw(WEEKDAYS)}"


@st.composite
def schedules(draw: st.DrawFn, zone: str, days: list[str]) -> PoolSchedule:
    windows = []
    for number in range(draw(st.integers(0, 3))):
        by_end = draw(st.booleans())
        windows.append(
            Window(
                name=f"w{number}",
                owner=draw(st.sampled_from(["team-a", "team-b", "platform"])),
                start=draw(crons()),
                end=draw(crons()) if by_end else None,
                duration=None if by_end else draw(DURATIONS),
                priority=number,
                borrow=Borrow(idle=draw(st.booleans())),
            )
        )
    near = [str(date.fromisoformat(each) + timedelta(days=shift)) for each in days for shift in (-1, 0, 1)]
    dates = draw(st.lists(st.sampled_from(near), max_size=2, unique=True))
    exceptions = tuple(
        ScheduleException(date=each, skip=True) if draw(st.booleans()) else ScheduleException(date=each, owner="team-c") for each in dates
    )
    return make(*windows, zone=zone, exceptions=exceptions)


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_it_agrees_with_a_clock_that_is_read_every_minute(zone: str, data: st.DataObject) -> None:
    edge = data.draw(st.sampled_from(EDGES[zone]))
    schedule = data.draw(schedules(zone, [edge]))
    start = at(edge) - timedelta(days=1)
    end = start + timedelta(days=3, hours=12)
    assert told(schedule, start, end) == model(schedule, start, end)


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_two_years_have_one_owner_at_every_minute(zone: str, data: st.DataObject) -> None:
    schedule = data.draw(schedules(zone, EDGES[zone]))
    start = at("2011-01-01") if zone == "Pacific/Apia" else at("2026-01-01")
    end = start + timedelta(days=730)
    spans = list(owners.intervals(schedule, start, end))
    assert [span.start for span in spans] == [start, *(span.end for span in spans[:-1])]
    assert spans[-1].end == end
    for span in data.draw(st.lists(st.sampled_from(spans), min_size=1, max_size=6)):
        for moment in (span.start, span.end - timedelta(seconds=1)):
            assert owners.owner(schedule, NODE, moment) == span.owner
    first = data.draw(st.sampled_from(spans[: max(1, len(spans) // 2)]))
    change = owners.next_change(schedule, first.start)
    later = next((span for span in spans if span.start > first.start and span.owner != first.owner), None)
    if later is not None and later.start <= first.start + owners.HORIZON:
        assert change is not None
        assert (change.at, change.owner) == (later.start, later.owner)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), minutes=st.integers(0, 60 * 24 * 20))
@example(data=None, minutes=0)
def test_where_one_begins_to_look_makes_no_difference(data: st.DataObject | None, minutes: int) -> None:
    schedule = make(night()) if data is None else data.draw(schedules("Europe/Berlin", ["2026-03-29"]))
    end = at("2026-04-10")
    start = at("2026-03-20")
    later = start + MINUTE * minutes
    whole = told(schedule, start, end)
    assert told(schedule, later, end) == whole[minutes:]


def test_the_night_is_an_hour_shorter_in_spring_and_longer_in_autumn() -> None:
    schedule = make(night(start="0 22 * * *", end="0 6 * * *"))
    assert switches(schedule, at("2026-03-28T12:00"), at("2026-03-29T12:00")) == [
        ("28 22:00+0100", "team-a"),
        ("29 06:00+0200", "platform"),
    ]
    assert switches(schedule, at("2026-10-24T12:00"), at("2026-10-25T12:00")) == [
        ("24 22:00+0200", "team-a"),
        ("25 06:00+0100", "platform"),
    ]


def test_an_hour_that_is_left_out_opens_when_the_clocks_have_moved_and_one_that_comes_twice_opens_once() -> None:
    schedule = make(night(start="30 2 * * *", end="30 4 * * *"))
    assert switches(schedule, at("2026-03-28T23:00"), at("2026-03-29T12:00")) == [
        ("29 03:00+0200", "team-a"),
        ("29 04:30+0200", "platform"),
    ]
    assert switches(schedule, at("2026-10-24T22:00"), at("2026-10-25T12:00")) == [
        ("25 02:30+0200", "team-a"),
        ("25 04:30+0100", "platform"),
    ]


def test_a_duration_is_elapsed_time() -> None:
    schedule = make(night(start="0 22 * * *", end=None, duration="8h"))
    assert switches(schedule, at("2026-03-28T12:00"), at("2026-03-29T12:00")) == [
        ("28 22:00+0100", "team-a"),
        ("29 07:00+0200", "platform"),
    ]
    assert switches(schedule, at("2026-10-24T12:00"), at("2026-10-25T12:00")) == [
        ("24 22:00+0200", "team-a"),
        ("25 05:00+0100", "platform"),
    ]


def test_half_an_hour_of_summer_time() -> None:
    schedule = make(night(start="15 2 * * *", end="0 3 * * *"), zone="Australia/Lord_Howe")
    assert switches(schedule, at("2026-10-03T12:00"), at("2026-10-04T02:00")) == [
        ("04 02:30+1100", "team-a"),
        ("04 03:00+1100", "platform"),
    ]


def test_a_day_that_never_was() -> None:
    schedule = make(night(start="0 22 * * *", end="0 6 * * *"), zone="Pacific/Apia")
    found = switches(schedule, at("2011-12-29T20:00"), at("2011-12-31T14:00"))
    # The 30th never was: its morning and its evening are one instant, in this order, so one night goes over into the next.
    assert found == [("29 22:00-1000", "team-a"), ("31 06:00+1400", "platform"), ("31 22:00+1400", "team-a")]


@pytest.mark.parametrize("zone", ZONES)
def test_start_and_end_as_crons_tile(zone: str) -> None:
    """22:00 to 06:00 and 06:00 to 22:00: together every minute of every day, also on those that are shorter or longer."""
    both = make(
        night(start="0 22 * * *", end="0 6 * * *", priority=0),
        night(name="day", owner="team-b", start="0 6 * * *", end="0 22 * * *", priority=0),
        zone=zone,
    )
    for edge in EDGES[zone]:
        start = at(edge) - timedelta(days=2)
        found = told(both, start, start + timedelta(days=4))
        assert "platform" not in found
        alone = {window.name: told(make(window, zone=zone), start, start + timedelta(days=4)) for window in both.spec.windows}
        assert all((one == "platform") != (other == "platform") for one, other in zip(alone["night"], alone["day"], strict=True))


def test_it_belongs_to_the_window_at_its_start_and_not_at_its_end() -> None:
    schedule = make(night())
    assert owners.owner_at(schedule, at("2026-03-02T21:00")) == "team-a"
    assert owners.owner_at(schedule, at("2026-03-02T20:59:59.999999")) == "platform"
    assert owners.owner_at(schedule, at("2026-03-03T05:00")) == "platform"
    assert owners.owner_at(schedule, at("2026-03-03T04:59:59.999999")) == "team-a"


def test_an_exception_is_about_what_begins_on_its_date() -> None:
    christmas = ScheduleException(date="2026-12-24", skip=True)
    schedule = make(night(start="0 22 * * *", end="0 6 * * *"), exceptions=(christmas,))
    assert switches(schedule, at("2026-12-24T00:00"), at("2026-12-26T12:00")) == [
        ("24 06:00+0100", "platform"),
        ("25 22:00+0100", "team-a"),
        ("26 06:00+0100", "platform"),
    ]


def test_an_exception_may_give_the_window_to_somebody_else_or_be_about_one_window_only() -> None:
    other = ScheduleException(date="2026-12-24", owner="team-b", windows=("night",))
    elsewhere = ScheduleException(date="2026-12-25", skip=True, windows=("day",))
    schedule = make(
        night(start="0 22 * * *", end="0 6 * * *"),
        night(name="day", owner="team-c", start="0 12 * * *", end="0 13 * * *"),
        exceptions=(other, elsewhere),
    )
    assert switches(schedule, at("2026-12-24T20:00"), at("2026-12-26T03:00")) == [
        ("24 22:00+0100", "team-b"),
        ("25 06:00+0100", "platform"),
        ("25 22:00+0100", "team-a"),
    ]


def test_the_higher_priority_owns_and_gives_back() -> None:
    schedule = make(
        night(start="0 22 * * *", end="0 6 * * *", priority=1),
        night(name="maintenance", owner="ops", start="0 2 * * *", duration="1h", end=None, priority=9),
    )
    assert switches(schedule, at("2026-03-02T12:00"), at("2026-03-03T12:00")) == [
        ("02 22:00+0100", "team-a"),
        ("03 02:00+0100", "ops"),
        ("03 03:00+0100", "team-a"),
        ("03 06:00+0100", "platform"),
    ]


def test_a_window_that_opens_once_in_years() -> None:
    schedule = make(Window(name="leap", owner="ops", start="0 0 29 2 *", end="0 0 1 3 *"), zone="UTC")
    assert owners.owner_at(schedule, at("2028-02-29T12:00")) == "ops"
    assert owners.owner_at(schedule, at("2028-03-01T00:00")) == "platform"
    assert owners.next_change(schedule, at("2026-01-01")) is None
    change = owners.next_change(schedule, at("2027-06-01"))
    assert change is not None
    assert (change.at, change.owner) == (at("2028-02-29"), "ops")


def test_a_schedule_without_windows_belongs_to_the_default_owner_for_ever() -> None:
    schedule = make()
    assert owners.owner_at(schedule, at("2026-01-01")) == "platform"
    assert owners.next_change(schedule, at("2026-01-01")) is None


def test_nodes_by_cluster_labels_and_number() -> None:
    fleet = [PoolNode("a", f"n{number}", {"gpu": "h100"}) for number in range(40)] + [PoolNode("b", "n0", {"gpu": "a100"})]
    some = make(night(), pool=NodePool(clusters=("a",), node_selector={"gpu": "h100"}, count=16))
    first = chosen(some, fleet)
    assert len(first) == 16
    assert chosen(some, list(reversed(fleet))) == first
    gone = next(iter(sorted(first)))
    second = chosen(some, [node for node in fleet if node.key != gone])
    assert len(first & second) == 15
    assert chosen(make(night(), pool=NodePool(clusters=("b",))), fleet) == {("b", "n0")}
    assert owners.owner(some, fleet[-1], at("2026-03-02T22:00"), fleet=fleet) is None
