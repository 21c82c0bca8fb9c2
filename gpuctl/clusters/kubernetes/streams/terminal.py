"""The terminal on this side of an exec: raw while a program over there has it, and as it was before afterwards, however we leave."""

import dataclasses
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from gpuctl.base.errors import GpuctlError

BLOCK = 1 << 15


@dataclasses.dataclass(frozen=True)
class Terminal:
    """Our own streams, by file descriptor; ``stdin`` None when there is nothing to read."""

    stdin: int | None = 0
    stdout: int = 1
    stderr: int = 2

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            found = os.get_terminal_size(self.stdout)
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24

    def write(self, data: bytes, *, error: bool = False) -> None:
        """All of ``data`` on stdout or stderr."""
        view = memoryview(data)
        fd = self.stderr if error else self.stdout
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:  # somebody left our terminal non-blocking
                select.select([], [fd], [])

    @contextmanager
    def raw(self) -> Iterator[None]:
        """Raw mode while inside. SIGTERM and SIGHUP put the terminal back before they end us."""
        import termios
        import tty

        if self.stdin is None:
            yield
            return
        fd = self.stdin
        before = termios.tcgetattr(fd)

        def leave(number: int, _: FrameType | None) -> None:
            termios.tcsetattr(fd, termios.TCSANOW, before)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        with _handling({signal.SIGTERM: leave, signal.SIGHUP: leave}):
            try:
                tty.setraw(fd)
                yield
            finally:
                termios.tcsetattr(fd, termios.TCSADRAIN, before)

    @contextmanager
    def pumped(
        self, send: Callable[[bytes], None], ended: Callable[[], object], resized: Callable[[int, int], None] | None = None
    ) -> Iterator[None]:
        """While inside, what is typed or piped in goes to ``send``, its end to ``ended``, and new sizes to ``resized``, from a thread.

        The thread takes nothing any more once we leave: the next byte is for whoever reads stdin then.
        """
        if self.stdin is None:
            ended()
            yield
            return
        woken, wake = os.pipe()
        thread = threading.Thread(target=self._pump, args=(self.stdin, woken, send, ended, resized), name="stdin", daemon=True)
        thread.start()
        try:
            # A handler runs in the middle of whatever this thread does, so it only wakes the other one.
            with _handling({signal.SIGWINCH: lambda _, __: _write(wake)} if resized is not None else {}):
                yield
        finally:
            os.close(wake)
            thread.join(1.0)
            if not thread.is_alive():
                os.close(woken)

    def _pump(
        self,
        fd: int,
        woken: int,
        send: Callable[[bytes], None],
        ended: Callable[[], object],
        resized: Callable[[int, int], None] | None,
    ) -> None:
        watched = [fd, woken]
        try:
            while True:
                ready, _, _ = select.select(watched, [], [])
                if woken in ready:
                    if not os.read(woken, 64):
                        return
                    if resized is not None:
                        resized(*self.size())
                    continue
                data = _read(fd)
                if data:
                    send(data)
                else:
                    ended()
                    watched.remove(fd)
        except GpuctlError:
            return  # the session is over; whoever reads it knows why


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, BLOCK)
    except OSError:  # the terminal is gone
        return b""


def _write(wake: int) -> None:
    os.write(wake, b"w")


_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def _handling(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    """Signal handlers while inside. Only the main thread may set them; in another one signals are not ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
