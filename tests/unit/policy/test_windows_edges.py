"""What windows mean for jobs: who may start, who is told to wait and until when, who will be cut."""

from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from gpuctl.policy.queue import decide
from gpuctl.policy.values import ArrayProgress, Decision, NodeState, OwnerSpan, PodPlace, QueueJob, Running, Shrink, Snapshot, Start, Wait
from gpuctl.policy.windows import edges, opening

NOW = datetime(2026, 3, 2, 18, tzinfo=timezone.utc)
NIGHT = NOW + timedelta(hours=3)
MORNING = NOW + timedelta(hours=11)


def node(*spans: OwnerSpan, at: datetime = NOW, **fields: Any) -> NodeState:
    bare = NodeState(cluster="local", name="ws", gpu_type="h100", gpus=8, gpus_free=8, **fields)
    return edges.at(msgspec.structs.replace(bare, spans=spans), at)


def nights(**drain: Any) -> tuple[OwnerSpan, ...]:
    """The platform's until 21:00, team-a's until 05:00, then the platform's again."""
    return (
        OwnerSpan(owner="platform", start=NOW - timedelta(hours=9), until=NIGHT),
        OwnerSpan(owner="team-a", start=NIGHT, until=MORNING, window="night", **drain),
        OwnerSpan(owner="platform", start=MORNING),
    )


def job(**fields: Any) -> QueueJob:
    return QueueJob(**{"id": "1", "name": "train", "submitted_at": NOW, "team": "team-a", **fields})


def verdict(wanted: QueueJob, state: NodeState, now: datetime = NOW) -> Decision:
    return decide((wanted,), Snapshot(nodes=(state,)), now)


def starts(wanted: QueueJob, state: NodeState, now: datetime = NOW) -> bool:
    return isinstance(verdict(wanted, state, now).actions[0], Start)


def test_another_teams_job_waits_for_its_window_and_is_looked_at_then() -> None:
    found = verdict(job(), node(*nights()))
    wait = found.actions[0]
    assert isinstance(wait, Wait)
    assert wait.reason.code == "window"
    assert wait.reason.sentence == "needs 1x1, 1 of 1 node belongs to platform, can start at 21:00 UTC"
    assert (wait.expected_start, found.wake_at) == (NIGHT, NIGHT)


def test_instants_are_told_on_the_clock_of_the_place() -> None:
    wait = verdict(job(), node(*nights(), zone="Europe/Berlin")).actions[0]
    assert isinstance(wait, Wait)
    assert wait.reason.sentence.endswith("can start at 22:00 CET")


def test_it_starts_at_the_instant_and_not_a_microsecond_before() -> None:
    before = NIGHT - timedelta(microseconds=1)
    assert not starts(job(), node(*nights(), at=before), before)
    assert starts(job(), node(*nights(), at=NIGHT), NIGHT)


def test_nobodys_nodes_and_ones_own_are_open() -> None:
    assert starts(job(), node())
    assert starts(job(team="platform"), node(*nights()))


def test_a_team_that_owns_nothing_is_told_that_no_window_helps() -> None:
    wait = verdict(job(team=None), node(*nights())).actions[0]
    assert isinstance(wait, Wait)
    assert wait.reason.sentence.endswith("no window ahead lets it start")
    assert wait.reason.advice is not None
    assert "GPUCTL_TEAM" in wait.reason.advice
    assert wait.expected_start is None


def test_idle_nodes_are_lent_to_what_may_be_stopped() -> None:
    state = node(*nights(lends=True), at=NIGHT)
    assert starts(job(team="team-b", preemptible=True, requeue=True), state, NIGHT)
    wait = verdict(job(team="team-b"), state, NIGHT).actions[0]
    assert isinstance(wait, Wait)
    assert wait.reason.advice == "--requeue lets it use what stands idle now, until the owner needs it"


def test_fit_window_starts_only_where_it_ends_in_time() -> None:
    state = node(*nights(), at=NIGHT)
    assert starts(job(fit_window=True, time_limit=8 * 3600), state, NIGHT)
    wait = verdict(job(fit_window=True, time_limit=8 * 3600 + 1), state, NIGHT).actions[0]
    assert isinstance(wait, Wait)
    assert wait.reason.sentence == "needs 1x1, the window ends at Tue 05:00 UTC, too soon for 8h1s, no window ahead lets it start"
    assert wait.reason.advice == "a --time of at most 8h would start now; without --fit-window it starts now and is cut"


def test_in_the_last_half_hour_only_what_ends_in_time_starts() -> None:
    late = MORNING - timedelta(minutes=30)
    state = node(*nights(), at=late)
    assert not starts(job(), state, late)
    assert not starts(job(time_limit=31 * 60), state, late)
    assert starts(job(time_limit=30 * 60), state, late)
    earlier = late - timedelta(seconds=1)
    assert starts(job(), node(*nights(), at=earlier), earlier)


def test_nothing_starts_while_what_runs_is_being_told_to_end() -> None:
    late = MORNING - timedelta(seconds=60)
    state = node(*nights(lead=0, grace=60), at=late)
    assert not starts(job(requeue=True, preemptible=True), state, late)


@pytest.mark.parametrize(
    ("drain", "cut_after"),
    [
        ({}, timedelta(0)),
        ({"policy": "CheckpointThenEvict", "signal": "USR1"}, timedelta(0)),
        ({"policy": "RunToCompletion", "max_overrun": 3600}, timedelta(hours=1)),
        ({"policy": "RunToCompletion"}, None),
        ({"policy": "Never"}, None),
    ],
)
def test_when_a_job_is_cut(drain: dict[str, Any], cut_after: timedelta | None) -> None:
    edge = edges.edge_of(job(), node(*nights(**drain), at=NIGHT))
    assert edge is not None
    assert (edge.at, edge.owner) == (MORNING, "platform")
    assert edge.cut_at == (MORNING + cut_after if cut_after is not None else None)


