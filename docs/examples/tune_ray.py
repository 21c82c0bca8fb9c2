"""Try several learning rates at once on a Ray cluster of the job's own.

    gpuctl run --kind ray -j 2x1 docs/examples/tune_ray.py

gpuctl has started Ray's head and workers before this program begins, and ends them after it. ``ray.init()`` finds them by itself.
"""

import os
import random

import ray


@ray.remote(num_cpus=1)
def descend(rate: float, steps: int = 200) -> tuple[float, float, int]:
    """Gradient descent on a noisy parabola: the rate, the distance left to its lowest point, the process that did it."""
    noise = random.Random(0)
    x = 10.0
    for _ in range(steps):
        x -= rate * (2 * x + noise.gauss(0, 0.1))
    return rate, abs(x), os.getpid()


def main() -> None:
    ray.init(log_to_driver=False)
    print(f"nodes {len(ray.nodes())}, resources {sum(node['Resources'].get('CPU', 0) for node in ray.nodes()):.0f} CPU", flush=True)
    pending = [descend.remote(rate) for rate in (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)]
    results = []
    while pending:
        done, pending = ray.wait(pending, num_returns=1)
        rate, distance, process = ray.get(done[0])
        results.append((distance, rate))
        print(f"rate {rate:<6} ends {distance:.5f} away (process {process})", flush=True)
    print(f"best rate: {min(results)[1]}", flush=True)


if __name__ == "__main__":
    main()
