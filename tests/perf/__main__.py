"""``python -m tests.perf [NAME...]``: every measurement, or those named. Prints figures; fails only if something does not work."""

import importlib
import os
import platform
import sys

NAMES = ("startup", "tab", "tables", "jobs", "bench_logs", "kube_list", "kube_commands", "window_switch")


def main() -> None:
    """Run them one after the other: nothing is measured while something else runs."""
    names, sys.argv[1:] = sys.argv[1:] or NAMES, []
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in names:
        importlib.import_module(f"tests.perf.{name}").main()


if __name__ == "__main__":
    main()
