"""Another process, perhaps another user's: it runs one function and tells what came of it, and lives until it is told to end."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

_CONTEXT = multiprocessing.get_context("spawn")


def _main(pipe: Connection, uid: int | None, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        os.umask(0o077)  # a user who is careful must not lock others out
    try:
        result = work(*args)
        pipe.send(repr(result) if not isinstance(result, (str, int, bool, dict, tuple, list, type(None))) else result)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.poll(60)  # keeps what ``work`` holds, as ``result``


@contextlib.contextmanager
def process(work: Callable[..., Any], *args: Any, uid: int | None = None) -> Iterator[tuple[Any, int]]:
    """What ``work`` answered there, and the process's pid; it is killed (SIGKILL) at the end of the block."""
    here, there = _CONTEXT.Pipe()
    child = _CONTEXT.Process(target=_main, args=(there, uid, work, args))
    child.start()
    there.close()
    assert child.pid is not None
    try:
        yield here.recv(), child.pid
    finally:
        child.kill()
        child.join()
        here.close()
