"""Logs and watches that are followed while the API server is restarted every few minutes: no gap, no line twice, no growth of memory.

    python -m tests.perf.stability --minutes 60

A real control plane with a kubelet that is played (its lines come through the real API server). Four programs of ours follow it:
``gpuctl logs -f`` of 32 ranks, folded and as JSON, ``gpuctl jobs --watch``, and a watch of the Kubernetes API. Meanwhile jobs begin and
end and objects change. Prints a line a minute and the verdict; ends with 1 if anything was missing, doubled, or grew.
"""

import argparse
import contextlib
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from tests.integration.control_plane import ControlPlane, missing
from tests.integration.fake_nodes import FakeNodes
from tests.perf.measure import GPUCTL, home, line, run, title
from tests.perf.stability.checks import FoldedLines, JobRows, JsonLines, WatchedObjects
from tests.perf.stability.follower import WATCHER, Follower
from tests.perf.stability.world import Objects, insist, said, submission

NODES, RANKS, RATE = 4, 8, 2
MOST_GROWTH_MB = 8.0
"""What a program may grow between a tenth of the time and its end: the list of jobs gets longer, and an allocator has moods."""
CALM_S = 60.0
"""Seconds before the end without restarts and new jobs."""


def main() -> None:
    """Set up, follow, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to follow (default 60)")
    parser.add_argument("--restart", type=float, default=240.0, help="seconds between two restarts of the API server (default 240)")
    asked = parser.parse_args()
    title(f"following for {asked.minutes:g} minutes, the API server restarted every {asked.restart:g} s")
    reason = missing()
    if reason:
        line(f"not measured: {reason}")
        return
    with home() as env:
        os.environ.update(env)
        plane = ControlPlane("steady", Path(env["HOME"]) / "plane")
        try:
            plane.up()
            with FakeNodes(plane.api(), "steady", NODES + 1):
                faults = _follow(plane, env, minutes=asked.minutes, restart_s=asked.restart)
        finally:
            plane.down()
    sys.exit(1 if faults else 0)


def _follow(plane: ControlPlane, env: dict[str, str], *, minutes: float, restart_s: float) -> int:
    """How many faults there were."""
    run(env, "profile", "add", "lab", "--cluster", f"ctx=steady,kubeconfig={plane.kubeconfig},engine=job", "--use")
    cluster = build("lab", {"ctx": "steady", "kubeconfig": str(plane.kubeconfig), "engine": "job"})
    api = plane.api()
    plays = {"run-seconds": str(minutes * 60), "ticks": str(RATE), "ranks": str(RANKS)}
    gang = insist(lambda: cluster.launch(submission(plays, nodes=NODES, gpus=RANKS, nproc_per_node=RANKS)).job)
    logs, folded, rows, watched = JsonLines(), FoldedLines(NODES * RANKS), JobRows(), WatchedObjects()
    followers = [
        Follower(name="logs -f -o json", argv=(GPUCTL, "logs", "-f", gang.name, "-o", "json"), check=logs),
        Follower(name="logs -f", argv=(GPUCTL, "logs", "-f", gang.name), check=folded),
        Follower(name="jobs --watch -o json", argv=(GPUCTL, "jobs", "--watch", "-o", "json"), check=rows),
        Follower(name="watch", argv=(sys.executable, "-c", WATCHER), check=watched),
    ]
    with open(Path(env["HOME"]) / "notes", "w+", encoding="utf-8") as notes, Objects(api) as objects:
        for each in followers:
            each.start(env | plane.env(), notes)
        spoken = insist(lambda: said(api, gang, ranks=NODES * RANKS))
        ended, restarts = _weather(plane, cluster, followers, minutes=minutes, restart_s=restart_s)
        for each in followers[:2]:
            each.end(within=120, asked=False)
        objects.stop()
        time.sleep(5)
        for each in followers[2:]:
            each.end(within=30, asked=True)
        logs.ended(spoken)
        folded.ended(spoken)
        rows.ended(ended | {gang.name: "succeeded"})
        watched.ended(objects.there(), passed=objects.passed)
        notes.seek(0)
        told = notes.read().splitlines()
    _report(followers, minutes)
    line(f"{restarts} restarts, {len(ended)} jobs, {watched.relisted} lists by the watch, {len(told)} notes on stderr")
    for sentence in dict.fromkeys(told[-20:]):
        line(f"  {sentence}")
    return sum(len(each.check.faults) for each in followers)


def _weather(
    plane: ControlPlane, cluster: KubernetesCluster, followers: Sequence[Follower], *, minutes: float, restart_s: float
) -> tuple[dict[str, str], int]:
    """Jobs that come and go and a server that does too, until time is up. How each job ends, and how often the server was restarted."""
    chance = random.Random(7)
    began = time.monotonic()
    ends, calm = began + minutes * 60, began + minutes * 60 - CALM_S
    next_job, next_restart, next_word = began, began + min(restart_s, minutes * 20), began + 60
    expected: dict[str, str] = {}
    restarts = 0
    while (now := time.monotonic()) < ends:
        if next_restart <= now < calm:
            plane.stop_api(hard=restarts % 2 == 1)
            time.sleep(chance.uniform(0.5, 15))
            plane.start_api()
            restarts += 1
            next_restart = time.monotonic() + restart_s
        elif next_job <= now < calm:
            code = chance.choice((0, 3))
            with contextlib.suppress(GpuctlError):
                job = cluster.launch(submission({"run-seconds": "8", "exit-code": str(code)})).job
                expected[job.name] = "failed" if code else "succeeded"
            next_job = now + 25
        if next_word <= now:
            next_word = now + 60
            sizes = " ".join(f"{each.sizes[-1][1]:.1f}" for each in followers if each.sizes)
            seen = " ".join(str(each.check.seen) for each in followers)
            faults = sum(len(each.check.faults) for each in followers)
            line(f"{(now - began) / 60:.0f} min: {restarts} restarts, seen {seen}, MB {sizes}, {faults} faults")
        for each in followers:
            each.measure(now - began)
        time.sleep(5)
    return expected, restarts


def _report(followers: Sequence[Follower], minutes: float) -> None:
    line("", "events", "MB at 1/10", "MB at end", "MB at most", "faults")
    for each in followers:
        tenth, last, most = each.growth(minutes)
        if last > tenth + MOST_GROWTH_MB:
            each.check.faults.append(f"grew from {tenth:.1f} to {last:.1f} MB")
        line(each.name, str(each.check.seen), f"{tenth:.1f}", f"{last:.1f}", f"{most:.1f}", str(len(each.check.faults)))
        for fault in each.check.faults:
            line(f"  {fault}")


if __name__ == "__main__":
    main()
