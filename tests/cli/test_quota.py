"""``gpuctl quota``: who may hold how much, and what is left of it."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gpuctl.model.quota import Quota
from tests.cli.recorder import NOW, RecordingPool

ROWS = (
    Quota(
        cluster="res-a",
        name="train (cq-train)",
        team="vision",
        tier="reserved",
        gpu_type="H100",
        nominal=64,
        borrowed=8,
        borrowable=32,
        used=72,
        free=0,
        pending=3,
        usable={"8": 0, "4": 1, "2": 2, "1": 5},
    ),
    Quota(cluster="cloud", name="limits", tier="on-demand", nominal=16, borrowable=0, source="resource-quota"),
    Quota(
        cluster="ws",
        name="devices",
        source="devices",
        gpu_type="RTX-4090",
        nominal=2,
        borrowed=0,
        borrowable=0,
        used=1,
        free=1,
        usable={"2": 0, "1": 1},
    ),
)


@pytest.mark.parametrize("width", [80, 120])
def test_table(run: Any, snapshot: Any, width: int) -> None:
    outcome = run(RecordingPool(quota=ROWS), "quota", width=width, tty=True)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot
    assert max(map(len, outcome.out.splitlines())) <= width


@pytest.mark.parametrize("form", ["wide", "name", "json", "csv"])
def test_every_format(run: Any, snapshot: Any, form: str) -> None:
    assert run(RecordingPool(quota=ROWS), "quota", "-o", form).out == snapshot


def test_unknown_is_not_zero(run: Any) -> None:
    cells = run(RecordingPool(quota=ROWS), "quota", "-o", "columns=cluster,used,free,over,x8,x1").out.splitlines()[1:]
    assert [line.split() for line in cells] == [
        ["res-a", "72", "0", "8", "0", "5"],
        ["cloud", "?", "?", "?", "?", "?"],
        ["ws", "1", "1", "-", "-", "1"],
    ]


def test_only_of_a_team_a_tier_or_a_cluster(run: Any) -> None:
    pool = RecordingPool(quota=ROWS)

    def clusters(*flags: str) -> list[str]:
        return [item["cluster"] for item in json.loads(run(pool, "quota", *flags, "-o", "json").out)["items"]]

    assert clusters("--cluster", "cloud") == ["cloud"]
    assert clusters("--tier", "reserved") == ["res-a", "ws"]
    assert clusters("--team", "vision") == ["res-a", "cloud", "ws"]  # the others hold for every team
    assert clusters("--team", "language") == ["cloud", "ws"]
    assert clusters("--sort", "-free") == ["ws", "res-a", "cloud"]


def test_wrong_words_are_told_before_anything_is_read(run: Any) -> None:
    for args in (["--tier", "reservd"], ["--sort", "fre"]):
        pool = RecordingPool()
        outcome = run(pool, "quota", *args)
        assert (outcome.code, outcome.out, pool.calls) == (2, "", [])
        assert "did you mean" in outcome.err


def test_empty_and_incomplete(run: Any) -> None:
    outcome = run(RecordingPool(incomplete={"res-a": "timed out"}), "quota")
    assert outcome.code == 0
    assert outcome.out.splitlines()[1].split() == ["res-a", *["?"] * 11]
    assert outcome.err == "note: res-a could not be read: timed out\n"


def test_what_windows_add_stands_below(run: Any, snapshot: Any) -> None:
    rows = (
        msgspec.structs.replace(ROWS[0], window=32, until=NOW + timedelta(hours=5, minutes=20)),
        msgspec.structs.replace(ROWS[2], team="vision", window=2),
    )
    outcome = run(RecordingPool(quota=rows), "quota", width=80, tty=True)
    assert outcome.out == snapshot
    assert max(map(len, outcome.out.splitlines())) <= 80
    wide = run(RecordingPool(quota=rows), "quota", "-o", "columns=team,window,until").out.splitlines()
    assert [line.split() for line in wide[1:]] == [["vision", "32", "Sun", "17:20"], ["vision", "2", "-"]]
