"""Switches of nodes: each step at its time, and the laws that hold whatever crashes when."""

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gpuctl.model.schedule import Borrow, Drain, NodePool, PoolSchedule, ScheduleMetadata, ScheduleSpec, Window
from gpuctl.policy.windows import owners
from gpuctl.policy.windows.marked import End, Offered, Own, Release, Step, Tell, Warn
from gpuctl.policy.windows.switching import SETTLE, plan
from tests.unit.policy.switched import CREATED, World, node, offer, pod

UTC = timezone.utc
TEN = datetime(2026, 3, 3, 22, tzinfo=UTC)
"""The night window opens; it closes at six."""
SIX = datetime(2026, 3, 4, 6, tzinfo=UTC)


def schedule(*windows: Window, name: str = "pool", pool: NodePool | None = None) -> PoolSchedule:
    return PoolSchedule(
        api_version="gpuctl.io/v1alpha1",
        kind="PoolSchedule",
        metadata=ScheduleMetadata(name=name),
        spec=ScheduleSpec(pool=pool or NodePool(), time_zone="UTC", default_owner="platform", windows=windows),
    )


def night(**drain: str) -> Window:
    return Window(name="night", owner="team-a", start="0 22 * * *", end="0 6 * * *", drain=Drain(**drain))  # type: ignore[arg-type]


def owned(by: str, name: str = "n1", **more: object):
    return node(name, **{"schedule": "pool", "owner": by, "taints_owner": by, **more})


def at(moment: datetime, **before: int) -> datetime:
    return moment - timedelta(**before)


def steps(world: World, now: datetime) -> tuple[Step, ...]:
    return plan(world.offered, list(world.nodes.values()), list(world.pods.values()), now).steps


def kinds(found: tuple[Step, ...]) -> list[str]:
    return [f"{type(each).__name__}:{each.how}" if isinstance(each, End) else type(each).__name__ for each in found]


@pytest.fixture
def evening() -> World:
    """Team-a's night, half an hour of lead and ten minutes of grace before six."""
    pods = [pod("long", "team-a", grace=3600), pod("short", "team-a", on="n2", grace=30)]
    nodes = [owned("team-a"), owned("team-a", "n2")]
    return World([offer(schedule(night()))], {each.name: each for each in nodes}, {each.uid: each for each in pods})


def test_an_end_is_told_then_closed_then_evicted_then_enforced(evening: World) -> None:
    world = evening
    assert steps(world, at(SIX, minutes=46)) == ()
    told = steps(world, at(SIX, minutes=45))
    assert kinds(told) == ["Tell", "Tell"]
    assert all(isinstance(each, Tell) and (each.end.at, each.end.next, each.end.window) == (SIX, "platform", "night") for each in told)
    world.look(at(SIX, minutes=45))
    assert steps(world, at(SIX, minutes=44)) == ()
    assert kinds(steps(world, at(SIX, minutes=30))) == ["Close", "Close"]
    world.look(at(SIX, minutes=30))
    assert steps(world, at(SIX, minutes=11)) == ()
    (first,) = steps(world, at(SIX, minutes=10))  # an hour of grace is cut to the window's ten minutes
    assert isinstance(first, End)
    assert (first.how, [each.name for each in first.pods], first.grace) == ("evict", ["long"], {"long": 600})
    world.protected = {"long"}
    world.look(at(SIX, minutes=10))
    late = steps(world, at(SIX, seconds=30))
    assert kinds(late) == ["End:evict", "End:evict"]  # what is protected is asked again, what has short grace is asked late
    world.look(at(SIX, seconds=30))
    world.tick(SIX)
    assert kinds(steps(world, SIX)) == ["End:delete", "Own"]  # n2 is free, n1 is not
    world.look(SIX)
    world.stubborn = {"long"}
    world.tick(SIX + timedelta(minutes=5))
    assert steps(world, SIX + timedelta(minutes=5)) == ()
    assert world.nodes["n1"].owner == "team-a"
    world.tick(SIX + timedelta(minutes=10))
    world.look(SIX + timedelta(minutes=10))
    assert {each.owner for each in world.nodes.values()} == {"platform"}


