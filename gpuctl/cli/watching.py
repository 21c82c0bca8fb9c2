"""``--watch``: the same question again and again.

On a terminal the last answer stands where the one before stood: lines are overwritten in place, so that nothing flickers, what was on the
screen stays above, and the last frame stays after Ctrl-C. Piped, or in a format for programs, the first answer is written in full and
afterwards only what changed: table lines, or one document each.
"""

import dataclasses
import os
import select
from collections.abc import Callable, Iterator

import msgspec

from gpuctl.base.errors import UnavailableError
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli import values
from gpuctl.cli.interrupt import Interrupt
from gpuctl.cli.out import document, formats, render
from gpuctl.cli.result import Done, One, Result, Rows
from gpuctl.cli.session import Session

DEFAULT_INTERVAL = "2s"
_HIDE, _SHOW = "\x1b[?25l\x1b[?7l", "\x1b[?25h\x1b[?7h"  # the cursor, and with it the wrapping of long lines


def watch(session: Session, ask: Callable[[], Rows | One], *, interval: str, until: Callable[[], bool] = lambda: False) -> Result:
    """Show what ``ask`` answers until Ctrl-C (130), or until ``until`` says that nothing more will change (0).

    Raises:
        InvalidInput: ``interval`` is no duration.
        GpuctlError: the first question failed; later a failure of reach is told and the question asked again.
    """
    pause = max(0.1, float(values.duration(interval, field="--interval")))
    chosen = formats.parse(session.output)
    redraws = session.out_tty and not chosen.machine and session.env.get("TERM") != "dumb"
    screen = _Frames(session) if redraws else _Appender(session, chosen)
    with Interrupt(session) as stop:
        try:
            result = ask()
            while True:
                screen.show(result)
                if until():
                    return Done(code=result.code)
                if stop.wait(pause):
                    return Done(code=stop.code)
                if _reader_left(session):
                    return Done(code=ExitCode.PIPE_CLOSED)
                try:
                    result = ask()
                except UnavailableError as error:
                    screen.trouble(error.message)
        finally:
            screen.close()


def once_or_watch(session: Session, ask: Callable[[], Rows | One], *, watching: bool, interval: str) -> Result:
    """The answer, or with ``--watch`` one after another."""
    return watch(session, ask, interval=interval) if watching else ask()


def _reader_left(session: Session) -> bool:
    """Whether the other end of our pipe is closed: where nothing changes nothing is written, and no write would tell."""
    try:
        poll = select.poll()
        poll.register(session.out.fileno(), 0)  # errors are always told
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


class _Frames:
    """The present answer, drawn over the one before."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._height = 0
        self._trouble = ""
        session.write(_HIDE)

    def show(self, result: Rows | One) -> None:
        columns, rows = self._size()
        self._session.width = columns
        lines = render.text(result, self._session).splitlines()
        if isinstance(result, Rows):
            lines += [f"note: {cluster} could not be read: {reason}" for cluster, reason in result.incomplete.items()]
            lines += result.footer if result.items else [result.nothing]
        if self._trouble:
            lines.append(self._trouble)
            self._trouble = ""
        if len(lines) > rows - 1:
            hidden = len(lines) - (rows - 2)
            lines = [*lines[: rows - 2], f"... {hidden} more lines"]
        up = f"\x1b[{self._height}A" if self._height else ""
        # Cleared before it is written: behind a line that fills the terminal the cursor stands on its last character.
        self._session.write("\r" + up + "".join(f"\x1b[K{line}\n" for line in lines) + "\x1b[J")
        self._height = len(lines)

    def trouble(self, sentence: str) -> None:
        """Told below the next frame, which shows what was known before."""
        self._trouble = f"note: {sentence}"

    def close(self) -> None:
        self._session.write(_SHOW)

    def _size(self) -> tuple[int, int]:
        try:
            found = os.get_terminal_size(self._session.out.fileno())
        except (OSError, ValueError):
            return self._session.width, 24
        return found.columns or self._session.width, max(4, found.lines or 24)


class _Appender:
    """What changed since the last answer, in the order of the answer."""

    def __init__(self, session: Session, chosen: formats.Format) -> None:
        self._session = session
        self._chosen = chosen
        self._seen: dict[str, bytes] = {}
        self._notes: dict[str, str] = {}
        self._first = True
        self._headed = False

    def show(self, result: Rows | One) -> None:
        items = result.items if isinstance(result, Rows) else (result.item,)
        changed = set(self._changed([result.name(item) for item in items], [msgspec.msgpack.encode(item) for item in items]))
        if self._chosen.machine:
            self._documents(result, changed)
        elif isinstance(result, Rows):
            self._lines(result, changed)
        elif changed:
            self._session.write(render.text(result, self._session))
        if isinstance(result, Rows):
            self._tell(result)
        self._first = False

    def trouble(self, sentence: str) -> None:
        self._session.say(f"note: {sentence}")

    def close(self) -> None:
        self._session.out.flush()

    def _changed(self, names: list[str], bodies: list[bytes]) -> Iterator[int]:
        """Positions of the items that are new or not what they were; rows of one name (the ranks of a job) are told apart by count."""
        times: dict[str, int] = {}
        for position, (name, body) in enumerate(zip(names, bodies, strict=True)):
            times[name] = times.get(name, 0) + 1
            key = f"{name}#{times[name]}"
            if self._seen.get(key) != body:
                self._seen[key] = body
                yield position

    def _lines(self, result: Rows, changed: set[int]) -> None:
        lines = render.text(result, self._session).splitlines(keepends=True)
        header = len(lines) - len(result.items)
        chosen = [lines[header + position] for position in sorted(changed)]
        if chosen and not self._headed:
            chosen = [*lines[:header], *chosen]
            self._headed = True
        self._session.write("".join(chosen))

    def _documents(self, result: Rows | One, changed: set[int]) -> None:
        items = result.items if isinstance(result, Rows) else (result.item,)
        some = [items[position] for position in sorted(changed)]
        if self._chosen.name == "jsonpath":
            if some:  # a path is written for the list, so what changed is a list too
                part = dataclasses.replace(result, items=some) if isinstance(result, Rows) else result
                self._session.write(render.text(part, self._session))
            return
        for item in some:
            body = document.of(item, result.kind)
            yaml = self._chosen.name == "yaml"
            self._session.write("---\n" + document.yaml_text(body) if yaml else msgspec.json.encode(body).decode() + "\n")

    def _tell(self, result: Rows) -> None:
        for cluster, reason in result.incomplete.items():
            if self._notes.get(cluster) != reason:
                self._session.say(f"note: {cluster} could not be read: {reason}")
        self._notes = dict(result.incomplete)
        if self._first and not result.items and result.empty:
            self._session.say(result.nothing)
