"""``submit --plan`` and ``--wait-for-capacity`` on a terminal."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpuctl.cli import capacity
from tests.cli.recorder import NOW
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool, stateless

JOB = ("--request-timeout", "5s")


@pytest.fixture
def clusters() -> dict[str, FakeCluster]:
    found = {
        "res-a": stateless("res-a"),
        "res-b": stateless("res-b", gpu_type="A100"),
        "cloud": stateless("cloud", tier="on-demand", nodes=4),
    }
    found["res-a"].busy = {"res-a-0": 4, "res-a-1": 4}
    return found


@pytest.fixture
def pool(clusters: dict[str, FakeCluster]) -> Any:
    return fake_pool(*clusters.values(), prices={"cloud": "H100:4.10"})


def submit(run: Any, pool: Any, *flags: str, **facts: Any) -> Any:
    return run(pool, "submit", "-j", "4x8", "--gpu-type", "H100", "--time", "6h", *flags, "--", "true", **facts)


@pytest.mark.parametrize("width", [80, 120])
def test_table(run: Any, pool: Any, snapshot: Any, width: int) -> None:
    outcome = submit(run, pool, "--plan", width=width, tty=True)
    assert outcome.code == 0
    assert outcome.out == snapshot
    assert max(map(len, outcome.out.splitlines())) <= width


def test_json(run: Any, pool: Any) -> None:
    outcome = submit(run, pool, "--plan", "-o", "json")
    items = json.loads(outcome.out)["items"]
    assert [(item["cluster"], item.get("now", False)) for item in items] == [("cloud", True), ("res-a", False), ("res-b", False)]
    assert (items[0]["costPerHour"], items[0]["costAtLimit"], items[0]["currency"]) == (131.2, 787.2, "$")
    assert items[1]["reason"]["sentence"] == "has 16 H100 in all"


def test_submit_says_where_and_what_it_costs(run: Any, pool: Any) -> None:
    outcome = submit(run, pool)
    assert outcome.out.startswith("job/true-")
    assert "submitted to cloud, on-demand, +$131/h, $787 at 6h (res-a: has 16 H100 in all; res-b: no H100, only A100)\n" in outcome.err


def test_the_job_shows_why_it_is_not_elsewhere(run: Any, pool: Any) -> None:
    name = submit(run, pool).out.strip()
    page = run(pool, "job", name, now=lambda: NOW)
    assert "not on     res-a, reserved: has 16 H100 in all; res-b, reserved: no H100, only A100\n" in page.out


def test_a_gang_that_fits_nowhere_is_exit_7(run: Any, pool: Any, clusters: dict[str, FakeCluster]) -> None:
    clusters["cloud"].busy = {"cloud-0": 1}
    outcome = submit(run, pool)
    assert (outcome.code, outcome.out) == (7, "")
    assert "error[no-capacity]" in outcome.err
    assert "hint: gpuctl submit --wait-for-capacity ..." in outcome.err


def test_waiting_for_capacity_submits_as_soon_as_it_fits(
    run: Any, pool: Any, clusters: dict[str, FakeCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "FIRST", 0.01)
    monkeypatch.setattr(capacity, "LONGEST", 0.02)
    cloud = clusters["cloud"]
    cloud.busy = {"cloud-0": 1}
    read = cloud.nodes
    times = iter(range(100))

    def nodes() -> Any:
        if next(times) == 3:
            cloud.busy = {}
        return read()

    monkeypatch.setattr(cloud, "nodes", nodes)
    outcome = submit(run, pool, "--wait-for-capacity")
    assert outcome.code == 0
    assert outcome.out.startswith("job/true-")
    assert outcome.err.count("waiting for capacity: ") == 1  # said again only when it changes
    assert len(cloud.jobs_by_id) == 1


def test_ctrl_c_while_waiting_leaves_nothing(
    run: Any, pool: Any, clusters: dict[str, FakeCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters["cloud"].busy = {"cloud-0": 1}
    monkeypatch.setattr(capacity.Interrupt, "wait", lambda self, seconds: True)
    outcome = submit(run, pool, "--wait-for-capacity")
    assert (outcome.code, outcome.out) == (130, "")
    assert all(not cluster.jobs_by_id for cluster in clusters.values())


def test_what_time_does_not_mend_is_not_waited_for(run: Any, pool: Any) -> None:
    outcome = run(pool, "submit", "-j", "9x8", "--wait-for-capacity", "--", "true")
    assert (outcome.code, outcome.out) == (5, "")


def test_volumes_of_every_home_are_listed_and_one_is_chosen(run: Any, pool: Any, tmp_path: Path) -> None:
    for cluster in ("res-a", "cloud"):
        assert run(pool, "volumes", "create", "data", "--cluster", cluster).code == 0
    assert run(pool, "volumes", "-o", "columns=name,home", "--no-headers").out.split() == ["data", "res-a", "data", "cloud"]
    for verb in ("show", "files", "delete"):
        extra = ["--confirm", "data"] if verb == "delete" else []
        outcome = run(pool, "volumes", verb, "data", *extra)
        assert outcome.code in (2, 6)
        assert "--cluster res-a" in outcome.err
    assert run(pool, "volumes", "delete", "data", "--confirm", "data", "--cluster", "cloud").code == 0
    assert run(pool, "volumes", "show", "data").code == 0
