"""What running jobs use, by rank, and for a job without ranks."""

import pytest

from gpuctl.clusters.local import processes, top
from gpuctl.clusters.local.paths import StatePaths
from gpuctl.clusters.local.processes import RankUsage
from gpuctl.clusters.local.store.launches import Launch
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
