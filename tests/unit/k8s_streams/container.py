"""A container that is this machine: sessions run what they are given here, in a directory of the test's own."""

import contextlib
import os
import select
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from gpuctl.clusters.kubernetes.streams import copy
from gpuctl.clusters.kubernetes.streams import exec as programs
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api
from gpuctl.kube.remotecommand import Output

if TYPE_CHECKING:
    from typing_extensions import Self

NOWHERE = cast("Api", None)
"""The sessions below never ask an API."""


class Session:
    """Looks like a RemoteCommand, and is a child process."""

    def __init__(self, argv: Sequence[str], *, stdin: bool, cwd: Path, env: Mapping[str, str]) -> None:
        self.exit_code: int | None = None
        self.sizes: list[tuple[int, int]] = []
        self._child = subprocess.Popen(
            argv, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, env=env
        )
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._open = {self._child.stdout.fileno(): "stdout", self._child.stderr.fileno(): "stderr"}

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        for end in (self._child.stdin, self._child.stdout, self._child.stderr):
            if end is not None:
                with contextlib.suppress(BrokenPipeError):
                    end.close()

    def read(self, timeout: float | None = None) -> Output | None:
        while self._open:
            ready, _, _ = select.select(list(self._open), [], [], timeout)
            if not ready:
                return None
            data = os.read(ready[0], 1 << 15)
            if data:
                return Output(stream=cast("Any", self._open[ready[0]]), data=data)
            del self._open[ready[0]]
        code = self._child.wait()
        self.exit_code = 128 - code if code < 0 else code
        return None

    def write(self, data: "bytes | memoryview") -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(data)
            self._child.stdin.flush()
        except (BrokenPipeError, ValueError):
            from gpuctl.kube.errors import Unavailable

            raise Unavailable("cannot write: the stream broke") from None

    def close_stdin(self) -> bool:
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        return True

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    def ping(self) -> None:
        pass


class Containers:
    """Every session that was started, and where."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.proc = directory / "proc"
        self.proc.mkdir()
        self.work = directory / "work"
        self.work.mkdir()
        self.env = {"PATH": os.environ["PATH"], "GPUCTL_POD_ROLE": "node", "DECLARED": "yes"}
        self.sessions: list[Session] = []
        self.asked: list[tuple[str, Sequence[str], dict[str, Any]]] = []
        self.change: Callable[[Sequence[str]], Sequence[str]] = lambda argv: argv

    def process(self, pid: int, cwd: Path, **env: str) -> None:
        """A process of the job."""
        place = self.proc / str(pid)
        place.mkdir()
        (place / "environ").write_bytes(b"".join(f"{name}={value}\0".encode() for name, value in env.items()))
        (place / "cwd").symlink_to(cwd)

    def start(self, _: Api, pod: str, argv: Sequence[str], **options: Any) -> Session:
        self.asked.append((pod, argv, options))
        argv = [word.replace("/proc", str(self.proc)) if number == 2 else word for number, word in enumerate(argv)]
        session = Session(self.change(argv), stdin=bool(options.get("stdin")), cwd=self.work, env=self.env)
        self.sessions.append(session)
        return session


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Containers:
    """Programs that are to run in a pod run here."""
    made = Containers(tmp_path)
    monkeypatch.setattr(programs, "exec_", made.start)
    monkeypatch.setattr(copy, "exec_", made.start)
    return made


def pod(name: str = "train-0", *, node: int = 0, ranks: tuple[int, ...] = (0,)) -> PodTarget:
    """A pod of a job."""
    return PodTarget(namespace="team-a", name=name, container="main", node=node, ranks=ranks)
