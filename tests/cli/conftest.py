"""A terminal for verbs: ``gpuctl.cli.main.run`` with its streams apart and a clock that stands."""

import dataclasses
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gpuctl.cli import main
from gpuctl.cli.session import Session
from tests.cli.recorder import NOW


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one invocation left: exit code and both streams."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(pool, "jobs", "-o", "wide", width=80, tty=True)``: one invocation of the whole command line."""
    monkeypatch.setenv("TZ", "UTC")

    def invoke(
        pool: Any, *args: str, width: int = 80, tty: bool = False, stdin: str = "", env: Mapping[str, str] | None = None, **facts: Any
    ) -> Outcome:
        environment = {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "GPUCTL_TIME_ZONE": "UTC",
            **(env or {}),
        }
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        settings: dict[str, Any] = {
            "out": out,
            "err": err,
            "stdin": io.StringIO(stdin),
            "env": environment,
            "cwd": str(tmp_path),
            "now": lambda: NOW,
            "out_tty": tty,
            "err_tty": tty,
            "stdin_tty": tty,
            "width": width,
            "open_pool": lambda _session: pool,
            **facts,
        }
        code = main.run(list(args), Session(**settings))
        return Outcome(code=int(code), out=_text(settings["out"]), err=_text(err))

    return invoke


def _text(stream: Any) -> str:
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(stream.buffer, io.BytesIO):
        return ""
    stream.flush()
    return stream.buffer.getvalue().decode(errors="backslashreplace")
