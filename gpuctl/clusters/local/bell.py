"""Ringing for the keeper: a byte in its named pipe. Also for supervisors, which load nothing of the store."""

import os


def ring(pipe: str) -> bool:
    """Wake whoever reads the named pipe; whether anybody does."""
    try:
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, b"\n")
    except BlockingIOError:
        pass  # it has plenty to wake up for already
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
