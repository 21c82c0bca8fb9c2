"""Which logs of Ray's nodes are shown beside the program's."""

from datetime import datetime, timezone

from gpuctl.clusters.local.logs.agents import worth_showing
from gpuctl.clusters.local.logs.layout import LogName
from gpuctl.clusters.local.logs.reader import LocalRankLog
from gpuctl.model.job import Attempt, Exit, RankEnd, State

AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def log(rank: int | None, *, task: int | None = None, attempt: int = 1) -> LocalRankLog:
    return LocalRankLog("/nowhere", LogName(rank=rank, task=task, attempt=attempt), lambda: True)


def attempt(state: State, *, number: int = 1, task: int | None = None, ended: bool = True, ran: bool = False) -> Attempt:
    ranks = (RankEnd(rank=0, exit=Exit(code=1), at=AT),) if ran else ()
    return Attempt(number=number, cluster="local", state=state, task=task, ended_at=AT if ended else None, ranks=ranks)


def shown(logs: list[LocalRankLog], *attempts: Attempt) -> list[tuple[int | None, int, int | None]]:
    return [(each.task, each.attempt, each.rank) for each in worth_showing(logs, attempts)]


def test_the_program_is_what_one_sees() -> None:
    assert shown([log(None), log(0)], attempt(State.RUNNING, ended=False)) == [(None, 1, 0)]
    assert shown([log(None), log(0)], attempt(State.FAILED)) == [(None, 1, 0)]


def test_nothing_is_shown_while_it_may_still_come_up() -> None:
    assert shown([log(None)], attempt(State.STARTING, ended=False)) == []


def test_what_ray_said_is_shown_when_it_did_not_come_up() -> None:
    assert shown([log(None)], attempt(State.FAILED)) == [(None, 1, None)]
    assert shown([log(None)], attempt(State.LOST)) == [(None, 1, None)]


def test_a_silent_program_is_not_drowned_by_it() -> None:
    assert shown([log(None)], attempt(State.SUCCEEDED)) == []
    assert shown([log(None)], attempt(State.FAILED, ran=True)) == []


def test_each_task_and_attempt_is_judged_alone() -> None:
    logs = [log(None, task=1), log(None, task=2, attempt=2), log(0, task=1)]
    ended = (attempt(State.FAILED, task=1), attempt(State.FAILED, task=2), attempt(State.FAILED, task=2, number=2))
    assert shown(logs, *ended) == [(2, 2, None), (1, 1, 0)]
