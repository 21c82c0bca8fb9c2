"""Kueue's quotas follow the nodes: what sinks first, what rises only then, and what is not touched."""

from datetime import timedelta
from typing import Any

from gpuctl.policy.windows.allotting import Share, moves
from gpuctl.policy.windows.marked import MarkedNode
from tests.fakes.kube_api import FakeApi, Refusal
from tests.unit.controllers.conftest import SCHEDULES_PATH, SIX, TEN, Desk, marks, owned, pool_schedule

QUEUES, FLAVORS = "/apis/kueue.x-k8s.io/v1beta2/clusterqueues", "/apis/kueue.x-k8s.io/v1beta2/resourceflavors"
HALF = timedelta(minutes=30)


def queue(name: str, team: str, *, h100: int, cpu: int = 64, follows: bool = True, base: str | None = None) -> dict[str, Any]:
    labels = {"gpuctl.io/team": team, **({"gpuctl.io/window-quota": "true"} if follows else {})}
    resources = [{"name": "cpu", "nominalQuota": str(cpu)}, {"name": "nvidia.com/gpu", "nominalQuota": str(h100), "borrowingLimit": "4"}]
    groups = [{"coveredResources": ["cpu", "nvidia.com/gpu"], "flavors": [{"name": "h100", "resources": resources}]}]
    notes = {"gpuctl.io/window-quota-base": base} if base is not None else {}
    spec = {"cohortName": "all", "resourceGroups": groups}
    return {"kind": "ClusterQueue", "metadata": {"name": name, "labels": labels, "annotations": notes}, "spec": spec}


def nominal(api: FakeApi, name: str) -> int:
    (found,) = [each for each in api.all(QUEUES) if each["metadata"]["name"] == name]
    cpu, gpu = found["spec"]["resourceGroups"][0]["flavors"][0]["resources"]
    assert cpu == {"name": "cpu", "nominalQuota": "64"}
    assert gpu["borrowingLimit"] == "4"
    return int(gpu["nominalQuota"])


def kueue(api: FakeApi, **queues: dict[str, Any]) -> None:
    api.put(FLAVORS, {"metadata": {"name": "h100"}, "spec": {"nodeLabels": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}}})
    for each in queues.values():
        api.put(QUEUES, each)
    api.put(SCHEDULES_PATH, pool_schedule())
    for name in ("n0", "n1", "n2"):
        owned(api, name, "team-a")


def patched(api: FakeApi) -> list[tuple[str, str]]:
    return [(method, path.rpartition("/")[2]) for method, path, _ in api.bodies if method == "PATCH" and "kueue" in path]


def test_quota_moves_with_the_nodes_the_lower_one_first(api: FakeApi, desk: Desk) -> None:
    kueue(
        api,
        a=queue("a", "team-a", h100=24),
        p=queue("p", "platform", h100=2, base='{"h100": 2}'),
        other=queue("o", "x", h100=5, follows=False),
    )
    desk.look(TEN)
    assert patched(api) == []
    desk.look(SIX - HALF)  # closed
    desk.look(SIX - HALF + timedelta(seconds=10))
    assert (nominal(api, "a"), nominal(api, "p")) == (0, 2)
    desk.look(SIX)
    assert marks(api, "n0")[0] == "platform"
    desk.look(SIX + timedelta(seconds=1))
    assert (nominal(api, "a"), nominal(api, "p"), nominal(api, "o")) == (0, 26, 5)
    assert [name for _, name in patched(api)] == ["a", "p"]


def test_nothing_rises_while_something_could_not_sink(api: FakeApi, desk: Desk) -> None:
    kueue(api, a=queue("a", "platform", h100=99), b=queue("b", "team-a", h100=0))

    def trouble(method: str, path: str) -> None:
        if method == "PATCH" and path.startswith(f"{QUEUES}/a"):
            raise Refusal(422, "Invalid", "lendingLimit must be less than or equal to nominalQuota")

    api.trouble = trouble
    desk.look(TEN)
    assert nominal(api, "b") == 0
    assert "clusterqueues a" in desk.lines.getvalue()
    api.trouble = None
    desk.look(TEN)
    assert (nominal(api, "a"), nominal(api, "b")) == (0, 24)


def test_two_queues_of_one_team_over_the_same_nodes_are_let_be(api: FakeApi, desk: Desk) -> None:
    kueue(api, a=queue("a", "team-a", h100=3), b=queue("b", "team-a", h100=4))
    desk.look(TEN)
    assert (nominal(api, "a"), nominal(api, "b")) == (3, 4)
    assert "quotas of a, b are not moved" in desk.lines.getvalue()


def test_queues_that_may_not_be_read_keep_no_node_from_its_owner(api: FakeApi, desk: Desk) -> None:
    kueue(api, a=queue("a", "team-a", h100=24))

    def trouble(method: str, path: str) -> None:
        if "kueue.x-k8s.io" in path:
            raise Refusal(403, "Forbidden", "clusterqueues is forbidden")

    api.trouble = trouble
    desk.look(SIX - HALF)
    desk.look(SIX)
    assert marks(api, "n0")[0] == "platform"
    assert desk.lines.getvalue().count("quotas are not moved") == 1


def node(owner: str | None, *, name: str = "n", closing: str | None = None, schedule: str | None = "pool") -> MarkedNode:
    return MarkedNode(name=name, labels={"gpu": "h100"}, devices={"g": 8}, owner=owner, closing=closing, schedule=schedule)


def share(team: str, nominal: int, *, base: int = 0, labels: dict[str, str] | None = None) -> Share:
    return Share(queue=team, team=team, flavor="f", resource="g", labels=labels or {"gpu": "h100"}, nominal=nominal, base=base)


def test_a_closing_node_is_nobodys() -> None:
    found = moves([share("a", 16), share("b", 0)], [node("a"), node("a", name="m", closing="b")])
    assert [(each.share.queue, each.nominal) for each in found.lower] == [("a", 8)]
    assert found.raised == ()


def test_flavors_without_nodes_of_a_schedule_are_let_be() -> None:
    shares = [share("a", 16, labels={"gpu": "a100"}), share("b", 3)]
    found = moves(shares, [node("a", schedule=None)])
    assert (found.lower, found.raised) == ((), ())
