"""``submit --plan`` over several clusters: every place with its start and its cost, and nothing is submitted."""

from datetime import timedelta
from typing import Any

import pytest

from gpuctl.base.errors import NotAllowedError, UnavailableError
from gpuctl.model.ask import Plan, PlanOption, Submission
from gpuctl.port.capability import Capability
from tests.fakes.cluster import START, FakeCluster
from tests.fakes.pool import STATELESS, fake_pool, stateless, submission


class Line(FakeCluster):
    """A cluster that keeps a line, and knows when the next one may start."""

    def plan(self, submission: Submission) -> Plan:
        self._gate("plan")
        option = PlanOption(cluster="whatever-it-calls-itself", at=START + timedelta(hours=2))
        return Plan(options=(option,), notes=("3 jobs are ahead",))


def line(name: str, **settings: Any) -> Line:
    return Line(name, nodes=2, tier="reserved", capabilities=STATELESS | {Capability.WAIT_GANG}, **settings)


def full(cluster: FakeCluster) -> FakeCluster:
    cluster.busy = dict.fromkeys(cluster.node_names, cluster.gpus)
    return cluster


def test_every_cluster_and_tier_the_chosen_first() -> None:
    res_a, waits, cloud = full(stateless("res-a")), full(line("waits")), stateless("cloud", tier="on-demand")
    pool = fake_pool(res_a, waits, cloud, prices={"cloud": "H100:4.10"})
    plan = pool.plan(submission(nodes=2, gpus=8, time="6h"))
    chosen, second, third = plan.options
    assert (chosen.cluster, chosen.now, chosen.where) == ("cloud", True, "cloud-0,cloud-1")
    assert (chosen.cost_per_hour, chosen.cost_at_limit, plan.time_limit) == (65.6, 393.6, 21600)
    assert (second.cluster, second.now, second.at) == ("waits", False, START + timedelta(hours=2))
    assert (third.cluster, third.at, third.missing) == ("res-a", None, 16)
    assert plan.notes == ("3 jobs are ahead",)
    for cluster in (res_a, waits, cloud):
        assert "launch" not in cluster.calls
    assert "plan" not in res_a.calls + cloud.calls  # who keeps no line knows no more than its nodes say


def test_what_would_be_refused_now_is_still_told() -> None:
    plan = fake_pool(full(stateless("res-a")), full(stateless("res-b"))).plan(submission(nodes=2, gpus=8))
    assert [option.now for option in plan.options] == [False, False]
    assert plan.options[0].reason is not None
    assert plan.options[0].reason.sentence == "0 of 16 H100 free"
    assert plan.notes[-1].startswith("it would be refused now: cannot submit train: 2x8 fits nowhere now")


def test_what_can_never_run_is_an_error() -> None:
    with pytest.raises(NotAllowedError):
        fake_pool(stateless("res-a"), stateless("res-b")).plan(submission(nodes=9, gpus=8))


def test_a_line_that_does_not_answer_is_a_note() -> None:
    waits, res_a = full(line("waits")), full(stateless("res-a"))
    waits.plan = lambda submission: (_ for _ in ()).throw(UnavailableError("the queue is away"))  # type: ignore[method-assign]
    plan = fake_pool(waits, res_a).plan(submission(nodes=2, gpus=8))
    assert [option.cluster for option in plan.options] == ["waits", "res-a"]
    assert plan.notes == ("waits: the queue is away",)


def test_an_array_costs_what_all_of_its_tasks_cost() -> None:
    from gpuctl.model.spec import ArraySpec

    pool = fake_pool(stateless("cloud", tier="on-demand"), stateless("sky", tier="on-demand"), prices={"cloud": "H100:2", "sky": "2"})
    (option, _) = pool.plan(submission(gpus=4, time="30m", array=ArraySpec(last=9, parallel=2))).options
    assert (option.cost_per_hour, option.cost_at_limit) == (16.0, 40.0)
