"""Placement at submit over several clusters: where, in which words, and why nowhere."""

from datetime import datetime, timezone

import msgspec
import pytest

from gpuctl.base.errors import AuthError, InvalidInput, NotAllowedError, NotKeptHere, UnavailableError
from gpuctl.model.ask import Listing
from gpuctl.model.place import Node
from gpuctl.model.quota import Quota
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.model.spec import VolumeMount
from gpuctl.policy.windows import review
from gpuctl.port.capability import Capability
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import STATELESS, fake_pool, stateless, submission

DEAD = UnavailableError("cannot reach res-a", cause="connection refused")


def pieces(cluster: FakeCluster, free: int = 4) -> FakeCluster:
    """Strangers leave so many devices of each node."""
    cluster.busy = dict.fromkeys(cluster.node_names, cluster.gpus - free)
    return cluster


def full(cluster: FakeCluster) -> FakeCluster:
    return pieces(cluster, 0)


def queueing(name: str, *, tier: str = "reserved", **settings: int) -> FakeCluster:
    return FakeCluster(name, tier=tier, capabilities=STATELESS | {Capability.WAIT_GANG}, **{"nodes": 2, **settings})


def test_the_sentence_says_why_not_to_the_better_place() -> None:
    res_a, res_b = pieces(stateless("res-a", nodes=6)), stateless("res-b", nodes=4)
    submitted = fake_pool(res_a, res_b).submit(submission(nodes=4, gpus=8, gpu_type="H100"))
    assert submitted.sentence == "submitted to res-b, reserved (res-a: 24 of 48 H100 free, but in pieces of 4)"
    assert submitted.notes == ()


def test_the_reasons_are_remembered_on_the_job() -> None:
    res_a, cloud = full(stateless("res-a")), stateless("cloud", tier="on-demand")
    job = fake_pool(res_a, cloud, prices={"cloud": "H100:4.10"}).submit(submission(gpus=8, time="6h")).job
    chosen, other = job.placement
    assert (chosen.cluster, chosen.tier, chosen.now, chosen.where) == ("cloud", "on-demand", True, "cloud-0")
    assert (chosen.cost_per_hour, chosen.cost_at_limit, chosen.currency) == (32.8, 196.8, "$")
    assert (other.cluster, other.now, other.missing) == ("res-a", False, 8)
    assert other.reason is not None
    assert (other.reason.code, other.reason.sentence) == ("capacity", "0 of 16 H100 free")
    assert cloud.submissions[job.id].placement == job.placement


def test_on_demand_tells_what_it_costs() -> None:
    res_a, cloud = full(stateless("res-a", nodes=4)), stateless("cloud", tier="on-demand", nodes=4)
    pool = fake_pool(res_a, cloud, prices={"cloud": "H100:4.10"})
    assert pool.submit(submission(nodes=4, gpus=8, time="6h")).sentence == (
        "submitted to cloud, on-demand, +$131/h, $787 at 6h (res-a: 0 of 32 H100 free)"
    )
    assert pool.submit(submission("endless", nodes=2, gpus=8)).sentence.startswith("submitted to cloud, on-demand, +$65.60/h (")


def test_reserved_beats_on_demand_that_comes_first() -> None:
    cloud, res_a = stateless("cloud", tier="on-demand"), stateless("res-a")
    submitted = fake_pool(cloud, res_a).submit(submission())
    assert submitted.sentence == "submitted to res-a, reserved"


def test_two_tiers_of_one_cluster_are_two_places() -> None:
    both = stateless("both", tier=None)
    both.tiers = {"both-0": "reserved", "both-1": "on-demand"}
    both.busy = {"both-0": 8}
    pool = fake_pool(both, full(stateless("other")))
    submitted = pool.submit(submission())
    assert submitted.sentence == "submitted to both, on-demand (both, reserved: 0 of 8 H100 free; other: 0 of 16 H100 free)"
    assert submitted.job.tier == "on-demand"
    with pytest.raises(UnavailableError):
        pool.submit(submission("gang", nodes=2, cluster="both", tier="reserved", gpus=4))
    with pytest.raises(InvalidInput) as caught:
        pool.submit(submission("paid", cluster="other", tier="on-demand"))
    assert caught.value.code == "no-such-tier"


