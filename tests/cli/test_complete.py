"""``gpuctl _complete``: names for Tab, from a cache while it is fresh, never an error."""

import os
import time
from typing import Any

import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.model.place import ClusterStatus, Node, Volume
from tests.cli.recorder import NOW, RecordingPool, make_job


def full() -> RecordingPool:
    return RecordingPool(
        [make_job("llama-k3f9"), make_job("lint-x2k9"), make_job("prep-b7b7")],
        nodes=(Node(name="ws", cluster="local"),),
        clusters=(ClusterStatus(name="local", kind="local"),),
        volumes=(Volume(name="data", home="local"),),
    )


def age_cache(home: Any, seconds: float) -> None:
    """Make what is remembered so old on the clock of the tests."""
    then = NOW.timestamp() - seconds
    for directory, _, files in os.walk(home / "cache"):
        for name in files:
            os.utime(os.path.join(directory, name), (then, then))


@pytest.mark.parametrize(
    ("kind", "prefix", "names"),
    [
        ("jobs", "l", "llama-k3f9\nlint-x2k9\n"),
        ("jobs", "", "llama-k3f9\nlint-x2k9\nprep-b7b7\n"),
        ("jobs", "zz", ""),
        ("nodes", "w", "ws\n"),
        ("clusters", "", "local\n"),
        ("volumes", "d", "data\n"),
        ("nonsense", "", ""),
    ],
)
def test_names(run: Any, kind: str, prefix: str, names: str) -> None:
    outcome = run(full(), "_complete", kind, prefix)
    assert (outcome.code, outcome.out, outcome.err) == (0, names, "")


def test_profiles_need_no_pool(run: Any) -> None:
    pool = full()
    assert "local\n" in run(pool, "_complete", "profiles").out
    assert pool.calls == []


def test_a_fresh_list_opens_no_pool(run: Any, home: Any) -> None:
    run(full(), "jobs")
    age_cache(home, 2)
    unasked = RecordingPool([make_job("llava-c8c8")])
    assert run(unasked, "_complete", "jobs", "ll").out == "llama-k3f9\n"
    assert unasked.calls == []
    age_cache(home, 6)
    newer = RecordingPool([make_job("llava-c8c8")])
    assert run(newer, "_complete", "jobs", "ll").out == "llava-c8c8\n"
    assert newer.closed


def test_what_fails_or_is_slow_falls_back_on_old_names(run: Any, home: Any) -> None:
    run(full(), "jobs")
    age_cache(home, 3600)
    away = RecordingPool(errors={"jobs": UnavailableError("away")})
    assert run(away, "_complete", "jobs", "ll").out == "llama-k3f9\n"

    class Slow(RecordingPool):
        def jobs(self, query: Any) -> Any:
            time.sleep(1.0)
            return super().jobs(query)

    start = time.monotonic()
    outcome = run(Slow([make_job("llava-c8c8")]), "_complete", "jobs", "ll")
    assert (outcome.code, outcome.out, outcome.err) == (0, "llama-k3f9\n", "")
    assert time.monotonic() - start < 0.9


def test_a_filtered_list_is_not_remembered(run: Any, home: Any) -> None:
    run(full(), "jobs")
    age_cache(home, 1)
    run(RecordingPool([make_job("only-d9d9")]), "jobs", "--name", "only*")
    assert "prep-b7b7" in run(full(), "_complete", "jobs").out


@pytest.mark.parametrize("args", [["_complete"], ["_complete", "jobs", "a", "b"]])
def test_wrong_calls_print_no_names(run: Any, args: list[str]) -> None:
    assert run(full(), *args).out == ""


def test_nowhere_to_keep_names(run: Any) -> None:
    outcome = run(full(), "_complete", "jobs", "ll", env={"XDG_CACHE_HOME": "/proc/nowhere"})
    assert (outcome.code, outcome.out, outcome.err) == (0, "llama-k3f9\n", "")


def test_a_new_name_comes_first_and_makes_nothing_look_fresh(run: Any, home: Any) -> None:
    import io

    from gpuctl.cli import remembered
    from gpuctl.cli.session import Session

    env = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    session = Session(out=io.StringIO(), err=io.StringIO(), stdin=io.StringIO(), env=env, cwd="/", now=lambda: NOW)
    remembered.add(session, "jobs", "alone-k3f9")
    assert remembered.recall(session, "jobs") == ([], None)  # one name is no list
    run(full(), "jobs")
    age_cache(home, 100)
    remembered.add(session, "jobs", "new-k3f9")
    names, age = remembered.recall(session, "jobs")
    assert names == ["new-k3f9", "llama-k3f9", "lint-x2k9", "prep-b7b7"]
    assert age == pytest.approx(100.0)
