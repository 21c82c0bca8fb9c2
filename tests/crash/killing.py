"""Killing a process of ours at its n-th step, without a line of the product knowing.

The process is forked from the test. A profile function sees every call into C by name and sends SIGKILL just before the n-th one that
changes something outside of the process: the same instants at which a real kill -9 makes a difference.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

STEPS = frozenset(
    {"execute", "executemany", "write", "fsync", "rename", "replace", "mkdir", "mkdtemp", "rmdir", "unlink", "link", "open", "flock"}
    | {"memfd_create", "fork_exec", "close", "mkfifo"}
)


def run(action: Callable[[], object]) -> int:
    """Run ``action`` in a process of its own; its wait status (0: it came to its end)."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_until(step: int, action: Callable[[], object]) -> bool:
    """Run ``action`` in a process of its own and kill that before its step number ``step`` (from 1); whether it came to its end before."""
    seen = 0

    def watch(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal seen
        if event == "c_call" and getattr(arg, "__name__", "") in STEPS:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched() -> None:
        sys.setprofile(watch)
        action()

    code = run(watched)
    assert code in (0, -signal.SIGKILL), code
    return code == 0