def test_nodes_without_gpus_are_no_tier_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = stateless("mixed", tier=None)
    mixed.tiers = dict.fromkeys(mixed.node_names, "reserved")
    cpu = Node(name="cpu-0", cluster="mixed", ready=True, gpus=0, gpus_free=0)
    with_gpus = mixed.nodes().items
    monkeypatch.setattr(mixed, "nodes", lambda: Listing(items=(cpu, *with_gpus)))
    assert fake_pool(mixed).plan(submission(gpus=8)).options[1:] == ()
    monkeypatch.setattr(mixed, "nodes", lambda: Listing(items=(cpu,)))
    with pytest.raises(NotAllowedError) as caught:
        fake_pool(mixed, stateless("other", gpus=4)).submit(submission(gpus=8))
    assert caught.value.cause == "mixed: has 0 GPUs in all; other: at most 4 H100 on one node"


def test_devices_are_of_this_machine() -> None:
    counting = stateless("res-a")
    nodes = tuple(msgspec.structs.replace(node, devices=()) for node in counting.nodes().items)
    counting.nodes = lambda: Listing(items=nodes)  # type: ignore[method-assign]
    with pytest.raises(NotAllowedError) as caught:
        fake_pool(counting, stateless("other", gpu_type="A100", gpus=4)).submit(submission(devices=(7,)))
    assert caught.value.cause.startswith("res-a: its GPUs have no indices: --devices is for this machine")


def test_the_sentence_says_that_it_is_on_hold() -> None:
    pool = fake_pool(stateless("res-a"), stateless("res-b", gpu_type="A100"))
    assert pool.submit(submission(hold=True, gpu_type="H100")).sentence.startswith("submitted to res-a, reserved, on hold")


def test_what_the_flags_leave() -> None:
    res_a, res_b, cloud = stateless("res-a"), stateless("res-b", gpu_type="A100"), stateless("cloud", tier="on-demand")
    pool = fake_pool(res_a, res_b, cloud)
    assert pool.submit(submission("a", gpu_type="a100")).job.cluster == "res-b"
    assert pool.submit(submission("b", tier="on-demand")).job.cluster == "cloud"
    assert pool.submit(submission("c", cluster="res-b")).job.cluster == "res-b"
    assert pool.submit(submission("d", exclude=("res-a", "res-b-0", "res-b-1"))).job.cluster == "cloud"
    with pytest.raises(NotAllowedError) as caught:
        pool.submit(submission("e", gpu_type="B300"))
    assert caught.value.code == "no-such-gpu"
    assert caught.value.cause == "res-a: no B300, only H100; res-b: no B300, only A100; cloud: no B300, only H100"


# -- nothing is free ------------------------------------------------------------------------------------------------------------


def test_a_queue_takes_it_reserved_before_on_demand() -> None:
    res_a, cloud, res_b = full(stateless("res-a")), full(queueing("cloud", tier="on-demand")), full(queueing("res-b"))
    submitted = fake_pool(res_a, cloud, res_b).submit(submission(nodes=2, gpus=8))
    assert submitted.sentence == "queued on res-b, reserved: 0 of 16 H100 free (res-a: 0 of 16 H100 free)"


def test_a_job_of_one_node_waits_in_the_best_reserved_cluster() -> None:
    res_a, res_b, cloud = full(stateless("res-a")), pieces(stateless("res-b")), full(stateless("cloud", tier="on-demand"))
    submitted = fake_pool(cloud, res_a, res_b).submit(submission(gpus=8))
    assert submitted.job.cluster == "res-b"  # the least is missing there
    assert submitted.sentence.startswith("queued on res-b, reserved: 8 of 16 H100 free, but in pieces of 4")


