"""Logs of what runs unattended: one line for each event, for people or as JSON, with the same fields."""

import json
import threading
from collections.abc import Callable
from typing import Literal, TextIO

from gpuctl.base import clock

Format = Literal["text", "json"]
Level = Literal["info", "warning", "error"]


class Log:
    """Writes lines. Safe to use from several threads, since a line is one write.

    Args:
        form: ``text`` or ``json``.
        out: where they go.
        fields: on every line.
    """

    def __init__(self, form: Format, *, out: TextIO, fields: dict[str, object] | None = None) -> None:
        self._form = form
        self._out = out
        self._fields = fields or {}

    def bound(self, **fields: object) -> "Log":
        """The same with further fields on every line."""
        return Log(self._form, out=self._out, fields={**self._fields, **fields})

    def info(self, message: str, **fields: object) -> None:
        """Something happened as it should."""
        self._write("info", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Something is held up, or is not as it should be, and is tried again."""
        self._write("warning", message, fields)

    def error(self, message: str, **fields: object) -> None:
        """Something cannot be done until somebody does something about it."""
        self._write("error", message, fields)

    def _write(self, level: Level, message: str, fields: dict[str, object]) -> None:
        told = {key: value for key, value in {**self._fields, **fields}.items() if value is not None}
        moment = clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        if self._form == "json":
            line = json.dumps({"time": moment, "level": level, "message": message, **told}, default=str)
        else:
            line = " ".join([moment, level.upper().ljust(7), message, *(f"{key}={_word(value)}" for key, value in told.items())])
        self._out.write(line + "\n")
        self._out.flush()


MOST_SAID = 20_000
"""Subjects that are remembered; the oldest is forgotten first, and would be told again."""


class Once:
    """Says a thing when it begins to be so, and not again while it stays so. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, str] = {}

    def changed(self, subject: str, text: str | None, say: Callable[..., None], **fields: object) -> None:
        """Say ``text`` of ``subject``, with ``fields``, if it is news; None: there is nothing to say any more."""
        with self._lock:
            if text is None:
                self._said.pop(subject, None)
                return
            if self._said.get(subject) == text:
                return
            self._said[subject] = text
            while len(self._said) > MOST_SAID:
                del self._said[next(iter(self._said))]
        say(text, **fields)


def _word(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(each in text for each in ' "=\n') else text
