"""Whether a request that failed is sent once more, and when."""

import random

from gpuctl.kube.errors import ApiFailure, Unavailable

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 8.0
CONNECT_TRIES = 3
"""Tries to open a connection that is refused at once: an API server that restarts is back soon, one that is gone should not cost more."""


def again(error: Unavailable, *, repeatable: bool, tried: int, retries: int) -> bool:
    """Whether what failed may be tried once more.

    Args:
        error: how the last try ended.
        repeatable: whether doing it twice is as doing it once.
        tried: how often it was tried.
        retries: how often it may be tried again at most.
    """
    if error.code in {"certificate-not-trusted", "cluster-too-slow"} or tried > retries:
        return False
    if error.status:
        return repeatable and error.status in {500, 502, 503, 504}
    return repeatable if error.reached else tried < CONNECT_TRIES


def wait(error: ApiFailure, tried: int) -> float:
    """Seconds until the next try: what the server asked for, else doubling with jitter, so that a thousand clients do not come at once."""
    backoff = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (tried - 1)) * random.uniform(0.5, 1.0)
    return max(error.retry_after or 0.0, backoff)