def test_a_pod_that_was_deleted_with_a_longer_grace_is_hurried_at_the_end(evening: World) -> None:
    evening.pods = {"long": pod("long", "team-a", grace=86400, ends_at=SIX + timedelta(hours=20), told=SIX)}
    evening.look(at(SIX, minutes=30))
    assert steps(evening, at(SIX, minutes=5)) == ()
    (hurry,) = [each for each in steps(evening, SIX) if isinstance(each, End)]
    assert (hurry.how, hurry.grace) == ("delete", {"long": 600})


def test_a_gang_ends_whole_and_with_its_members_that_hold_no_gpus() -> None:
    pods = [
        pod("a", "team-a", gang="g"),
        pod("b", "team-a", on="n2", gang="g", grace=600),
        pod("head", "team-a", on="cpu", gang="g", gpus=0),
    ]
    nodes = [owned("team-a", closing="platform", closing_since=at(SIX, minutes=30)), node("n2"), node("cpu")]
    only = schedule(night(), pool=NodePool(node_selector={"x": "y"}))
    nodes[0] = owned("team-a", labels={"x": "y"}, closing="platform", closing_since=at(SIX, minutes=30))
    world = World([offer(only)], {each.name: each for each in nodes}, {each.uid: each for each in pods})
    (_, end) = steps(world, at(SIX, minutes=10))
    assert isinstance(end, End)
    assert [each.name for each in end.pods] == ["a", "b", "head"]


def test_checkpoint_then_evict_signals_once_before_it_evicts() -> None:
    one = schedule(night(policy="CheckpointThenEvict", signal="USR1", grace="15m"))
    world = World([offer(one)], {"n1": owned("team-a", closing="platform")}, {"p": pod("p", "team-a", told=SIX, grace=60)})
    assert steps(world, at(SIX, minutes=16)) == ()
    (warn,) = steps(world, at(SIX, minutes=15))
    assert isinstance(warn, Warn)
    assert warn.signal == "USR1"
    world.look(at(SIX, minutes=15))
    assert steps(world, at(SIX, minutes=14)) == ()
    assert kinds(steps(world, at(SIX, minutes=1))) == ["End:evict"]


def test_a_jobs_own_signal_comes_at_its_own_time_whatever_the_policy() -> None:
    world = World([offer(schedule(night()))], {"n1": owned("team-a", closing="platform")})
    world.pods = {"p": pod("p", "team-a", told=SIX, signal="USR2", signal_before=1200)}
    assert steps(world, at(SIX, minutes=21)) == ()
    (warn,) = steps(world, at(SIX, minutes=20))
    assert isinstance(warn, Warn)
    assert warn.signal == "USR2"


def test_run_to_completion_waits_and_is_cut_after_its_overrun() -> None:
    one = schedule(night(policy="RunToCompletion", max_overrun="2h"))
    world = World([offer(one)], {"n1": owned("team-a")}, {"p": pod("p", "team-a", told=SIX)})
    assert steps(world, at(SIX, minutes=5)) == ()  # what runs may go on, so new pods may start up to the end
    assert kinds(steps(world, SIX)) == ["Close"]
    world.look(SIX)
    assert steps(world, SIX + timedelta(minutes=100)) == ()
    assert kinds(steps(world, SIX + timedelta(minutes=119, seconds=30))) == ["End:evict"]
    assert kinds(steps(world, SIX + timedelta(hours=2))) == ["End:delete"]


def test_never_leaves_pods_alone_and_the_node_waits() -> None:
    world = World([offer(schedule(night(policy="Never")))], {"n1": owned("team-a")}, {"p": pod("p", "team-a", told=SIX)})
    world.look(SIX)
    found = plan(world.offered, list(world.nodes.values()), list(world.pods.values()), SIX + timedelta(hours=5))
    assert found.steps == ()
    assert found.standings[0].behind == {"n1": "waits for team-a/p"}
    assert found.busy