def test_a_gang_is_refused_and_nothing_is_left() -> None:
    res_a, cloud = pieces(stateless("res-a")), full(stateless("cloud", tier="on-demand"))
    with pytest.raises(UnavailableError) as caught:
        fake_pool(res_a, cloud).submit(submission(nodes=2, gpus=8))
    assert (caught.value.code, caught.value.exit_code) == ("no-capacity", 7)
    assert caught.value.cause == "res-a: 8 of 16 H100 free, but in pieces of 4; cloud: 0 of 16 H100 free"
    assert str(caught.value.hint).startswith("gpuctl submit --wait-for-capacity ...")
    assert res_a.jobs_by_id == cloud.jobs_by_id == {}


def test_a_lone_context_refuses_a_gang_just_so() -> None:
    alone = full(stateless("res-a"))
    with pytest.raises(UnavailableError) as caught:
        fake_pool(alone).submit(submission(nodes=2, gpus=8))
    assert caught.value.code == "no-capacity"
    assert "launch" not in alone.calls


def test_what_can_never_fit_is_not_a_matter_of_time() -> None:
    pool = fake_pool(full(stateless("res-a")), stateless("res-b"))
    with pytest.raises(NotAllowedError) as caught:
        pool.submit(submission(nodes=3, gpus=8))
    assert (caught.value.code, caught.value.exit_code) == ("never-fits", 5)
    assert caught.value.cause == "res-a: has 16 H100 in all; res-b: has 16 H100 in all"
    with pytest.raises(NotAllowedError) as caught:
        pool.submit(submission(gpus=9))
    assert "at most 8 H100 on one node" in str(caught.value.cause)


def test_a_cluster_that_does_not_answer_may_be_the_one_it_fits() -> None:
    res_a, res_b = stateless("res-a", nodes=8), stateless("res-b")
    res_a.trouble = DEAD
    with pytest.raises(UnavailableError) as caught:
        fake_pool(res_a, res_b).submit(submission(nodes=4, gpus=8))
    assert "res-a could not be" in caught.value.message


def test_nodes_that_cannot_be_used_are_named() -> None:
    res_a = stateless("res-a")
    res_a.sick = {"res-a-1": "is closed for maintenance (cordoned)"}
    with pytest.raises(UnavailableError) as caught:
        fake_pool(res_a, full(stateless("res-b"))).submit(submission(nodes=2, gpus=8))
    assert caught.value.cause is not None
    assert "res-a: 1 of 2 nodes ready (res-a-1: is closed for maintenance (cordoned))" in caught.value.cause


# -- unknown is never zero --------------------------------------------------------------------------------------------------------


def test_what_a_403_hides_is_unknown_and_taken_by_the_profiles_order() -> None:
    res_a, res_b, cloud = stateless("res-a"), stateless("res-b"), stateless("cloud", tier="on-demand")
    res_a.hidden = res_b.hidden = True
    submitted = fake_pool(res_a, res_b, cloud).submit(submission(nodes=2, gpus=8))
    assert submitted.job.cluster == "res-a"
    (note,) = submitted.notes
    assert note.startswith("what is free on res-a is unknown, it was taken by the profile's order: cannot list the nodes of res-a")


def test_a_place_that_is_known_to_fit_goes_before_an_unknown_one_of_its_tier() -> None:
    res_a, res_b = stateless("res-a"), stateless("res-b")
    res_a.hidden = True
    submitted = fake_pool(res_a, res_b).submit(submission(nodes=2, gpus=8))
    assert (submitted.job.cluster, submitted.notes) == ("res-b", ())


def test_bad_credentials_are_no_unknown_place() -> None:
    res_a, res_b = stateless("res-a"), stateless("res-b")
    res_a.trouble = AuthError("the token for res-a has expired")
    submitted = fake_pool(res_a, res_b).submit(submission())
    assert submitted.job.cluster == "res-b"
    assert submitted.notes == ("cluster res-a was left out: the token for res-a has expired",)


# -- money ------------------------------------------------------------------------------------------------------------------------


