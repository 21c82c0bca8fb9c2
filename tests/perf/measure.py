"""Measuring: commands that take turns with an empty Python, and a machine of gpuctl's own to do it on."""

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PASS = (sys.executable, "-c", "pass")
GPUCTL = str(Path(sys.executable).with_name("gpuctl"))
ROUNDS = int(os.environ.get("GPUCTL_PERF_ROUNDS", "15"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One command to time. ``budget``: the ratio to ``python -c pass`` that the design asks for, None where it names none."""

    name: str
    argv: Sequence[str]
    budget: float | None = None


@contextmanager
def home(**extra: str) -> Iterator[dict[str, str]]:
    """An environment with state, configuration, cache and locks of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="gpuctl-perf-") as base:
        # What is installed has compiled files; without them a start would mostly be the compiler's time.
        env = {name: value for name, value in os.environ.items() if not name.startswith("GPUCTL_") and name != "PYTHONDONTWRITEBYTECODE"}
        env |= {"HOME": base, "GPUCTL_LOCK_DIR": f"{base}/locks", "GPUCTL_SLOTS": "8"}
        for name in ("STATE_HOME", "CONFIG_HOME", "CACHE_HOME", "DATA_HOME", "RUNTIME_DIR"):
            env[f"XDG_{name}"] = f"{base}/{name.lower()}"
            Path(env[f"XDG_{name}"]).mkdir(mode=0o700)
        yield env | extra


def run(env: Mapping[str, str], *argv: str, ok: Sequence[int] = (0,)) -> str:
    """``gpuctl ARGV``: its stdout. Raises AssertionError with its stderr if it ends otherwise than expected."""
    done = subprocess.run([GPUCTL, *argv], env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=300)
    if done.returncode not in ok:
        raise AssertionError(f"gpuctl {' '.join(argv)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def seconds(argv: Sequence[str], env: Mapping[str, str]) -> tuple[float, float]:
    """Wall time and processor time of one run, its children's included. The second is what a busy machine leaves alone."""
    began = time.perf_counter()
    started = subprocess.Popen(argv, env=env, cwd=env["HOME"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Not Popen.wait with a time limit: that sleeps between looks, up to 50 ms.
    _, status, usage = os.wait4(started.pid, 0)
    wall = time.perf_counter() - began
    started.returncode = os.waitstatus_to_exitcode(status)
    return wall, usage.ru_utime + usage.ru_stime


def ratios(cases: Sequence[Case], env: Mapping[str, str]) -> None:
    """Print each case against an empty Python. All take turns, so that a busy moment meets all of them; the median is taken."""
    taken: dict[str, list[tuple[float, float]]] = {case.name: [] for case in cases}
    empty = []
    for case in cases:
        seconds(case.argv, env)  # compiled files, page cache
    for _ in range(ROUNDS):
        empty.append(seconds(PASS, env))
        for case in cases:
            taken[case.name].append(seconds(case.argv, env))
    base_wall, base_cpu = _middle(empty)
    line("", "wall", "ratio", "cpu ratio")
    line(f"python -c pass ({ROUNDS} rounds)", f"{base_wall * 1000:.0f} ms", "1.0x", "1.0x")
    for case in cases:
        wall, cpu = _middle(taken[case.name])
        budget = f"of {case.budget:g}" if case.budget is not None else ""
        line(case.name, f"{wall * 1000:.0f} ms", f"{wall / base_wall:.1f}x", f"{cpu / base_cpu:.1f}x", budget)


def _middle(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(wall for wall, _ in pairs), statistics.median(cpu for _, cpu in pairs)


def line(name: str, *figures: str) -> None:
    """One line of the report."""
    print(f"  {name:<44}" + "".join(f"{figure:>12}" for figure in figures), flush=True)


def title(text: str) -> None:
    """A heading of the report."""
    print(f"\n{text}", flush=True)
