from datetime import datetime, timedelta, timezone
from typing import Any

from gpuctl.model.quota import DEVICES, Quota
from gpuctl.policy import quota
from gpuctl.policy.values import NodeState, OwnerSpan, QueueJob

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


def job(pods: int = 2, gpus: int = 8, **fields: Any) -> QueueJob:
    return QueueJob(id="j", name="j", submitted_at=NOW, pods=pods, gpus=gpus, **fields)


def row(**fields: Any) -> Quota:
    return Quota(**{"cluster": "res-a", "name": "vision", "nominal": 32, "borrowable": 0, "borrowed": 0, "used": 0, "free": 32, **fields})


def node(name: str, free: int, *, gpus: int = 8, **fields: Any) -> NodeState:
    return NodeState(cluster="res-a", name=name, gpus=gpus, gpus_free=free, **{"gpu_type": "H100", **fields})


def short(rows: list[Quota], asked: QueueJob | None = None, *, tier: str | None = "reserved", queue: str | None = None) -> Any:
    return quota.short_of(asked or job(), rows, tier=tier, queue=queue)


def test_a_quota_that_covers_the_gang_or_does_not() -> None:
    assert short([row()]) is None
    reason, missing = short([row(used=20, free=12, gpu_type="H100")])
    assert (reason.code, reason.sentence, missing) == ("quota", "quota vision has 12 of 32 H100 left", 4)
    reason, missing = short([row(nominal=8, free=8)])
    assert (reason.code, reason.sentence, missing) == (quota.NEVER, "quota vision is 8 GPUs at most", 8)


def test_what_can_be_borrowed_counts() -> None:
    assert short([row(used=28, free=4, borrowable=12)]) is None
    reason, _ = short([row(used=40, free=0, borrowable=12, borrowed=8)])
    assert reason.sentence == "quota vision has 4 of 44 GPUs left"


def test_what_nobody_knows_bars_nobody() -> None:
    assert short([row(free=None)]) is None
    assert short([row(free=0, borrowable=None)]) is None  # whatever others leave idle
    assert short([row(free=0, borrowable=8, borrowed=None)]) is None
    assert short([row(free=0), row(name="other", free=None)]) is None
    assert short([]) is None


def test_one_quota_that_covers_it_is_enough() -> None:
    assert short([row(free=0), row(name="spot", free=16)]) is None


def test_only_the_quotas_that_apply() -> None:
    assert short([row(free=0, tier="on-demand")]) is None
    assert short([row(free=0, gpu_type="A100")], job(gpu_type="H100")) is None
    assert short([row(free=0, team="speech")], job(team="vision")) is None
    assert short([row(free=0, queues=("a",))], queue="b") is None
    assert short([row(free=0, queues=("a",))], queue="a") is not None
    assert short([row(free=0, queues=("a",), default=False)]) is None
    assert short([row(free=0, queues=("a",), default=False)], queue="a") is not None
    own, other = row(free=0, queues=("a",), default=True), row(name="other", queues=("b",), default=False)
    assert short([own, other])[0].code == "quota"
    assert short([own, other], queue="b") is None
    assert short([row(free=0, source=DEVICES)]) is None  # devices as they are: placement's to judge
    assert short([row(free=0)], job(gpus=0)) is None


def test_usable_pods_per_shape() -> None:
    nodes = [node("a", 8), node("b", 6), node("c", 1), node("d", 8, ready=False)]
    assert quota.usable(nodes) == {"8": 1, "4": 3, "2": 7, "1": 15}
    assert quota.usable(nodes, free=4) == {"8": 0, "4": 1, "2": 2, "1": 4}
    assert quota.usable([node("small", 2, gpus=4)]) == {"4": 0, "2": 1, "1": 2}
    assert quota.usable([]) == {}


def test_devices_as_they_are() -> None:
    nodes = [node("a", 8), node("b", 2), node("sick", 8, ready=False), node("x", 1, gpus=4, gpu_type="A100"), node("cpu", 0, gpus=0)]
    h100, a100 = sorted(quota.devices_as_they_are(nodes, tier="reserved"), key=lambda each: each.gpu_type != "H100")
    assert (h100.nominal, h100.used, h100.free, h100.usable["8"]) == (24, 6, 10, 1)
    assert (a100.nominal, a100.used, a100.free) == (4, 3, 1)
    assert {h100.tier, a100.tier} == {"reserved"}
    assert {h100.source, a100.source} == {DEVICES}


def test_shapes_are_added_where_the_cluster_did_not_say() -> None:
    known, capped, nowhere = quota.with_shapes(
        [row(usable={"8": 9}), row(free=4, gpu_type="H100"), row(gpu_type="B200")], [node("a", 8), node("b", 8)]
    )
    assert known.usable == {"8": 9}
    assert capped.usable == {"8": 0, "4": 1, "2": 2, "1": 4}
    assert nowhere.usable == {}


def spans(owner: str, *, window: str | None = "night") -> tuple[OwnerSpan, ...]:
    end = NOW + timedelta(hours=6)
    return (OwnerSpan(owner=owner, start=NOW, until=end, window=window), OwnerSpan(owner="platform", start=end))


def test_what_a_window_adds_and_until_when() -> None:
    nights = {"owner": "vision", "spans": spans("vision"), "owner_until": NOW + timedelta(hours=6)}
    nodes = [node("a", 8, **nights), node("b", 8, gpu_type="A100", **nights), node("c", 8, owner="platform"), node("d", 8, owner="vision")]
    own, typed, other, nobody = quota.with_windows(
        [row(team="vision"), row(team="vision", gpu_type="A100"), row(team="platform"), row()], nodes
    )
    assert (own.window, own.until) == (16, NOW + timedelta(hours=6))
    assert typed.window == 8
    assert (other.window, other.until, nobody.window) == (None, None, None)


def test_shapes_count_the_nodes_that_are_the_teams_now() -> None:
    nodes = [node("a", 8, owner="vision"), node("b", 8, owner="platform"), node("c", 8, owner="vision", closing="platform"), node("d", 8)]
    (found,) = quota.with_shapes([row(team="vision")], nodes)
    assert found.usable == {"8": 2, "4": 4, "2": 8, "1": 16}


def test_devices_of_a_place_with_owners_are_a_row_for_each() -> None:
    nights = {"owner": "vision", "spans": spans("vision"), "owner_until": NOW + timedelta(hours=6)}
    nodes = [node("a", 8, **nights), node("b", 4, **nights), node("c", 8, owner="platform"), node("d", 8)]
    nobody, platform, vision = quota.devices_as_they_are(nodes)
    assert (nobody.team, nobody.nominal, platform.team, platform.window) == (None, 8, "platform", None)
    assert (vision.team, vision.nominal, vision.used, vision.free, vision.window) == ("vision", 16, 4, 12, 16)
    assert (vision.until, vision.usable["8"]) == (NOW + timedelta(hours=6), 1)
