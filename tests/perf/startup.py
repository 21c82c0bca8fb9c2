"""How long commands take that do little: the ratios of the command line's contract, and peers where some are installed."""

import os
import shutil
from pathlib import Path

from tests.perf.measure import GPUCTL, Case, home, ratios, run, title


def main() -> None:
    """Peers come from ``GPUCTL_PERF_PEERS``, directories of virtual environments' programs, joined by colons."""
    with home() as env:
        run(env, "run", "-j", "1x1", "--name", "one", "--", "true")
        for number in range(20):
            run(env, "submit", "--hold", "--name", f"job{number}", "--", "true")
        run(env, "jobs")
        cases = [
            Case(name="gpuctl --version", argv=(GPUCTL, "--version"), budget=2),
            Case(name="gpuctl --help", argv=(GPUCTL, "--help"), budget=7),
            Case(name="gpuctl submit --help", argv=(GPUCTL, "submit", "--help")),
            Case(name="gpuctl _complete jobs (Tab on a name)", argv=(GPUCTL, "_complete", "jobs", ""), budget=8),
            Case(name="gpuctl jobs (21 jobs)", argv=(GPUCTL, "jobs"), budget=14),
            Case(name="gpuctl jobs -o json", argv=(GPUCTL, "jobs", "-o", "json")),
            Case(name="gpuctl job", argv=(GPUCTL, "job", "one")),
            Case(name="gpuctl logs", argv=(GPUCTL, "logs", "one")),
            Case(name="gpuctl why", argv=(GPUCTL, "why", "job3")),
            Case(name="gpuctl nodes", argv=(GPUCTL, "nodes")),
            *peers(),
        ]
        title("Start-up, against an empty Python")
        ratios(cases, env)
        run(env, "cancel", "--name", "job*", "-y")


def peers() -> list[Case]:
    """``--help`` of whatever peers are there."""
    directories = [*os.environ.get("GPUCTL_PERF_PEERS", "").split(":"), str(Path(GPUCTL).parent)]
    found = {name: shutil.which(name, path=":".join(filter(None, directories))) for name in ("torchx", "ray", "sky", "dstack", "modal")}
    return [Case(name=f"{name} --help", argv=(path, "--help")) for name, path in found.items() if path]


if __name__ == "__main__":
    main()