def test_a_node_stays_closed_for_a_moment_before_it_changes_hands() -> None:
    world = World([offer(schedule(night()))], {"n1": owned("platform")})
    late = TEN + timedelta(hours=1)  # nobody looked for an hour
    assert kinds(world.look(late).steps) == ["Close"]
    assert world.look(late + SETTLE - timedelta(seconds=1)).steps == ()
    assert kinds(world.look(late + SETTLE).steps) == ["Own"]
    assert (world.nodes["n1"].owner, world.nodes["n1"].taints_owner, world.nodes["n1"].closing) == ("team-a", "team-a", None)


def test_a_node_that_no_schedule_had_is_waited_for() -> None:
    world = World([offer(schedule(night()))], {"n1": node()}, {"old": pod("old", "somebody")})
    world.look(TEN)
    assert world.nodes["n1"].closing == "team-a"
    found = world.look(TEN + timedelta(hours=7))
    assert not any(isinstance(each, End) for _, each in world.log)
    assert found.standings[0].behind == {"n1": "waits for somebody/old, there before the schedule was"}
    del world.pods["old"]
    world.look(TEN + timedelta(hours=7, minutes=1))
    assert world.nodes["n1"].owner == "team-a"


def test_pods_of_the_next_owner_stay() -> None:
    world = World([offer(schedule(night()))], {"n1": owned("platform", closing="team-a", closing_since=at(TEN, minutes=30))})
    world.pods = {"mine": pod("mine", "team-a")}
    assert kinds(steps(world, TEN)) == ["Own"]


def test_what_an_administrator_let_in_is_left_alone_until_the_node_changes_hands() -> None:
    world = World([offer(schedule(night()))], {"n1": owned("team-a")}, {"probe": pod("probe", "ops")})
    assert steps(world, TEN + timedelta(hours=1)) == ()
    assert kinds(steps(world, at(SIX, minutes=45))) == ["Tell"]


def test_a_changed_schedule_gives_pods_their_grace() -> None:
    world = World([offer(schedule())], {"n1": owned("team-x")}, {"p": pod("p", "team-x")})
    now = TEN
    assert kinds(world.look(now).steps) == ["Close"]
    assert kinds(world.look(now).steps) == ["Tell", "End:evict"]
    world.protected = {"p"}
    world.pods["p"] = pod("p", "team-x")
    assert "End:delete" not in kinds(world.look(now + timedelta(minutes=9)).steps)
    assert "End:delete" in kinds(world.look(now + timedelta(minutes=10)).steps)


def test_a_window_that_is_taken_back_does_not_end_pods_by_yesterdays_end() -> None:
    late = Window(name="night", owner="team-a", start="30 23 * * *", end="0 6 * * *")
    now = TEN + timedelta(hours=1)
    world = World([offer(schedule(late))], {"n1": owned("team-a")}, {"p": pod("p", "team-a", started=now - timedelta(minutes=50))})
    assert kinds(world.look(now).steps) == ["Close"]
    (_, end) = world.look(now).steps
    assert isinstance(end, End)
    assert (end.how, end.end.at) == ("evict", now + timedelta(minutes=10))


def test_a_node_that_a_faster_clock_handed_over_is_not_taken_back() -> None:
    world = World([offer(schedule(night()))], {"n1": owned("team-a")}, {"p": pod("p", "team-a", started=at(TEN, seconds=1))})
    assert steps(world, at(TEN, seconds=3)) == ()
    assert kinds(steps(world, at(TEN, minutes=5))) == ["Close"]


def test_never_is_never_however_long_ago_the_window_ended() -> None:
    monthly = Window(name="big", owner="team-a", start="0 0 1 * *", duration="7d", priority=9, drain=Drain(policy="Never"))
    daily = Window(name="day", owner="team-b", start="0 8 * * *", end="0 20 * * *")
    world = World([offer(schedule(monthly, daily))], {"n1": owned("team-a", closing="team-b")}, {"p": pod("p", "team-a", told=SIX)})
    for day in (9, 12, 18, 25):
        found = world.look(datetime(2026, 3, day, 12, tzinfo=UTC))
        assert not any(isinstance(each, End) for each in found.steps), day


