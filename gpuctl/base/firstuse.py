"""What only one thread at a time may do for the first time."""

import threading

LOCK = threading.RLock()
"""Held while something is prepared that later is used by any number of threads without it."""