def test_a_window_that_follows_and_admits_the_job_is_no_edge() -> None:
    follows = (
        OwnerSpan(owner="team-a", start=NOW, until=NIGHT),
        OwnerSpan(owner="platform", start=NIGHT, until=MORNING, lends=True),
        OwnerSpan(owner="team-b", start=MORNING),
    )
    borrower, other = job(preemptible=True), job()
    state = node(*follows)
    assert [edge.at for edge in (edges.edge_of(borrower, state), edges.edge_of(other, state)) if edge] == [MORNING, NIGHT]


def test_the_note_says_when_it_is_cut_and_what_would_change_it() -> None:
    state = node(*nights(), at=NIGHT)
    wanted = job()
    edge = edges.edge_of(wanted, state)
    assert edge is not None
    note = opening.cut_note(wanted, edge, NIGHT, "Europe/Berlin", ends_by=None)
    assert note is not None
    assert note.sentence == "will be cut at Tue 06:00 CET, in 8h00m: the node goes to platform"
    assert note.advice == "--time 8h or less ends in time; --requeue puts it back in line then"
    assert opening.cut_note(wanted, edge, NIGHT, None, ends_by=MORNING) is None


def test_a_gang_is_cut_where_its_first_node_is_lost() -> None:
    long = node(OwnerSpan(owner="team-a", start=NOW))
    edge = edges.first_edge(job(), [long, node(*nights(), at=NIGHT)])
    assert edge is not None
    assert edge.at == MORNING
    assert edges.first_edge(job(), [long]) is None


def test_what_waits_for_a_window_is_in_nobodys_way() -> None:
    first = job(id="0", name="mine", gpus=8, priority=9)
    second = job(id="2", name="theirs", team="platform", gpus=8)
    actions = {
        action.job: action for action in decide((first, second), Snapshot(nodes=(node(*nights()),)), NOW).actions if hasattr(action, "job")
    }
    assert isinstance(actions["2"], Start)
    assert isinstance(actions["0"], Wait)


def test_an_array_that_has_to_fit_gives_its_slots_back_before_a_task_would_not() -> None:
    slot = (PodPlace(cluster="local", node="ws", gpus=1),)
    array = Running(
        id="9",
        name="sweep",
        submitted_at=NOW,
        team="team-a",
        slots=(slot, slot),
        array=ArrayProgress(ready=10, running=2, parallel=2),
        time_limit=3600,
        fit_window=True,
    )
    last = MORNING - timedelta(hours=1)
    at_last = decide((), Snapshot(nodes=(node(*nights(), at=last),), running=(array,)), last)
    assert not [action for action in at_last.actions if isinstance(action, Shrink)]
    earlier = decide((), Snapshot(nodes=(node(*nights(), at=NIGHT),), running=(array,)), NIGHT)
    assert earlier.wake_at == last
    after = last + timedelta(seconds=1)
    late = decide((), Snapshot(nodes=(node(*nights(), at=after),), running=(array,)), after)
    assert [(action.job, action.slots) for action in late.actions if isinstance(action, Shrink)] == [("9", 2)]


def test_where_only_the_present_owner_is_known_the_sentence_ends_there() -> None:
    bare = NodeState(cluster="a", name="n", gpu_type="h100", gpus=8, gpus_free=8, owner="team-b", owner_until=NIGHT)
    found = verdict(job(), bare)
    wait = found.actions[0]
    assert isinstance(wait, Wait)
    assert wait.reason.sentence == "needs 1x1, 1 of 1 node belongs to team-b, until 21:00 UTC"
    assert found.wake_at == NIGHT


def test_a_node_that_closes_keeps_everybody_out_until_it_has_changed_hands() -> None:
    late = MORNING - timedelta(minutes=20)
    state = node(*nights(), at=late, closing="platform")
    for team in ("team-a", "platform"):
        wait = verdict(job(team=team, time_limit=60), state, late).actions[0]
        assert isinstance(wait, Wait)
        assert wait.reason.sentence.startswith("needs 1x1, 1 of 1 node is closed: it goes to platform at 05:00 UTC, ")
        assert wait.reason.advice is None
    ours = verdict(job(team="platform"), state, late).actions[0]
    assert isinstance(ours, Wait)
    assert ours.expected_start == MORNING
    assert starts(job(team="platform"), edges.at(state, MORNING), MORNING)


def test_a_node_of_which_nobody_says_what_follows() -> None:
    state = NodeState(cluster="lab", name="a", gpu_type="h100", gpus=8, gpus_free=8, owner="platform", at=NOW)
    wait = verdict(job(), state).actions[0]
    assert isinstance(wait, Wait)
    assert wait.reason.sentence == "needs 1x1, 1 of 1 node belongs to platform, nobody says until when"
    done = verdict(job(team="platform"), msgspec.structs.replace(state, closing="team-a")).actions[0]
    assert isinstance(done, Wait)
    assert done.reason.sentence.endswith("1 of 1 node is closed: it goes to team-a now, can start when that is done")


def test_a_window_that_is_always_too_short_never_opens_for_a_job_that_has_to_fit() -> None:
    found = node(*nights(), OwnerSpan(owner="team-a", start=MORNING + timedelta(hours=16)))
    assert opening.opens(job(fit_window=True, time_limit=3600), (found,), NOW) == NIGHT
    assert opening.opens(job(fit_window=True, time_limit=9 * 3600), (found,), NOW) is None
