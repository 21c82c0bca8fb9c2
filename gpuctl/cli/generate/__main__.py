"""``python -m gpuctl.cli.generate [--check] [ROOT]``: write the generated files of a checkout, or only say which are out of date."""

import argparse
import sys
from pathlib import Path

from gpuctl.cli.generate import files


def main() -> int:
    """0: all is up to date (now); 1: with ``--check``, something is not."""
    parser = argparse.ArgumentParser(prog="python -m gpuctl.cli.generate", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="root of the checkout (default: here)")
    options = parser.parse_args()
    paths = list(files.stale(options.root)) if options.check else files.write(options.root)
    for path in paths:
        print(f"{'out of date' if options.check else 'wrote'}: {path}")
    if options.check and paths:
        print("run: python -m gpuctl.cli.generate", file=sys.stderr)
    return 1 if options.check and paths else 0


if __name__ == "__main__":
    raise SystemExit(main())
