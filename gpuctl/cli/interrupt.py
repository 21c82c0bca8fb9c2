"""Ctrl-C while something waits: the first says what goes on without us and asks the wait to end, the second leaves at once."""

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, final

from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli.session import Session


@final
class Interrupt:
    """A ``Stop`` that Ctrl-C sets, for the time of a ``with`` block.

    Args:
        session: where the sentence goes.
        sentence: what goes on without us (``job/train-k3f9 goes on; ...``), or a function that knows by then; None says nothing.
        leave: ends the process; the second Ctrl-C calls it.

    A pipe carries the wish, because a handler may run while the thread it interrupts holds the lock of a ``threading.Event``.
    """

    def __init__(
        self, session: Session, *, sentence: str | Callable[[], str | None] | None = None, leave: Callable[[int], Any] = os._exit
    ) -> None:
        self._session = session
        self._sentence = sentence
        self._leave = leave
        self._set = False
        self._read, self._write = os.pipe()
        self._before: Any = None

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        os.close(self._read)
        os.close(self._write)

    def is_set(self) -> bool:
        """Whether to stop now."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep for ``timeout`` seconds (None: for ever), but no longer than until Ctrl-C; whether to stop now."""
        if not self._set:
            select.select([self._read], [], [], timeout)
        return self._set

    def set(self) -> None:
        """Ask the wait to end, as Ctrl-C does but without a word."""
        if not self._set:
            self._set = True
            os.write(self._write, b"!")

    @property
    def code(self) -> int:
        """The exit code of a wait that ended here."""
        return ExitCode.INTERRUPTED if self._set else ExitCode.OK

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._set:
            self._leave(ExitCode.INTERRUPTED)
            return
        self.set()
        said = self._sentence() if callable(self._sentence) else self._sentence
        # The terminal has just echoed ^C in the middle of a line; the stream object may be in use below us.
        line = f"{chr(10) if self._session.err_tty else ''}{said + chr(10) if said else ''}"
        try:
            os.write(self._session.err.fileno(), line.encode(errors="backslashreplace"))
        except (OSError, ValueError):
            if said:
                self._session.say(said)
