from datetime import datetime, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpuctl.model.place import Footprint
from gpuctl.policy import offers, placement
from gpuctl.policy.offers import Offer, Standing
from gpuctl.policy.values import NodeState, QueueJob, Snapshot

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
TIERS = ("reserved", "on-demand")


def job(pods: int, gpus: int, **fields: Any) -> QueueJob:
    return QueueJob(id="j", name="j", submitted_at=NOW, pods=pods, gpus=gpus, **fields)


def nodes(cluster: str, tier: str, free: list[int]) -> tuple[NodeState, ...]:
    return tuple(
        NodeState(cluster=cluster, name=f"{cluster}-{tier}-{number}", tier=tier, gpu_type="H100", gpus=8, gpus_free=count)
        for number, count in enumerate(free)
    )


frees = st.lists(st.integers(0, 8), max_size=4)
places = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(TIERS), frees, st.booleans(), st.booleans()), max_size=5)


def made(found: list[tuple[str, str, list[int], bool, bool]]) -> list[Offer]:
    unique = {(cluster, tier): (free, queues, unknown) for cluster, tier, free, queues, unknown in found}
    return [
        Offer(
            cluster=cluster,
            tier=tier,
            order=ord(cluster),
            nodes=nodes(cluster, tier, free),
            queues=queues,
            unknown="a 403" if unknown else None,
        )
        for (cluster, tier), (free, queues, unknown) in unique.items()
    ]


@given(places, st.integers(1, 4), st.integers(1, 8))
def test_it_takes_what_placement_takes_and_never_a_dearer_tier(found: Any, pods: int, gpus: int) -> None:
    offered = made(found)
    asked = job(pods, gpus)
    judged = offers.judge(asked, offered)
    assert sorted((each.offer.order, each.offer.tier) for each in judged) == sorted((offer.order, offer.tier) for offer in offered)
    if not judged:
        return
    known = tuple(node for offer in offered if offer.unknown is None for node in offer.nodes)
    outcome = placement.place(asked, Snapshot(nodes=known))
    best = judged[0]
    if isinstance(outcome, placement.Placement) and not any(offer.unknown for offer in offered):
        assert (best.standing, best.offer.cluster, best.offer.tier) == (Standing.STARTS, outcome.cluster, outcome.tier)
    if best.standing is Standing.STARTS and best.offer.tier == "on-demand":
        assert all(each.standing not in (Standing.STARTS, Standing.UNKNOWN) for each in judged if each.offer.tier == "reserved")
    if best.standing is Standing.WAITS:
        assert pods == 1
    for each in judged:
        assert (each.standing is Standing.STARTS) == (each.reason is None)
        if pods > 1:
            assert each.standing is not Standing.WAITS


@given(places, st.integers(1, 4), st.integers(1, 8), st.randoms())
def test_the_order_in_which_offers_come_does_not_matter(found: Any, pods: int, gpus: int, random: Any) -> None:
    offered = made(found)
    first = offers.judge(job(pods, gpus), offered)
    random.shuffle(offered)
    assert {each.offer.cluster + str(each.offer.tier) for each in first[:1]} == {
        each.offer.cluster + str(each.offer.tier) for each in offers.judge(job(pods, gpus), offered)[:1]
    }


def test_a_thousand_nodes_over_four_clusters_are_judged_within_reason() -> None:
    offered = [
        Offer(cluster=name, tier=tier, order=number, nodes=nodes(name, tier, [number, 3, 8, 0, 5] * 25))
        for number, name in enumerate("abcd")
        for tier in TIERS
    ]
    assert offers.judge(job(16, 8, gpu_type="H100"), offered)[0].standing is Standing.STARTS


def test_a_place_says_that_the_head_of_a_ray_is_what_does_not_fit() -> None:
    takes = Footprint(share=0.9, head_cpu_millis=2000, head_memory=8 << 30)

    def reason(cores_free: int, **asked: Any) -> str | None:
        node = NodeState(
            cluster="a",
            name="a-1",
            tier="reserved",
            gpu_type="H100",
            gpus=8,
            gpus_free=8,
            cpu_millis=16000,
            cpu_millis_free=cores_free * 1000,
            memory=64 << 30,
            memory_free=64 << 30,
        )
        offer = Offer(cluster="a", tier="reserved", order=0, nodes=(node,), footprint=takes)
        (judged,) = offers.judge(job(1, 8, **asked), [offer])
        return judged.reason.sentence if judged.reason is not None else None

    assert reason(16) is None
    assert reason(13) == "8 of 8 H100 free, but not 2 cores and 8Gi memory for the head of its Ray beside 1x8"
    assert reason(12) == "8 of 8 H100 free, but not the CPU or memory for 1x8 with the head of its Ray"
    assert reason(16, cpu_millis=15000) == "no 1 node as large as 1x8 with the head of its Ray asks"
