"""Running a credential plugin: its output, its last words, and an end when it hangs."""

import atexit
import dataclasses
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

LIMIT_S = 60.0
"""How long a plugin may take that does not talk to a person."""
TALKING_LIMIT_S = 300.0
"""How long it may take once it has said something to the person at the terminal (a device code to enter elsewhere)."""
_STEP_S = 0.05
_running: "set[subprocess.Popen[bytes]]" = set()
"""Plugins that nobody may be waiting for any more: who gave a cluster up leaves without them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a plugin ended. ``code`` is None when it was stopped, negative for a signal. The output has no repr: it holds secrets."""

    code: int | None
    output: bytes = dataclasses.field(repr=False)
    last_words: str
    seconds: float


def run(argv: Sequence[str], *, env: Mapping[str, str], talking: bool, limit_s: float) -> Ended:
    """Run it to its end or its limit.

    Args:
        argv: the command; a bare name is looked for on ``env``'s PATH.
        env: the whole environment.
        talking: whether it gets our stdin, and whether what it says on stderr is passed on.
        limit_s: seconds; a plugin that has said something to a person may take ``TALKING_LIMIT_S``.

    Raises:
        OSError: it could not be started.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        argv,
        env=dict(env),
        stdin=None if talking else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A group of its own can be ended whole. One that may ask a person stays in the terminal's foreground group.
        start_new_session=not talking,
    )
    if not talking:
        _running.add(process)
    assert process.stdout is not None
    assert process.stderr is not None
    output, errors = bytearray(), bytearray()
    readers = [
        threading.Thread(target=_drain, args=(process.stdout.fileno(), output, False), daemon=True),
        threading.Thread(target=_drain, args=(process.stderr.fileno(), errors, talking), daemon=True),
    ]
    for reader in readers:
        reader.start()
    code: int | None = None
    while code is None:
        limit = max(limit_s, TALKING_LIMIT_S) if talking and errors else limit_s
        try:
            code = process.wait(_STEP_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() - began > limit:
                break
    if code is None:
        _stop(process, whole_group=not talking)
    _running.discard(process)
    for reader in readers:
        reader.join(1.0)  # a grandchild may hold a pipe open; what was said until now counts
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    for reader, pipe in zip(readers, (process.stdout, process.stderr), strict=True):
        if not reader.is_alive():
            pipe.close()
    return Ended(code=code, output=bytes(output), last_words=lines[-1][:300] if lines else "", seconds=time.monotonic() - began)


def _drain(source: int, into: bytearray, pass_on: bool) -> None:
    while True:
        try:
            chunk = os.read(source, 65536)
        except OSError:
            return
        if not chunk:
            return
        into += chunk
        if pass_on:
            try:
                os.write(2, chunk)
            except OSError:
                pass_on = False


def _stop(process: subprocess.Popen[bytes], *, whole_group: bool) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            if whole_group:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
        except ProcessLookupError:
            pass
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGKILL or not whole_group:
            return


@atexit.register
def _leave_none() -> None:
    for process in tuple(_running):
        if process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
