import sys
import types
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from gpuctl import wiring
from gpuctl.base.errors import GpuctlError, InvalidInput, NotFoundError, UsageError
from gpuctl.config import profiles, settings
from tests.fakes.cluster import FakeCluster

BUILT: list[tuple[str, dict[str, str]]] = []


def build(name: str, options: Mapping[str, str]) -> FakeCluster:
    BUILT.append((name, dict(options)))
    return FakeCluster(name)


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with a factory, and a local kind that it builds."""
    made = types.ModuleType("fake_kind")
    made.build = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_kind", made)
    monkeypatch.setitem(wiring.KINDS, "local", "fake_kind:build")
    monkeypatch.delenv("GPUCTL_LOCK_DIR")
    BUILT.clear()


def entry_points(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    points = metadata.EntryPoints(metadata.EntryPoint(name=name, value=value, group=wiring.ENTRY_POINTS) for name, value in targets.items())
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: points.select(group=group))


def test_the_embedded_profile_is_one_local_cluster_without_options() -> None:
    pool = wiring.open_pool()
    assert BUILT == [("local", {})]
    assert pool.profile == "local"
    assert pool.me() == wiring.account()


def test_settings_reach_a_local_cluster_and_the_profiles_options_are_stronger(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.add(settings.load(), "lab", ["kind=local,name=ws,tier=on-demand,slots=4", "kind=local,name=other"])
    monkeypatch.setenv("GPUCTL_LOCAL_SLOTS", "16")
    monkeypatch.setenv("GPUCTL_STATE_DIR", "/fast")
    pool = wiring.open_pool("lab", request_timeout=2.5)
    assert BUILT == [("ws", {"slots": "4", "state_dir": "/fast"}), ("other", {"slots": "16", "state_dir": "/fast"})]
    assert [member.tier for member in pool.members.all] == ["on-demand", None]
    assert pool.members.deadline == 2.5


def test_loaded_settings_are_not_loaded_again() -> None:
    loaded = settings.load(flags={"profile": "nowhere"})
    with pytest.raises(NotFoundError):
        wiring.open_pool(settings=loaded)
    assert wiring.open_pool("local", settings=loaded).profile == "local"


def test_kinds_of_the_table_need_no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*, group: str) -> None:
        raise AssertionError(f"scanned for {group}")

    monkeypatch.setattr(metadata, "entry_points", forbidden)
    wiring.open_pool()


def test_a_kind_of_another_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points(monkeypatch, slurm="fake_kind:build")
    profiles.add(settings.load(), "lab", ["kind=slurm,partition=a"])
    wiring.open_pool("lab")
    assert BUILT == [("slurm", {"partition": "a"})]


def test_an_unknown_kind_names_those_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points(monkeypatch, slurm="fake_kind:build")
    profiles.add(settings.load(), "lab", ["kind=slum,name=a"])
    with pytest.raises(UsageError) as caught:
        wiring.open_pool("lab")
    assert caught.value.code == "unknown-kind"
    assert "installed: kubernetes, local, slurm" in caught.value.message
    assert caught.value.hint == "did you mean kind=slurm?"


def test_a_broken_kind_of_another_distribution_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points(monkeypatch, slurm="no_such_module_at_all:build")
    profiles.add(settings.load(), "lab", ["kind=slurm"])
    with pytest.raises(GpuctlError) as caught:
        wiring.open_pool("lab")
    assert caught.value.code == "kind-broken"
    assert "ModuleNotFoundError" in str(caught.value.cause)


def test_the_real_local_cluster_refuses_an_unknown_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(wiring.KINDS, "local", "gpuctl.clusters.local.cluster:build")
    profiles.add(settings.load(), "lab", ["kind=local,slotz=4"])
    with pytest.raises(InvalidInput) as caught:
        wiring.open_pool("lab")
    assert caught.value.problems[0].nearest == "slots"


def test_a_pool_of_contexts_with_prices_in_the_profiles_currency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(wiring.KINDS, "kubernetes", "fake_kind:build")
    wanted = ["ctx=res-a,tier=reserved,queue=train", "ctx=cloud,tier=on-demand,price=H100:4.10,price=A100:2", "kind=local,name=ws"]
    profiles.add(settings.load(), "lab", wanted, currency="EUR")
    pool = wiring.open_pool("lab")
    # The pool knows the prices; a context knows its tier, as its nodes may have no label.
    assert BUILT == [
        ("res-a", {"ctx": "res-a", "queue": "train", "tier": "reserved"}),
        ("cloud", {"ctx": "cloud", "tier": "on-demand"}),
        ("ws", {}),
    ]
    res_a, cloud, ws = pool.members.all
    assert res_a.prices is None
    assert cloud.prices is not None
    assert (cloud.prices.currency, str(cloud.prices.per_gpu("H100")), str(cloud.prices.per_gpu("A100"))) == ("EUR", "4.10", "2")
    assert [res_a.forgets, cloud.forgets, ws.forgets] == [True, True, False]


def test_a_half_configured_cluster_is_a_row_among_others_and_an_error_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points(monkeypatch)
    profiles.add(settings.load(), "lab", ["kind=slum,name=half", "kind=local,name=ws"])
    pool = wiring.open_pool("lab")
    rows = {row.name: row for row in pool.clusters().items}
    assert (rows["half"].health, rows["ws"].health) == ("unreachable", "healthy")
    assert "no kind slum is installed" in str(rows["half"].error)
    assert [node.cluster for node in pool.nodes().items] == ["ws"]
    profiles.add(settings.load(), "alone", ["kind=slum,name=half"])
    with pytest.raises(UsageError):
        wiring.open_pool("alone")


def test_a_price_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.add(settings.load(), "lab", ["kind=local,price=H100:cheap"], currency="dollars")
    with pytest.raises(InvalidInput) as caught:
        wiring.open_pool("lab")
    assert [problem.field for problem in caught.value.problems] == ["currency", "local.price"]
    entry = profiles.parse_cluster("kind=local,slotz=3")
    monkeypatch.setitem(wiring.KINDS, "local", "gpuctl.clusters.local.cluster:build")
    with pytest.raises(InvalidInput):
        wiring.check_clusters([entry], settings.load(), currency="$")
    assert wiring.check_clusters([profiles.parse_cluster("kind=slum")], settings.load(), currency="$")[0].startswith("cannot build cluster")


def test_a_context_that_is_not_there_yet_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = profiles.parse_cluster("ctx=res-a")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    said = f"res-a cannot be used yet: there is no kubeconfig: {tmp_path / 'none'} does not exist"
    assert wiring.check_clusters([entry], settings.load(), currency="$") == (said,)
    file = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(file))
    text = "apiVersion: v1\nkind: Config\ncontexts: [{name: NAME, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: http://localhost:1}}]\n"
    file.write_text(text.replace("NAME", "res-b"))
    (said,) = wiring.check_clusters([entry], settings.load(), currency="$")
    assert said == f"res-a cannot be used yet: there is no context res-a in the kubeconfig (read {file}); did you mean res-b?"
    file.write_text(text.replace("NAME", "res-a"))
    assert wiring.check_clusters([entry], settings.load(), currency="$") == ()


def test_my_own_record_lies_with_the_state_and_only_where_something_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(wiring.KINDS, "kubernetes", "fake_kind:build")
    assert wiring.open_pool("local")._record is None
    profiles.add(settings.load(), "lab", ["ctx=res-a,tier=reserved"])
    pool = wiring.open_pool("lab")
    assert pool._record is not None
    assert str(pool._record_at).endswith("gpuctl/record/lab")


def test_this_machine_is_under_one_schedule() -> None:
    same = ["kind=local,name=a,schedule=/etc/night.yaml", "kind=local,name=b,schedule=/etc/night.yaml", "kind=local,name=c"]
    profiles.add(settings.load(), "same", same)
    wiring.open_pool("same")
    assert [name for name, _ in BUILT] == ["a", "b", "c"]
    profiles.add(settings.load(), "two", ["kind=local,name=a,schedule=/etc/night.yaml", "kind=local,name=b,schedule=/etc/day.yaml"])
    pool = wiring.open_pool("two")
    with pytest.raises(GpuctlError) as caught:
        pool.members.all[1].cluster.nodes()
    assert (caught.value.code, "under the schedule of a already" in str(caught.value.cause)) == ("two-schedules", True)
    with pytest.raises(InvalidInput):
        wiring.check_clusters(profiles.get(settings.load(), "two").clusters, settings.load(), currency="$")
