"""Runs real supervisors as the keeper does: a plan, inherited locks, an environment through a pipe."""

import dataclasses
import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gpuctl.clusters.local import journal
from gpuctl.clusters.local.launchplan import LaunchPlan, Lease, Request, Slot, Task
from gpuctl.model.spec import JobSpec
from gpuctl.port.stream import HEADER


@dataclasses.dataclass
class Supervised:
    """A launch that was started; its directories outlive it."""

    plan: LaunchPlan
    process: subprocess.Popen[bytes]
    locks: list[Path]

    def wait(self, timeout: float = 30) -> list[journal.Entry]:
        """Wait for the supervisor's end; everything it wrote."""
        self.process.wait(timeout)
        return self.entries()

    def entries(self, what: str | None = None) -> list[journal.Entry]:
        found = [entry for entry, _ in journal.read(os.path.join(self.plan.directory, "journal"))]
        return [entry for entry in found if what is None or entry.what == what]

    def until(self, what: str, timeout: float = 20) -> journal.Entry:
        """Wait for the first entry of this kind."""
        return until(lambda: next(iter(self.entries(what)), None), timeout)

    def evidence(self) -> dict[str, journal.Entry]:
        """The first evidence of each code."""
        found: dict[str, journal.Entry] = {}
        for entry in self.entries("evidence"):
            found.setdefault(entry.data["code"], entry)
        return found

    def log(self, name: str = "a1.n0.r0.log", streams: str = "oe") -> bytes:
        """What one rank said, record headers taken off and parts joined."""
        try:
            block = (Path(self.plan.logs) / name).read_bytes()
        except FileNotFoundError:
            return b""
        text = b""
        for record in block.splitlines(keepends=True) if b"\r" not in block else block.split(b"\n"):
            record = record.rstrip(b"\n")
            if len(record) >= HEADER and chr(record[31]) in streams:
                text += record[HEADER:] + (b"\n" if record[32:33] == b"F" else b"")
        return text

    def ask(self, request: Request) -> None:
        """Append a request and ring the bell."""
        with open(os.path.join(self.plan.directory, "control"), "ab") as file:
            file.write(msgspec.json.encode(request) + b"\n")
        self.process.send_signal(signal.SIGUSR1)

    def locked(self) -> list[bool]:
        """Whether each device is still held."""
        return [is_locked(path) for path in self.locks]


def until(look: Any, timeout: float = 20) -> Any:
    """The first true answer of ``look``."""
    deadline = time.monotonic() + timeout
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.01)
    return answer


def is_locked(path: Path) -> bool:
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Bench:
    """Makes launches below one directory and ends what is left of them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.started: list[Supervised] = []
        self._scratch: list[str] = []

    def launch(
        self,
        spec: JobSpec,
        *,
        tasks: Sequence[Task] = (Task(),),
        slots: int = 1,
        env: Mapping[str, str] | None = None,
        kind: str = "slot",
        **plan: Any,
    ) -> Supervised:
        job_id = plan.pop("job_id", secrets.token_hex(6))
        launch_number = plan.get("launch", 1)
        directory = self.base / job_id / f"l{launch_number}"
        directory.mkdir(parents=True)
        work = self.base / "work"
        work.mkdir(exist_ok=True)
        scratch = tempfile.mkdtemp(prefix="gt")
        self._scratch.append(scratch)
        fds: list[int] = []
        locks: list[Path] = []

        def lock(path: Path) -> int:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fds.append(descriptor)
            return descriptor

        made = []
        index = 0
        for _ in range(slots):
            pods = []
            for _ in range(spec.nodes):
                pod = []
                for _ in range(spec.gpus):
                    path = directory / f"device{index}.lock"
                    uuid = f"GPU-{index}" if kind == "nvidia" else f"slot-{index}"
                    pod.append(Lease(index=index, uuid=uuid, kind=kind, lock=str(path), fd=lock(path)))  # type: ignore[arg-type]
                    locks.append(path)
                    index += 1
                pods.append(tuple(pod))
            made.append(Slot(pods=tuple(pods)))
        alive = lock(directory / "alive")
        env_read, env_write = os.pipe()
        fds.append(env_read)
        values: dict[str, Any] = {
            "job_id": job_id,
            "name": "test-k3f9",
            "launch": 1,
            "user": "anna",
            "node": "here",
            "spec": spec,
            "workdir": str(work),
            "directory": str(directory),
            "logs": str(self.base / job_id / "logs"),
            "scratch": scratch,
            "slots": tuple(made),
            "tasks": tuple(tasks),
            "env_fd": env_read,
            "alive_fd": alive,
            "interpreter": sys.executable,
            "grace": 5,
        }
        whole = LaunchPlan(**{**values, **plan})
        path = directory / "plan.json"
        path.write_bytes(msgspec.json.encode(whole))
        with (directory / "supervisor.log").open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "gpuctl.clusters.local.supervisor", str(path)],
                pass_fds=fds,
                cwd="/",
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        for descriptor in fds:
            os.close(descriptor)
        given = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **(env or {})}
        with os.fdopen(env_write, "wb") as pipe:
            pipe.write(json.dumps(given).encode())
        started = Supervised(whole, process, locks)
        self.started.append(started)
        return started

    def script(self, name: str, text: str, *, mode: int = 0o644) -> str:
        """Put a script into the working directory; its name."""
        path = self.base / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return name

    def close(self) -> None:
        """Kill whatever is left, and show what supervisors complained about."""
        from gpuctl.clusters.local import processes
        from gpuctl.clusters.local.supervisor.files import remove_tree

        complaints = []
        for supervised in self.started:
            killed_by_test = supervised.process.poll() is not None and supervised.process.returncode < 0
            if supervised.process.poll() is None:
                supervised.process.kill()
                supervised.process.wait()
                killed_by_test = True
            group = next((entry.data.get("cgroup") for entry in supervised.entries("supervisor")), None)
            processes.reap(supervised.plan.job_id, supervised.plan.launch, group=group)
            said = (Path(supervised.plan.directory) / "supervisor.log").read_text()
            if said and not killed_by_test:
                complaints.append(said)
        for scratch in self._scratch:
            remove_tree(scratch)
        assert not complaints, "\n".join(complaints)