def test_a_mark_that_was_written_by_hand_closes_the_node_anew() -> None:
    world = World([offer(schedule(night()))], {"n1": owned("platform", closing="team-a", closing_since=datetime(9999, 12, 31, tzinfo=UTC))})
    assert kinds(steps(world, TEN + timedelta(hours=1))) == ["Close"]


def test_borrowers_go_when_lending_ends_and_the_owner_stays() -> None:
    lent = Window(name="lent", owner="platform", start="0 22 * * *", end="0 6 * * *", borrow=Borrow(idle=True))
    world = World([offer(schedule(lent))], {"n1": owned("platform", taints_owner=None, taints_lender="platform")})
    world.pods = {"guest": pod("guest", "team-b", preemptible=True, gpus=4), "host": pod("host", "platform", gpus=4)}
    (own, tell) = sorted(steps(world, at(SIX, minutes=30)), key=lambda each: type(each).__name__)
    assert isinstance(own, Own)
    assert (own.owner, own.lends) == ("platform", False)  # no further guest may come
    assert isinstance(tell, Tell)
    world.look(at(SIX, minutes=30))
    ends = [each for each in steps(world, SIX) if isinstance(each, End)]
    assert [[each.name for each in end.pods] for end in ends] == [["guest"]]
    assert world.nodes["n1"].taints_owner == "platform"


def test_two_schedules_over_a_node_refuse_the_later_one() -> None:
    first = offer(schedule(night()))
    second = offer(schedule(name="other"), created=CREATED + timedelta(days=1))
    found = plan([second, first], [owned("team-a")], [], TEN)
    assert found.steps == ()
    other, pool = found.standings
    assert (other.accepted, other.reason, other.message) == (False, "Overlaps", "selects nodes of pool: n1")
    assert pool.accepted


def test_an_overlap_leaves_every_node_where_it_is() -> None:
    older = offer(schedule(night(), pool=NodePool(node_selector={"a": "1"})))
    younger = offer(schedule(name="other", pool=NodePool(node_selector={"b": "1"})), created=CREATED + timedelta(days=1))
    both = owned("platform", "n1", schedule="other", labels={"a": "1", "b": "1"})
    rest = owned("platform", "n2", schedule="other", labels={"b": "1"})
    found = plan([older, younger], [both, rest], [], TEN + timedelta(hours=1))
    assert found.steps == ()
    assert not found.standings[0].accepted


def test_nonsense_changes_nothing_and_no_schedule_at_all_releases() -> None:
    broken = Offered(name="pool", created=CREATED, problem="spec.timeZone: is no time zone")
    assert plan([broken], [owned("team-a")], [], TEN).steps == ()
    assert plan([broken, offer(schedule(name="b"))], [owned("team-a")], [], TEN).steps == ()
    assert plan([], [owned("team-a"), node("free")], [], TEN).steps == (Release(node="n1"),)


def test_a_schedule_that_no_longer_ends_soon_opens_the_node_again() -> None:
    world = World([offer(schedule(night()))], {"n1": owned("team-a", closing="platform", closing_since=TEN)})
    assert kinds(world.look(TEN + timedelta(hours=1)).steps) == ["Own"]
    assert world.nodes["n1"].closing is None
    assert world.owners == []


def test_it_wakes_for_the_next_step() -> None:
    world = World([offer(schedule(night()))], {"n1": owned("team-a")}, {"p": pod("p", "team-a")})
    assert world.look(TEN).wake_at == at(SIX, minutes=45)
    assert world.look(at(SIX, minutes=45)).wake_at == at(SIX, minutes=30)
    assert world.look(at(SIX, minutes=30)).wake_at == at(SIX, seconds=30)
    assert world.look(at(SIX, seconds=30)).wake_at == SIX


UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""A look takes 20 ms, so that making a failure smaller takes longer than understanding it."""
TEAMS = ("team-a", "team-b", "platform")


@st.composite
def schedules(draw: st.DrawFn) -> PoolSchedule:
    windows = []
    for number in range(draw(st.integers(1, 3))):
        policy = draw(st.sampled_from(["Evict", "CheckpointThenEvict", "RunToCompletion"]))
        more = {"signal": "USR1"} if policy == "CheckpointThenEvict" else {"max_overrun": "30m"} if policy == "RunToCompletion" else {}
        drain = Drain(
            policy=policy,  # type: ignore[arg-type]
            notify=f"{draw(st.integers(0, 90))}m",
            lead=f"{draw(st.integers(0, 40))}m",
            grace=f"{draw(st.integers(0, 15))}m",
            **more,  # type: ignore[arg-type]
        )
        start = draw(st.integers(0, 23))
        windows.append(
            Window(
                name=f"w{number}",
                owner=draw(st.sampled_from(TEAMS)),
                start=f"{draw(st.sampled_from([0, 30]))} {start} * * *",
                duration=f"{draw(st.integers(1, 9))}h",
                priority=number,
                drain=drain,
                borrow=Borrow(idle=draw(st.booleans())),
            )
        )
    return schedule(*windows)


@settings(max_examples=20, deadline=None, phases=UNSHRUNK, suppress_health_check=[HealthCheck.too_slow])
@given(one=schedules(), chance=st.randoms(use_true_random=False))
def test_crashes_at_any_step_never_give_two_owners_or_a_lost_node(one: PoolSchedule, chance: Random) -> None:
    world = World([offer(one)], {"n1": node(), "n2": node("n2")})
    now = TEN
    for number in range(40):
        now += timedelta(minutes=chance.randint(1, 45))
        wish = pod(f"p{number}", chance.choice(TEAMS), on=chance.choice(["n1", "n2"]), gpus=4, grace=chance.randint(1, 900))
        world.start(msgspec.structs.replace(wish, preemptible=chance.random() < 0.5))
        world.stubborn |= {wish.uid} if chance.random() < 0.5 else set()
        world.protected |= {wish.uid} if chance.random() < 0.5 else set()
        world.look(now, crash_after=chance.choice([None, None, 0, 1, 2, 3]))
        world.tick(now)
        for each in world.nodes.values():
            assert (each.taints_owner or each.taints_lender) == each.owner
    # Left to itself it converges, from whatever state it was found in: nothing new starts, the last overrun ends, and what was there before
    # the schedule ends by itself.
    for _ in range(100):
        now += timedelta(minutes=5)
        world.pods = {uid: each for uid, each in world.pods.items() if world.nodes[each.node].schedule is not None}
        world.look(now)
        world.tick(now)
        world.look(now + SETTLE)
        if all(each.owner == owners.owner_at(one, now + SETTLE) for each in world.nodes.values()):
            return
    raise AssertionError(f"{world.nodes} at {now}")


@settings(max_examples=6, deadline=None, phases=UNSHRUNK, suppress_health_check=[HealthCheck.too_slow])
@given(one=schedules())
def test_looked_at_often_every_change_is_made_once(one: PoolSchedule) -> None:
    world = World([offer(one)], {"n1": node()})
    world.look(TEN)
    begin = TEN + timedelta(minutes=1)
    world.look(begin)  # adopted
    assert world.nodes["n1"].owner == owners.owner_at(one, begin)
    world.owners.clear()
    end = begin + timedelta(days=1)
    for number in range(1, 24 * 12 + 1):
        world.look(begin + number * timedelta(minutes=5))
    world.look(end + SETTLE)
    changes = [after for before, after in pairwise(owners.intervals(one, begin, end)) if before.owner != after.owner]
    assert [owner for *_, owner in world.owners] == [each.owner for each in changes]
    assert all(moment - each.start <= timedelta(minutes=10) for (moment, *_), each in zip(world.owners, changes, strict=True))
