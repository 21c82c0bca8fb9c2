"""What running jobs use, by rank, and for a job without ranks."""

from typing import Literal

import pytest

from gpuctl.clusters.local import processes, top
from gpuctl.clusters.local.launchplan import Lease, Slot
from gpuctl.clusters.local.paths import StatePaths
from gpuctl.clusters.local.processes import RankUsage
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.model.place import Device
from gpuctl.model.spec import Kind

LAUNCH = Launch("j", 1, "boot", 0.0, True, True, 0, 1, None, 0, ())


def rows(monkeypatch: pytest.MonkeyPatch, kind: Kind, *usage: RankUsage) -> list[tuple[int | None, int]]:
    monkeypatch.setattr(processes, "usage", lambda *_args, **_options: usage)
    monkeypatch.setattr(top, "INTERVAL", 0)
    found = top.samples(StatePaths(root="/nowhere"), [top.Running("a", kind, LAUNCH)], {}, node="n", by_rank=True)
    return [(sample.rank, sample.processes or 0) for sample in found]


def test_agents_are_left_out_beside_their_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = (RankUsage(None, None, 0, 1, (1,)), RankUsage(None, 0, 0, 1, (2, 3)))
    assert rows(monkeypatch, "pytorch", *usage) == [(0, 2)]


def test_a_job_without_ranks_is_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows(monkeypatch, "ray", RankUsage(None, None, 0, 1, (1, 2, 3))) == [(None, 3)]


@pytest.mark.parametrize("by_rank", [True, False])
@pytest.mark.parametrize(("kind", "gpus"), [("slot", 0), ("nvidia", 1), (None, None)])
def test_slots_are_no_gpus(
    monkeypatch: pytest.MonkeyPatch, kind: Literal["slot", "nvidia"] | None, gpus: int | None, by_rank: bool
) -> None:
    monkeypatch.setattr(processes, "usage", lambda *_args, **_options: (RankUsage(None, 0, 0, 1, (2,)),))
    monkeypatch.setattr(top, "INTERVAL", 0)
    devices = {0: Device(index=0, uuid="u", type="t", kind=kind)} if kind is not None else {}
    launch = LAUNCH._replace(slots=(Slot(pods=((Lease(index=0, uuid="u", kind="slot", lock="/l"),),)),))
    (sample,) = top.samples(StatePaths(root="/nowhere"), [top.Running("a", "command", launch)], devices, node="n", by_rank=by_rank)
    assert sample.gpus == gpus
