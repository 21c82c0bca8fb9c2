"""How long jobs take: from submit to the first line of output, arrays, and lists over many finished jobs."""

import os
import subprocess
import time
from pathlib import Path

from tests.perf.many import fill
from tests.perf.measure import GPUCTL, Case, home, line, ratios, run, title

TASKS = int(os.environ.get("GPUCTL_PERF_TASKS", "1000"))
FINISHED = 10_000


def main() -> None:
    """All of them, each on a machine of its own."""
    title("Jobs")
    first_line()
    array()
    with home() as env:
        run(env, "run", "-j", "1x1", "--", "true")
        fill(Path(env["XDG_STATE_HOME"]), FINISHED)
        listed = run(env, "jobs", "-A", "--no-headers").count("\n")
        title(f"Lists over {listed} finished jobs (asked for: 0.3 s)")
        ratios(
            [
                Case(name="gpuctl jobs", argv=(GPUCTL, "jobs")),
                Case(name="gpuctl jobs --limit 20 -A", argv=(GPUCTL, "jobs", "-A", "--limit", "20")),
                Case(name=f"gpuctl jobs -A ({listed} rows)", argv=(GPUCTL, "jobs", "-A")),
                Case(name="gpuctl history", argv=(GPUCTL, "history")),
            ],
            env,
        )


def first_line() -> None:
    """From the start of ``gpuctl run`` to the first byte of the job on stdout."""
    with home() as env:
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            with subprocess.Popen(
                [GPUCTL, "run", "-j", "1x1", "--", "echo", "hello"],
                env=env,
                cwd=env["HOME"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as job:
                assert job.stdout is not None
                heard = job.stdout.readline()
                taken.append(time.perf_counter() - began)
            assert b"hello" in heard, heard
    line("submit to first line of output", f"{min(taken) * 1000:.0f} ms", f"{sorted(taken)[2] * 1000:.0f} ms", "of 500")


def array() -> None:
    """An array of ``true``: accepted in one transaction, then eight at a time."""
    with home() as env:
        began = time.perf_counter()
        name = run(env, "submit", "-j", "1x1", "--array", f"0-{TASKS - 1}%8", "--name", "many", "--", "true").strip()
        accepted = time.perf_counter() - began
        run(env, "wait", name, "--timeout", "5m")
        ended = time.perf_counter() - began
    line(f"array of {TASKS} accepted", f"{accepted * 1000:.0f} ms", "", "of 1000")
    line(f"array of {TASKS}, 8 at a time", f"{ended:.1f} s", f"{TASKS / ended:.0f}/s", "of 20")


if __name__ == "__main__":
    main()
