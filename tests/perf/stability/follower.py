"""Programs that follow something for a long time."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from tests.perf.stability.checks import Check

WATCHER = """
import os, signal
import msgspec
from gpuctl.kube.api import open_api
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import CONFIG_MAPS
signal.signal(signal.SIGINT, signal.SIG_DFL)
api = open_api(None, env=os.environ)
changes = api.watch(CONFIG_MAPS.path("default"), Object, resource_version="", stop=lambda: False, params={"labelSelector": "steady=yes"})
for change in changes:
    objects = change.listing.items if change.listing is not None else [change.object]
    items = {each.metadata.name: int(each.metadata.annotation("count")) for each in objects}
    print(msgspec.json.encode({"kind": change.kind, "items": items}).decode(), flush=True)
"""
"""A watch of the Kubernetes API as a program: one JSON object for each change."""


@dataclasses.dataclass(kw_only=True)
class Follower:
    """One program that follows, and what is made of its lines. ``sizes``: resident memory in MB, by seconds since its start."""

    name: str
    argv: Sequence[str]
    check: Check
    process: subprocess.Popen[str] | None = None
    reader: threading.Thread | None = None
    sizes: list[tuple[float, float]] = dataclasses.field(default_factory=list)

    def start(self, env: Mapping[str, str], notes: IO[str]) -> None:
        """Run it, reading on a thread of its own."""
        self.process = subprocess.Popen(self.argv, env=env, cwd=env["HOME"], stdout=subprocess.PIPE, stderr=notes, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def measure(self, at: float) -> None:
        """Note its size."""
        assert self.process is not None
        with contextlib.suppress(OSError):
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            if pages:
                self.sizes.append((at, pages * os.sysconf("SC_PAGE_SIZE") / 1e6))

    def end(self, *, within: float, asked: bool) -> None:
        """Wait for its end; ``asked`` if it ends only when told to."""
        assert self.process is not None
        assert self.reader is not None
        if asked:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.check.faults.append(f"did not end within {within:g} s")
            self.process.kill()
        self.reader.join(10)

    def growth(self, minutes: float) -> tuple[float, float, float]:
        """MB at a tenth of the time, at the end, and at most since then."""
        settled = [size for at, size in self.sizes if at >= minutes * 6] or [0.0]
        return settled[0], settled[-1], max(settled)

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for text in self.process.stdout:
            try:
                self.check.line(text)
            except (ValueError, KeyError, msgspec.DecodeError) as error:
                self.check.faults.append(f"{error!r}: {text.strip()}")
