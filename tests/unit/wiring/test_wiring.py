import sys
import types
from collections.abc import Mapping
from importlib import metadata

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
