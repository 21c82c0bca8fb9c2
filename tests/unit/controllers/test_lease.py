"""Of several candidates one leads; who was away is deposed, and two clocks are never compared."""

from collections.abc import Callable

import pytest

from gpuctl.controllers.lease import DURATION_S, RENEW_WITHIN_S, Lease
from gpuctl.kube.api import Api
from gpuctl.kube.errors import ApiFailure
from tests.fakes.kube_api import FakeApi, Refusal

LEASES = "/apis/coordination.k8s.io/v1/leases"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def candidate(opened: Api, clock: Clock) -> Callable[[str], Lease]:
    return lambda identity: Lease(opened, namespace="gpuctl-system", name="x", identity=identity, clock=clock)


def spec(api: FakeApi) -> dict[str, object]:
    (found,) = api.all(LEASES)
    return dict(found["spec"])


def test_the_first_one_leads_and_the_second_waits(api: FakeApi, candidate: Callable[[str], Lease], clock: Clock) -> None:
    one, two = candidate("one"), candidate("two")
    assert one.attempt()
    assert not two.attempt()
    assert (one.held(), two.held(), two.holder) == (True, False, "one")
    for _ in range(20):
        clock.now += 2
        assert one.attempt()
        assert not two.attempt()
    assert spec(api)["leaseTransitions"] == 0


def test_a_leader_that_is_away_is_followed_and_knows_it(api: FakeApi, candidate: Callable[[str], Lease], clock: Clock) -> None:
    one, two = candidate("one"), candidate("two")
    one.attempt()
    two.attempt()
    clock.now += RENEW_WITHIN_S
    assert not one.held()  # it knows before anybody else may follow
    assert not two.attempt()
    clock.now += DURATION_S - RENEW_WITHIN_S
    assert two.attempt()
    assert spec(api)["holderIdentity"] == "two"
    assert spec(api)["leaseTransitions"] == 1
    assert not one.attempt()
    assert not one.held()


def test_the_duration_counts_from_when_a_record_was_seen_to_change(candidate: Callable[[str], Lease], clock: Clock) -> None:
    one, two = candidate("one"), candidate("two")
    one.attempt()
    clock.now += 100  # two was not there, so it cannot know how old the record is
    assert not two.attempt()
    clock.now += DURATION_S - 1
    assert not two.attempt()
    clock.now += 1
    assert two.attempt()


def test_given_back_it_is_taken_at_once(candidate: Callable[[str], Lease], clock: Clock) -> None:
    one, two = candidate("one"), candidate("two")
    one.attempt()
    two.attempt()
    one.release()
    assert not one.held()
    assert two.attempt()


def test_two_that_write_at_once_do_not_both_lead(api: FakeApi, candidate: Callable[[str], Lease], clock: Clock) -> None:
    one, two, three = candidate("one"), candidate("two"), candidate("three")
    one.attempt()
    two.attempt()
    three.attempt()
    clock.now += DURATION_S
    late: list[bool] = []

    def trouble(method: str, path: str) -> None:
        if method == "PUT" and not late:
            late.append(True)
            api.trouble = None
            assert three.attempt()

    api.trouble = trouble
    assert not two.attempt()
    assert (two.held(), three.held()) == (False, True)


def test_an_api_server_that_is_away_ends_the_lead_by_itself(api: FakeApi, candidate: Callable[[str], Lease], clock: Clock) -> None:
    one = candidate("one")
    one.attempt()

    def trouble(method: str, path: str) -> None:
        raise Refusal(500, "InternalError", "etcd is away")

    api.trouble = trouble
    clock.now += 5
    with pytest.raises(ApiFailure):
        one.attempt()
    assert one.held()
    clock.now += 5
    assert not one.held()