def test_max_cost_keeps_it_away_from_what_is_too_dear() -> None:
    res_a, cloud = full(stateless("res-a")), stateless("cloud", tier="on-demand")
    pool = fake_pool(res_a, cloud, prices={"cloud": "H100:4.10"})
    assert pool.submit(submission("cheap", gpus=8, time="6h", max_cost=200.0)).job.cluster == "cloud"
    submitted = pool.submit(submission("dear", gpus=8, time="6h", max_cost=100.0))
    assert submitted.job.cluster == "res-a"  # it waits where it costs nothing more
    away = {option.cluster: option.reason for option in submitted.job.placement}["cloud"]
    assert away is not None
    assert away.sentence == "$197 at 6h, over --max-cost $100"


def test_max_cost_is_refused_where_nothing_bounds_it() -> None:
    pool = fake_pool(stateless("cloud", tier="on-demand"), stateless("sky", tier="on-demand"), prices={"cloud": "4", "sky": "*:5"})
    with pytest.raises(NotKeptHere) as kept:
        pool.submit(submission(max_cost=10.0))
    assert "--time" in kept.value.message
    with pytest.raises(NotAllowedError) as caught:
        pool.submit(submission(max_cost=10.0, time="6h"))
    assert (caught.value.code, caught.value.cause) == (
        "over-budget",
        "cloud: $24.00 at 6h, over --max-cost $10.00; sky: $30.00 at 6h, over --max-cost $10.00",
    )


# -- quotas, queues, volumes, places --------------------------------------------------------------------------------------------


def test_a_quota_has_to_cover_the_whole_gang() -> None:
    res_a, res_b = queueing("res-a"), queueing("res-b")
    for cluster, used in ((res_a, 12), (res_b, 0)):
        cluster._capabilities |= {Capability.QUOTA}
        cluster.quotas = (
            Quota(
                cluster=cluster.name,
                name="vision",
                gpu_type="H100",
                nominal=16,
                borrowable=0,
                borrowed=0,
                used=used,
                free=16 - used,
                queues=("train",),
            ),
        )
    pool = fake_pool(res_a, res_b)
    submitted = pool.submit(submission(nodes=2, gpus=4))
    assert submitted.sentence == "submitted to res-b, reserved (res-a: quota vision has 4 of 16 H100 left)"
    with pytest.raises(NotAllowedError) as caught:
        pool.submit(submission("large", nodes=2, gpus=8, cluster="res-a", queue="nobody"))
    assert caught.value.cause == "res-a: no queue nobody, only train"
    res_a.node_names *= 2
    with pytest.raises(NotAllowedError) as caught:
        pool.submit(submission("never", nodes=3, gpus=8, cluster="res-a"))
    assert (caught.value.code, caught.value.cause) == ("quota-too-small", "res-a: quota vision is 16 H100 at most")


def test_a_quota_that_is_used_up_queues_the_job() -> None:
    res_a, res_b = queueing("res-a"), full(queueing("res-b"))
    res_a._capabilities |= {Capability.QUOTA}
    res_a.quotas = (Quota(cluster="res-a", name="vision", nominal=8, borrowable=0, borrowed=0, used=8, free=0),)
    submitted = fake_pool(res_a, res_b).submit(submission(gpus=8, cluster="res-a"))
    assert submitted.sentence == "queued on res-a, reserved: quota vision has 0 of 8 GPUs left"


