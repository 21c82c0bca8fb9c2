"""The values between a kind and the supervisor: processes to start, in steps, and what may be read from what they print."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from gpuctl.clusters.local.launchplan import LaunchPlan, Lease, Task
from gpuctl.model.spec import JobSpec


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """One process to start.

    Attributes:
        argv: program and arguments; the program is looked up as a shell would, in ``env``'s PATH.
        env: its whole environment.
        cwd: where it runs.
        node: index of its node in the attempt.
        rank: the rank whose log its output belongs to, None for the node's agent.
        label: what it is, in words, for evidence (``rank 1``, ``Ray's head``).
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    node: int = 0
    rank: int | None = None
    label: str = ""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A FIFO that some process of the step writes: the stream of one rank. Made before the step starts."""

    path: str
    rank: int
    node: int
    stream: str
    """``o`` or ``e``."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Processes that start together.

    A foreground step is over when all of them have exited with 0; the first other end ends the task, in failure. Processes of a background
    step stay until the last foreground step is over and are ended then; one that exits before has failed, and so has the task.
    """

    name: str
    starts: tuple[Start, ...]
    background: bool = False
    readings: tuple[Reading, ...] = ()
    timeout: float | None = None
    """Seconds a foreground step may take; past it the task has failed."""
    is_setup: bool = False
    again: "Callable[[bytes], tuple[Step, ...]] | None" = None
    """Given the end of what the failed process said: the steps to start over with (a port was taken meanwhile), or none."""


class NodeEnvironment(Protocol):
    """Makes the environment of processes on one node: ``env`` with the node's rank and its devices (or none of them)."""

    def __call__(self, node: int, *, devices: bool = True) -> dict[str, str]:
        """A fresh one, to be added to."""
        ...


class TaskContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind knows of the task: ``env`` is the environment of every process, before the kind's own variables.

    ``scratch`` is the task's own fresh directory. ``pods`` are the leases of each node.
    """

    plan: LaunchPlan
    task: Task
    pods: tuple[tuple[Lease, ...], ...]
    env: Mapping[str, str]
    scratch: str
    node_env: NodeEnvironment

    @property
    def spec(self) -> JobSpec:
        """The job's specification."""
        return self.plan.spec

    @property
    def arguments(self) -> tuple[str, ...]:
        """The script's arguments: the job's, then the task's own (``--args-from``)."""
        return (*self.spec.args, *(self.task.args or ()))


class CannotStart(Exception):
    """A process cannot be started, by the job's own fault: the program is missing or not executable.

    ``status`` is what a shell would exit with: 126 (found, cannot be executed) or 127 (not found). ``code`` and ``data`` are those of the
    evidence it becomes.
    """

    def __init__(self, text: str, *, status: int, code: str = "start-failed", data: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code
        self.data: Mapping[str, str] = data or {}


def free_ports(count: int, *, address: str = "127.0.0.1", avoid: Sequence[int] = ()) -> list[int]:
    """``count`` different TCP ports nobody listens on now, below the range from which the kernel picks ports of its own.

    Another program may take one before it is used: whoever uses them must be able to try again.

    Raises:
        OSError: no free ports were found.
    """
    lowest, highest = 20000, _first_ephemeral() - 1
    found: list[int] = []
    for _ in range(200 * count):
        port = lowest + int.from_bytes(os.urandom(4), "little") % (highest - lowest + 1)
        if port in found or port in avoid:
            continue
        if all(_is_free(host, port) for host in {address, "0.0.0.0"}):
            found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"no {count} free TCP ports between {lowest} and {highest}")


def _is_free(host: str, port: int) -> bool:
    import socket  # 8 ms that a job without ports need not wait for

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _first_ephemeral() -> int:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            first = int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768
    return first if first > 24000 else 32768


def private_directory(path: str) -> str:
    """Make a directory that only this user may enter; the same path."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path
