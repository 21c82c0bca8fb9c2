"""How long the plain writer takes for a table of 10,000 rows."""

import time

from gpuctl.base import clock
from gpuctl.cli.out import table
from gpuctl.cli.result import Column, Context
from tests.perf.measure import line, title

ROWS = 10_000


def main() -> None:
    """Best of three."""
    items = [
        {"name": f"job-{number}", "state": "running", "gpus": number % 64, "text": "waits behind 3 jobs" * (number % 3)}
        for number in range(ROWS)
    ]
    columns = [Column(name=name.upper(), cell=lambda item, _, name=name: str(item[name]), right=name == "gpus") for name in items[0]]
    context = Context(now=clock.now())
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        text = table.render(items, columns, context, width=None, headers=True)
        taken.append(time.perf_counter() - began)
    assert text.count("\n") == ROWS + 1
    title("Tables")
    line(f"{ROWS} rows of {len(columns)} columns", f"{min(taken) * 1000:.0f} ms", "", "of 100")


if __name__ == "__main__":
    main()