def test_a_volume_that_is_read_may_be_anywhere_one_that_is_written_has_one_home() -> None:
    res_a, res_b = full(stateless("res-a")), stateless("res-b")
    pool = fake_pool(res_a, res_b)
    for cluster in ("res-a", "res-b"):
        pool.create_volume("data", cluster=cluster, size=None, access=None, storage_class=None)
    pool.create_volume("out", cluster="res-a", size=None, access=None, storage_class=None)
    assert pool.submit(submission("reads", volumes=(VolumeMount(name="data", read_only=True),))).job.cluster == "res-b"
    with pytest.raises(InvalidInput) as caught:
        pool.submit(submission("writes", volumes=(VolumeMount(name="data"),)))
    assert caught.value.code == "ambiguous-volume"
    assert "--cluster res-a" in str(caught.value.hint)
    assert pool.submit(submission("writes", cluster="res-b", volumes=(VolumeMount(name="data"),))).job.cluster == "res-b"
    submitted = pool.submit(submission("home", volumes=(VolumeMount(name="out"), VolumeMount(name="data", read_only=True))))
    assert submitted.job.cluster == "res-a"
    reasons = {option.cluster: option.reason.sentence for option in submitted.job.placement if option.reason}
    assert reasons["res-b"] == "volume out lives on res-a"


def test_two_contexts_of_one_cluster_are_one_place() -> None:
    first, second, cloud = full(stateless("first")), full(stateless("second")), full(queueing("cloud", tier="on-demand"))
    second.place = first.place
    pool = fake_pool(first, second, cloud)
    job = pool.submit(submission(nodes=2, gpus=8)).job
    assert job.cluster == "cloud"
    reasons = {option.cluster: option.reason.sentence for option in job.placement if option.reason}
    assert reasons["second"] == "the same cluster as first"
    second.node_names = first.node_names
    assert [node.cluster for node in pool.nodes().items] == ["first", "first", "cloud", "cloud"]
    rows = {row.name: row for row in pool.clusters().items}
    assert (rows["second"].same_as, rows["second"].total, rows["first"].same_as) == ("first", {}, None)
    assert [row.cluster for row in pool.quota().items] == ["first", "cloud"]


NIGHT = b"""
apiVersion: gpuctl.io/v1alpha1
kind: PoolSchedule
metadata: {name: always}
spec: {pool: {}, timeZone: UTC, defaultOwner: vision, windows: []}
"""


def owned(name: str, owner: str, *, team: str, **marks: object) -> FakeCluster:
    """A cluster whose nodes are ``owner``'s, and that takes my jobs for ``team``'s."""
    schedule, problems = review.read(NIGHT, source="x", now=datetime.now(timezone.utc))
    assert not problems
    cluster = stateless(name)
    cluster.my_team = team
    cluster.marks = {node: {"owner": owner, **marks} for node in cluster.node_names}
    cluster.schedules_of = (ScheduleStatus(cluster=name, name="always", schedule=schedule, nodes=tuple(cluster.node_names)),)
    return cluster


def test_my_team_may_have_another_name_in_every_cluster() -> None:
    theirs, mine = owned("res-a", "vision", team="speech"), owned("res-b", "vision-lab", team="vision-lab")
    submitted = fake_pool(theirs, mine).submit(submission(gpus=8))
    assert submitted.sentence == (
        "submitted to res-b, reserved (res-a: needs 1x8, 2 of 2 nodes belong to vision, no window ahead lets it start)"
    )
    both = fake_pool(owned("res-a", "vision", team="vision"), mine)
    assert both.submit(submission(gpus=8)).sentence == "submitted to res-a, reserved"


def test_schedules_are_read_only_where_nodes_have_owners() -> None:
    plain, mine = stateless("res-a"), owned("res-b", "vision", team="vision")
    fake_pool(plain, mine).submit(submission(gpus=8))
    assert ("schedules" in plain.calls, "schedules" in mine.calls) == (False, True)


def test_schedules_that_cannot_be_read_are_a_note() -> None:
    class Hidden(FakeCluster):
        def schedules(self) -> Listing[ScheduleStatus]:
            raise NotAllowedError("cannot list poolschedules", cause="forbidden")

    cluster = Hidden("res-a", tier="reserved", capabilities=STATELESS)
    cluster.my_team = "vision"
    cluster.marks = {"res-a-0": {"owner": "vision"}}
    submitted = fake_pool(cluster).submit(submission(gpus=8))
    assert submitted.notes == ("time windows of res-a are unknown: cannot list poolschedules (forbidden)",)
