"""What a person sees while something waits: one line on stderr that moves on a terminal, and plain lines anywhere else.

Drawn by a thread, so that a wait inside a library shows too. Written here rather than with rich, whose import alone takes longer than
the tenth of a second after which a terminal must show something.
"""

import threading
import time
from types import TracebackType
from typing import final

from gpuctl.base import duration
from gpuctl.cli.out.table import cut
from gpuctl.cli.session import Session

_DELAY = 0.08
_PERIOD = 0.1
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII_FRAMES = "|/-\\"
_CLEAR = "\r\x1b[2K"


@final
class Progress:
    """A wait that tells how it stands, for the time of a ``with`` block.

    On a terminal a spinner, the sentence and the seconds so far; elsewhere each new sentence is one line. Silent with ``-q``.
    """

    def __init__(self, session: Session, text: str = "") -> None:
        self._session = session
        self._text = text
        self._began = time.monotonic()
        self._lock = threading.RLock()
        self._done = threading.Event()
        self._drawn = False
        self._moves = session.err_tty and session.env.get("TERM") != "dumb" and session.verbosity >= 0
        self._thread = threading.Thread(target=self._run, name="gpuctl-progress", daemon=True) if self._moves else None
        encoding = (session.err.encoding or "").lower()
        self._frames = _FRAMES if encoding.startswith("utf") else _ASCII_FRAMES

    def __enter__(self) -> "Progress":
        if self._thread is not None:
            self._thread.start()
        elif self._text:
            self._session.say(self._text)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        self._clear()

    def update(self, text: str) -> None:
        """Say something else from now on."""
        with self._lock:
            if text == self._text:
                return
            self._text = text
        if self._thread is None and text:
            self._session.say(text)

    def say(self, text: str) -> None:
        """A line to stderr that stays, above the moving one."""
        with self._lock:
            self._clear()
            self._session.say(text)

    def write(self, text: str) -> None:
        """Something for stdout, which may be the same terminal."""
        with self._lock:
            self._clear()
            self._session.write(text)

    def _run(self) -> None:
        if self._done.wait(_DELAY):
            return
        number = 0
        while True:
            self._draw(self._frames[number % len(self._frames)])
            number += 1
            if self._done.wait(_PERIOD):
                return

    def _draw(self, frame: str) -> None:
        with self._lock:
            if self._done.is_set() or not self._text:
                return
            waited = duration.short(time.monotonic() - self._began)
            tail = f" ({waited})"
            line = cut(f"{frame} {self._text}", max(20, self._session.width - 1 - len(tail))) + tail
            self._drawn = self._put(_CLEAR + line)

    def _clear(self) -> None:
        with self._lock:
            if self._drawn:
                self._put(_CLEAR)
                self._drawn = False

    def _put(self, text: str) -> bool:
        try:
            self._session.err.write(text)
            self._session.err.flush()
        except (OSError, ValueError):  # nobody looks any more; the wait goes on
            return False
        return True
