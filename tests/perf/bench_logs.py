"""Reading, merging and rendering logs, in MB/s of text per second of processor time, next to ``cat`` and to plain Python on the same files.

    python tests/perf/bench_logs.py [MEGABYTES]

Writes MEGABYTES (default 256) of 100-byte lines below a temporary directory (TMPDIR), as 1, 2, 8 and 32 ranks would, then reads them.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from gpuctl.clusters.local.logs.layout import LogName
from gpuctl.clusters.local.logs.reader import logs
from gpuctl.clusters.local.logs.writer import RankWriter
from gpuctl.model.ask import LogQuery
from gpuctl.pool.logs.merge import rendered

LINE = 100


def main() -> None:
    """Print one line per measurement."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    with tempfile.TemporaryDirectory() as root:
        print(f"{'what':44}{'MB/s':>8}{'x cat':>8}{'x python':>10}")
        for ranks in (1, 2, 8, 32):
            for same in (False, True) if ranks > 1 else (False,):
                directory = os.path.join(root, f"{ranks}-{same}")
                took = write(directory, ranks, megabytes, same=same)
                kind = "same lines on all" if same else "lines of their own"
                print(f"{f'write, {ranks} ranks, {kind}':44}{megabytes / took:8.0f}")
                read(directory, ranks, megabytes, kind)


def write(directory: str, ranks: int, megabytes: int, *, same: bool) -> float:
    """Feed every rank blocks of up to 64 KiB in turn, as a supervisor reads them from pipes; seconds of the feeding alone."""
    writers = [RankWriter(directory, LogName(rank=rank), limit=1 << 40) for rank in range(ranks)]
    rounds = megabytes * 1_000_000 // (ranks * 650 * LINE)
    took, at = 0.0, time.time_ns()
    for number in range(rounds):
        for rank, writer in enumerate(writers):
            name = "all" if same else f"r{rank}"
            block = b"".join(b"%-99b\n" % f"step {number * 650 + i} {name} loss 0.123".encode() for i in range(650))
            at += 1_000_000
            start = time.thread_time()
            writer.feed(b"o", block, at)
            took += time.thread_time() - start
    for writer in writers:
        writer.close(at)
    return took


def read(directory: str, ranks: int, megabytes: int, kind: str) -> None:
    """Read the logs back in several ways."""
    files = [os.path.join(directory, name) for name in os.listdir(directory)]
    cat = timed(lambda: subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True))
    python = timed(lambda: [line for file in files for line in open(file, "rb")])  # noqa: SIM115 - the simplest program is the measure
    queries = {"rendered": LogQuery(), "no fold": LogQuery(fold=False), "timestamps": LogQuery(timestamps=True)}
    for name, query in queries.items():
        if ranks == 1 and name == "no fold":
            continue
        took = timed(lambda query=query: consume(directory, query))  # type: ignore[misc]
        label = f"{name}, {ranks} ranks, {kind}"
        print(f"{label:44}{megabytes / took:8.0f}{took / cat:8.1f}{took / python:10.1f}")


def consume(directory: str, query: LogQuery) -> int:
    """Render everything; how many bytes that was."""
    return sum(len(block) for block in rendered(logs(directory, ended=lambda _: True), query, threading.Event()))


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time that ``work`` and the programs it starts take: other load on the machine does not count."""
    start = os.times()
    work()
    end = os.times()
    return sum(end[:4]) - sum(start[:4])


if __name__ == "__main__":
    main()
