"""One task of a sweep: which learning rate and seed it tries follows from its index.

    gpuctl submit --array 0-11%4 docs/examples/sweep.py

Without PyTorch or anything else to install. Each task prints one line of JSON; read them with

    gpuctl logs sweep --no-prefix | sort
"""

import json
import os
import random
from itertools import product

GRID = list(product((0.3, 0.1, 0.03, 0.01), (0, 1, 2)))
"""(learning rate, seed) by index."""


def main() -> None:
    index = int(os.environ.get("GPUCTL_ARRAY_INDEX", "0"))
    rate, seed = GRID[index]
    noise = random.Random(seed)
    x = 10.0
    for _ in range(100):
        x -= rate * (2 * x + noise.gauss(0, 0.5))
    print(json.dumps({"index": index, "rate": rate, "seed": seed, "distance": round(abs(x), 4)}), flush=True)


if __name__ == "__main__":
    main()
