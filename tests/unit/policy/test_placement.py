"""Placement: agreement with a brute-force packer, the order among fits, and every refusal's sentence."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.model.place import Footprint
from gpuctl.policy import packing
from gpuctl.policy.packing import Option, pack
from gpuctl.policy.placement import Placement, Refusal, fits_ever, largest_shape, place, refusal_of, same_type
from gpuctl.policy.values import NodeState
from tests.unit.policy.cases import counted, job, machine, snapshot


def brute(free: list[tuple[int, int]], pods: int, gpus: int) -> tuple[int, int, int] | None:
    """The best (opened, nodes, left) over every distribution of the pods; ``free`` holds (free, size) of each node."""
    best: tuple[int, int, int] | None = None
    ranges = [range((count // gpus if gpus else pods) + 1) for count, _ in free]
    for counts in itertools.product(*ranges):
        if sum(counts) != pods:
            continue
        used = [one for one, count in zip(free, counts, strict=True) if count]
        key = (sum(count == size for count, size in used), len(used), sum(count for count, _ in used) - pods * gpus)
        best = key if best is None or key < best else best
    return best


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 4, 8, 6]), st.integers(0, 8)), min_size=1, max_size=5),
    st.integers(1, 6),
    st.integers(0, 8),
)
def test_agrees_with_a_brute_force_packer(sizes: list[tuple[int, int]], pods: int, gpus: int) -> None:
    nodes = [counted(f"n{number}", min(free, size), size=size) for number, (size, free) in enumerate(sizes)]
    found = place(job("a", pods=pods, gpus=gpus), snapshot(*nodes))
    expected = brute([(min(free, size), size) for size, free in sizes], pods, gpus)
    if expected is None:
        assert not isinstance(found, Placement)
        return
    assert isinstance(found, Placement)
    free = {node.name: node for node in nodes}
    used = {pod.node for pod in found.pods}
    opened = sum(free[name].gpus_free == free[name].gpus for name in used)
    left = sum(free[name].gpus_free for name in used) - pods * gpus
    assert (opened, len(used), left) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([1, 2, 3, 4, 5, 8]))
def test_large_pools_never_oversubscribe_a_node(seed: int, pods: int, gpus: int) -> None:
    draw = random.Random(seed)
    nodes = [counted(f"n{number}", draw.randint(0, 8)) for number in range(60)]
    found = place(job("a", pods=pods, gpus=gpus), snapshot(*nodes))
    capacity = sum(node.gpus_free // gpus for node in nodes)
    assert isinstance(found, Placement) == (capacity >= pods)
    if isinstance(found, Placement):
        spent = {node.name: node.gpus_free for node in nodes}
        for pod in found.pods:
            spent[pod.node] -= pod.gpus
        assert min(spent.values()) >= 0
        assert len(found.pods) == pods


def test_the_search_gives_up_on_the_left_over_but_not_on_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    options = [Option(1, 3, False, 0), Option(2, 2, False, 1), Option(1, 1, False, 2)]
    exact = pack(options, 3, 1)
    assert exact is not None
    assert (exact.nodes, exact.left) == (2, 0)
    monkeypatch.setattr(packing, "STEPS", 0)
    greedy = pack([Option(2, 5, False, 0), Option(2, 2, False, 1), Option(1, 1, False, 2)], 3, 1)
    assert greedy is not None
    assert greedy.pods == ((0, 1), (1, 2))


def names(found: Placement | tuple[Refusal, ...]) -> list[str]:
    assert isinstance(found, Placement), found
    return [pod.node for pod in found.pods]


@pytest.mark.parametrize(
    ("nodes", "fields", "expected"),
    [
        pytest.param([counted("a", 8), counted("b", 2)], {"gpus": 2}, ["b"], id="a-broken-node-before-a-whole-one"),
        pytest.param([counted("a", 6), counted("b", 3), counted("c", 4)], {"gpus": 3}, ["b"], id="least-left-over"),
        pytest.param([counted("a", 4), counted("b", 2), counted("c", 2)], {"pods": 2, "gpus": 2}, ["a", "a"], id="fewest-nodes"),
        pytest.param([counted("n10", 8), counted("n9", 8)], {"gpus": 8}, ["n9"], id="names-count-naturally"),
        pytest.param([counted("a", 8, cluster="res-b"), counted("b", 8)], {"gpus": 8}, ["b"], id="cluster-name-last"),
        pytest.param(
            [counted("a", 8, cluster="od", tier="on-demand"), counted("z", 8, cluster="zz")],
            {"gpus": 1},
            ["z"],
            id="reserved-before-on-demand",
        ),
        pytest.param(
            [counted("a", 8, cluster="od", tier="on-demand"), counted("z", 8)], {"gpus": 1, "tier": "on-demand"}, ["a"], id="only-on-demand"
        ),
        pytest.param([machine(), counted("z", 1)], {"gpus": 1}, ["ws"], id="the-own-machine-first"),
        pytest.param([machine(size=2), counted("z", 8)], {"gpus": 4}, ["z"], id="a-cluster-when-the-machine-is-too-small"),
        pytest.param([counted("a", 8), counted("b", 8)], {"gpus": 8, "exclude": ("a",)}, ["b"], id="excluded-by-name"),
        pytest.param([counted("a", 8, cpu_millis_free=500), counted("b", 8)], {"gpus": 1, "cpu_millis": 1000}, ["b"], id="cpu-counts"),
        pytest.param([counted("a", 8, memory_free=1), counted("b", 8)], {"gpus": 1, "memory": 2}, ["b"], id="memory-counts"),
        pytest.param([counted("a", 8, gpu_type="A100"), counted("b", 8)], {"gpus": 1, "gpu_type": "h100"}, ["b"], id="type"),
        pytest.param([counted("a", 8, ready=False), counted("b", 8)], {"gpus": 1}, ["b"], id="ready-only"),
        pytest.param([counted("a", 8, owner="x"), counted("b", 8)], {"gpus": 1}, ["b"], id="not-another-teams"),
        pytest.param(
            [counted("a", 8, owner="x", lends_idle=True)],
            {"gpus": 1, "preemptible": True},
            ["a"],
            id="an-idle-node-lent-to-what-can-be-cut",
        ),
        pytest.param([counted("a", 8, owner="x")], {"gpus": 1, "team": "x"}, ["a"], id="its-own-teams"),
    ],
)
def test_choice(nodes: list[NodeState], fields: dict[str, Any], expected: list[str]) -> None:
    assert names(place(job("a", **fields), snapshot(*nodes))) == expected
    assert names(place(job("a", **fields), snapshot(*reversed(nodes)))) == expected


def test_lowest_free_indices_are_taken_and_pods_share_a_node() -> None:
    found = place(job("a", pods=2, gpus=2), snapshot(machine(taken=(1,))))
    assert isinstance(found, Placement)
    assert [pod.devices for pod in found.pods] == [(0, 2), (3, 4)]
    found = place(job("a", gpus=2, devices=(5, 1, 3)), snapshot(machine(taken=(1,))))
    assert isinstance(found, Placement)
    assert [pod.devices for pod in found.pods] == [(3, 5)]


def test_a_job_without_gpus_needs_no_device() -> None:
    found = place(job("a", pods=3, gpus=0), snapshot(machine(taken=tuple(range(8)))))
    assert isinstance(found, Placement)
    assert [pod.devices for pod in found.pods] == [(), (), ()]


@pytest.mark.parametrize(
    ("nodes", "fields", "code", "sentence"),
    [
        pytest.param([machine(taken=(0, 1, 2, 3, 4, 5))], {"gpus": 4}, "capacity", "needs 4 of 8 slots, 2 free", id="slots"),
        pytest.param(
            [counted("a", 4), counted("b", 4), counted("c", 8, cluster="res-b", tier="reserved")],
            {"pods": 4, "gpus": 4},
            "capacity",
            "needs 16 of 16 GPUs in res-a (reserved), 8 free",
            id="the-cluster-with-the-least-missing",
        ),
        pytest.param(
            [counted("a", 6), counted("b", 6)],
            {"gpus": 8},
            "fragmented",
            "needs 1x8, 12 GPUs free but in pieces: the largest shape that fits is 2x6",
            id="pieces",
        ),
        pytest.param(
            [machine()],
            {"pods": 1000, "gpus": 8},
            "never-fits",
            "1000x8 asks 8000 slots, local has 8 on 1 node",
            id="never",
        ),
        pytest.param([counted("a", 8)], {"gpu_type": "H200"}, "no-such-gpu", "no H200 in res-a (reserved), which has H100", id="type"),
        pytest.param([counted("a", 8)], {"cluster": "res-x"}, "never-fits", "no cluster res-x here, there is res-a", id="cluster"),
        pytest.param([counted("a", 8)], {"tier": "on-demand"}, "never-fits", "no on-demand node, there is reserved", id="tier"),
        pytest.param([counted("a", 8)], {"exclude": ("a",)}, "never-fits", "every node is excluded (a)", id="excluded"),
        pytest.param(
            [counted("a", 8, memory=64 << 30, memory_free=8 << 30)],
            {"gpus": 1, "memory": 32 << 30},
            "capacity",
            "needs 32Gi memory per node, at most 8Gi is free on one",
            id="memory",
        ),
        pytest.param(
            [counted("a", 8, cpu_millis=4000, cpu_millis_free=4000)],
            {"gpus": 1, "cpu_millis": 64000},
            "never-fits",
            "1x1 asks 64 cores per node, the largest node of res-a (reserved) has 4 cores",
            id="cores-never",
        ),
        pytest.param(
            [counted("a", 8, ready=False, why="disk pressure")],
            {"gpus": 8},
            "not-ready",
            "needs 1x8, 0 of 1 node in res-a (reserved) can be used, 1 node not ready (a: disk pressure)",
            id="not-ready",
        ),
        pytest.param(
            [counted("a", 8, owner="team-b")],
            {"gpus": 8},
            "window",
            "needs 1x8, 0 of 1 node in res-a (reserved) can be used, 1 owned by team-b",
            id="owned",
        ),
        pytest.param(
            [machine(taken=(0, 1))], {"gpus": 2, "devices": (0, 1, 2)}, "capacity", "needs 2 of 8 slots, 1 free among 0, 1, 2", id="only"
        ),
        pytest.param(
            [machine()],
            {"gpus": 3, "devices": (0, 1)},
            "never-fits",
            "1x3 asks 3 slots, local has 2 (of devices 0,1) on 1 node",
            id="only-never",
        ),
    ],
)
def test_refusals(nodes: list[NodeState], fields: dict[str, Any], code: str, sentence: str) -> None:
    found = place(job("a", **fields), snapshot(*nodes))
    assert not isinstance(found, Placement)
    reason = refusal_of(found).reason
    assert (reason.code, reason.sentence) == (code, sentence)


def test_pieces_name_the_shape_of_the_same_size_that_fits() -> None:
    found = place(job("a", gpus=8), snapshot(counted("a", 6), counted("b", 6)))
    assert not isinstance(found, Placement)
    assert found[0].reason.advice == "8 GPUs would fit now as 2x4"
    assert found[0].reason.command == "gpuctl submit -j 2x4 ..."


def test_one_refusal_per_cluster_and_tier_with_what_is_missing() -> None:
    nodes = [counted("a", 1), counted("b", 8, cluster="od", tier="on-demand", gpu_type="A100")]
    found = place(job("a", gpus=4, gpu_type="H100"), snapshot(*nodes, unreachable=("gone",)))
    assert not isinstance(found, Placement)
    assert [(one.cluster, one.tier, one.reason.code, one.missing) for one in found] == [
        ("res-a", "reserved", "capacity", 3),
        ("od", "on-demand", "no-such-gpu", 4),
        ("gone", None, "unreachable", 0),
    ]
    assert refusal_of(found).cluster == "res-a"


def test_an_unreachable_clusters_nodes_are_not_used() -> None:
    found = place(job("a"), snapshot(counted("a", 8), unreachable=("res-a",)))
    assert not isinstance(found, Placement)
    assert found[0].reason.code == "unreachable"


@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ([], None),
        ([counted("a", 0)], None),
        ([counted("a", 8), counted("b", 8), counted("c", 4)], "2x8"),
        ([counted("a", 3), counted("b", 2)], "1x3"),
        ([counted("a", 8, ready=False), counted("b", 1)], "1x1"),
        ([machine(taken=(0,))], "1x7"),
    ],
)
def test_largest_shape(nodes: list[NodeState], shape: str | None) -> None:
    assert largest_shape(nodes) == shape


def test_fits_ever_looks_at_empty_nodes() -> None:
    assert fits_ever(job("a", gpus=8), [machine(taken=tuple(range(8)))]) is None
    assert fits_ever(job("a", gpus=8), [counted("a", 0, ready=False, owner="x")]) is None
    reason = fits_ever(job("a", pods=1000, gpus=8), [machine()])
    assert reason is not None
    assert reason.sentence == "1000x8 asks 8000 slots, local has 8 on 1 node"
    assert reason.command == "gpuctl submit -j 1x8 ..."
    reason = fits_ever(job("a"), [])
    assert reason is not None
    assert reason.sentence == "1x1 asked, no node is there"


@pytest.mark.parametrize(
    ("asked", "there", "same"),
    [
        ("H100", "H100", True),
        ("h100", "NVIDIA-H100-80GB-HBM3", True),
        ("H100 80GB", "NVIDIA-H100-80GB-HBM3", True),
        ("H10", "NVIDIA-H100-80GB-HBM3", False),
        ("H100", None, False),
        ("H200", "H100", False),
    ],
)
def test_gpu_types_are_named_by_whole_words(asked: str, there: str | None, same: bool) -> None:
    assert same_type(asked, there) is same


SHARES = Footprint(cpu_millis=1000, memory=2 << 30, share=0.9)
RAY = Footprint(share=0.9, head_cpu_millis=2000, head_memory=8 << 30)


def sized(name: str, free: int, cores: float, *, of: int = 16, size: int = 8, **fields: Any) -> NodeState:
    """A node with this many cores free, and 4 GiB of memory to each."""
    there = {"cpu_millis": of * 1000, "memory": of * (4 << 30)}
    return counted(name, free, size=size, **there, cpu_millis_free=int(cores * 1000), memory_free=int(cores * (4 << 30)), **fields)


def test_a_pod_that_asks_for_no_cores_takes_its_devices_share() -> None:
    nodes = [sized("a", 8, 13), sized("b", 8, 16)]
    assert names(place(job("a", gpus=8, footprint=SHARES), snapshot(*nodes))) == ["b"]
    assert names(place(job("a", gpus=4, footprint=SHARES), snapshot(*nodes))) == ["a"]
    assert names(place(job("a", gpus=8, cpu_millis=1000, memory=1, footprint=SHARES), snapshot(*nodes))) == ["a"]
    assert names(place(job("a", gpus=0, footprint=SHARES), snapshot(sized("a", 0, 0.9), sized("b", 0, 2)))) == ["b"]
    found = place(job("a", pods=2, gpus=8, footprint=SHARES), snapshot(*nodes))
    assert not isinstance(found, Placement)
    assert refusal_of(found).reason.sentence == (
        "needs 58Gi memory per node, 1 of 2 nodes have that free, and 14.4 cores per node, 1 of 2 nodes have that free"
    )


@pytest.mark.parametrize(
    ("nodes", "pods", "head"),
    [
        pytest.param([sized("a", 8, 16), sized("b", 8, 16)], 2, "a", id="beside-the-shares-of-full-nodes"),
        pytest.param([sized("a", 8, 16), sized("cpu", 0, 4, of=4, size=0, gpu_type=None)], 1, "cpu", id="not-on-gpus-if-it-can"),
        pytest.param([sized("a", 8, 12.4), sized("b", 0, 3)], 1, "b", id="where-the-cores-are"),
        pytest.param([sized("a", 8, 16), sized("b", 4, 12, gpu_type="A100")], 1, "b", id="on-gpus-of-any-type"),
        pytest.param([sized("a", 8, 16), sized("z", 8, 16, tier="on-demand")], 1, "a", id="in-the-tier-of-its-workers"),
        pytest.param([sized("a", 8, 16), sized("b", 8, 16, owner="team-b")], 1, "a", id="not-on-another-teams-node"),
        pytest.param([sized("a", 8, 16), sized("b", 8, 16, ready=False)], 1, "a", id="on-a-ready-node"),
    ],
)
def test_the_head_of_a_ray_has_a_place_of_its_own(nodes: list[NodeState], pods: int, head: str) -> None:
    for order in (nodes, nodes[::-1]):
        found = place(job("a", pods=pods, gpus=8, gpu_type="H100", footprint=RAY), snapshot(*order))
        assert isinstance(found, Placement), found
        assert found.head == head


@pytest.mark.parametrize(
    ("nodes", "fields", "code", "sentence"),
    [
        pytest.param(
            [sized("a", 8, 12.4), sized("b", 8, 12.4)],
            {"pods": 2},
            "capacity",
            "needs 2 cores and 8Gi memory for the head of its Ray beside its nodes, and no node has them free",
            id="now",
        ),
        pytest.param(
            [sized("a", 8, 16)],
            {"cpu_millis": 15000, "memory": 1 << 30},
            "never-fits",
            "1x8 asks 15 cores and 1Gi memory per node, and 2 cores and 8Gi memory for the head of its Ray,"
            " the largest node of res-a (reserved) has 16 cores and 64Gi",
            id="never",
        ),
    ],
)
def test_a_head_without_room_keeps_the_gang_away(nodes: list[NodeState], fields: dict[str, Any], code: str, sentence: str) -> None:
    asked = job("a", gpus=8, footprint=RAY, **fields)
    found = place(asked, snapshot(*nodes))
    assert not isinstance(found, Placement)
    reason = refusal_of(found).reason
    assert (reason.code, reason.sentence) == (code, sentence)
    assert (fits_ever(asked, nodes) is None) == (code != "never-fits")
    # Without a head there would be room.
    assert isinstance(place(job("a", gpus=8, footprint=SHARES, cpu_millis=12400, memory=1, pods=asked.pods), snapshot(*nodes)), Placement)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 16)), min_size=1, max_size=5), st.integers(1, 6), st.integers(1, 8))
def test_head_and_pods_never_take_more_than_there_is_and_always_what_fits(free: list[tuple[int, int]], pods: int, gpus: int) -> None:
    nodes = [sized(f"n{number}", devices, cores) for number, (devices, cores) in enumerate(free)]
    asked = job("a", pods=pods, gpus=gpus, cpu_millis=3000, memory=1 << 30, footprint=RAY)
    found = place(asked, snapshot(*nodes))

    def held(at: int) -> int:
        """Pods that fit with the head on this node."""
        cores = [count - (2 if number == at else 0) for number, (_, count) in enumerate(free)]
        return sum(min(devices // gpus, count // 3) for (devices, _), count in zip(free, cores, strict=True))

    fitting = [at for at, (_, cores) in enumerate(free) if cores >= 2 and held(at) >= pods]
    assert isinstance(found, Placement) == bool(fitting)
    if isinstance(found, Placement):
        assert found.head in [f"n{at}" for at in fitting]
        for number, (devices, cores) in enumerate(free):
            count = sum(pod.node == f"n{number}" for pod in found.pods)
            assert count * gpus <= devices
            assert count * 3 + (2 if found.head == f"n{number}" else 0) <= cores
