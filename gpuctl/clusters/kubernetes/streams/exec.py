"""Programs in a job's containers, on this terminal."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

from gpuctl.base.errors import ConflictError, GpuctlError, NotFoundError
from gpuctl.clusters.kubernetes.streams import inpod
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.clusters.kubernetes.streams.terminal import Terminal
from gpuctl.kube.api import Api
from gpuctl.kube.remotecommand import RemoteCommand, exec_
from gpuctl.model.ask import ExecTarget

PING_S = 30.0
"""Seconds of silence after which a sign of life is asked for: idle connections are dropped on the way."""
AT_A_TIME = 32
"""Pods in which a program runs at the same time."""
Write = Callable[[bytes, bool], None]
"""Takes bytes, and whether they are stderr."""


def run(
    api: Api, pods: Sequence[PodTarget], target: ExecTarget, argv: Sequence[str], *, job: str, tty: bool, terminal: Terminal | None = None
) -> int:
    """Run ``argv`` in the job's environment and directory; its exit status, the highest of several.

    One program has our streams: a terminal when ``tty``, else stdin, stdout and stderr apart. Several run at once without stdin, and each
    of their lines has its node before it. A first Ctrl-C is sent on as SIGINT, a second one leaves.

    Args:
        api: where the pods are.
        pods: the running pods of the job's present attempt.
        target: which of them.
        argv: the program and its arguments.
        job: the job's name, for messages.
        tty: give it a terminal.
        terminal: our streams.

    Raises:
        NotFoundError: no such rank or node.
        ConflictError: no pod of it runs.
        ApiFailure: a session was refused, or broke.
    """
    terminal = terminal or Terminal()
    chosen = select(pods, target, job=job)
    if len(chosen) == 1:
        return _one(api, chosen[0], target.rank, argv, tty=tty, terminal=terminal)
    return _several(api, chosen, argv, terminal=terminal)


def select(pods: Sequence[PodTarget], target: ExecTarget, *, job: str) -> Sequence[PodTarget]:
    """The pods that ``target`` means, by node.

    Raises:
        NotFoundError: no such rank or node.
        ConflictError: no pod of the job runs.
    """
    if not pods:
        raise ConflictError(f"cannot enter {job}: no pod of it runs", code="not-running", hint=f"gpuctl job {job}")
    ordered = sorted(pods, key=lambda each: (each.task or 0, each.node))
    if target.all:
        return ordered
    if target.rank is not None:
        found = [pod for pod in ordered if target.rank in pod.ranks]
        if not found:
            ranks = sorted(rank for pod in ordered for rank in pod.ranks)
            there = f"{ranks[0]}-{ranks[-1]}" if len(ranks) > 1 else ", ".join(map(str, ranks)) or "none"
            raise NotFoundError(f"no rank {target.rank} runs in {job}: ranks are {there}", code="rank-not-found", hint=f"gpuctl job {job}")
        return found[:1]
    node = target.node or 0
    found = [pod for pod in ordered if pod.node == node]
    if not found and target.node is None:
        return ordered[:1]
    if not found:
        raise NotFoundError(f"no node {node} runs in {job}: {len(ordered)} do", code="node-not-found", hint=f"gpuctl job {job}")
    return found[:1]


def session(
    api: Api, pod: PodTarget, argv: Sequence[str], *, rank: int | None = None, stdin: bool = False, tty: bool = False, token: str = ""
) -> RemoteCommand:
    """Start ``argv`` in the job's environment and directory of one pod."""
    term = os.environ.get("TERM", "") if tty else ""
    command = inpod.entering(pod, argv, rank=rank, token=token, term=term)
    return exec_(api, pod.name, command, namespace=pod.namespace, container=pod.container, stdin=stdin, tty=tty)


def _one(api: Api, pod: PodTarget, rank: int | None, argv: Sequence[str], *, tty: bool, terminal: Terminal) -> int:
    token = uuid.uuid4().hex
    stdin = terminal.stdin is not None
    with session(api, pod, argv, rank=rank, stdin=stdin, tty=tty, token=token) as running:

        def write(data: bytes, error: bool) -> None:
            terminal.write(data, error=error)

        def ended() -> None:
            running.close_stdin()

        if tty:
            with terminal.raw():
                running.resize(*terminal.size())
                with terminal.pumped(running.write, lambda: None, running.resize):
                    return _outcome(running, write)
        with _interrupts(lambda: _interrupt(api, pod, token)), terminal.pumped(running.write, ended if stdin else lambda: None):
            return _outcome(running, write)


def _several(api: Api, pods: Sequence[PodTarget], argv: Sequence[str], *, terminal: Terminal) -> int:
    tokens = {pod.name: uuid.uuid4().hex for pod in pods}
    lock = threading.Lock()

    def one(pod: PodTarget) -> int:
        label = f"[n{pod.node}] ".encode()
        rest = {False: b"", True: b""}

        def put(lines: list[bytes], error: bool) -> None:
            if lines:
                with lock:
                    terminal.write(b"".join(label + line + b"\n" for line in lines), error=error)

        def write(data: bytes, error: bool) -> None:
            *lines, rest[error] = (rest[error] + data).split(b"\n")
            put(lines, error)

        with session(api, pod, argv, token=tokens[pod.name]) as running:
            try:
                return _outcome(running, write)
            finally:
                for error, left in rest.items():
                    put([left] if left else [], error)

    def interrupt() -> None:
        for pod in pods:
            _interrupt(api, pod, tokens[pod.name])

    with _interrupts(interrupt), ThreadPoolExecutor(min(len(pods), AT_A_TIME)) as pool:
        outcomes = [pool.submit(one, pod) for pod in pods]
        failures: list[GpuctlError] = []
        codes = [0]
        for pod, outcome in zip(pods, outcomes, strict=True):
            try:
                codes.append(outcome.result())
            except GpuctlError as failure:
                terminal.write(f"[n{pod.node}] {failure.message}\n".encode(), error=True)
                failures.append(failure)
    if failures:
        raise failures[0]
    return max(codes)


def _outcome(running: RemoteCommand, write: Write) -> int:
    """Pass its output on until it ends."""
    quiet_since = time.monotonic()
    while True:
        output = running.read(PING_S)
        if output is not None:
            write(output.data, output.stream == "stderr")
            quiet_since = time.monotonic()
        elif running.exit_code is not None:
            return running.exit_code
        elif time.monotonic() - quiet_since >= PING_S:
            running.ping()
            quiet_since = time.monotonic()


def _interrupt(api: Api, pod: PodTarget, token: str) -> None:
    """SIGINT to what runs there; whoever cannot be reached any more needs none."""
    try:
        with exec_(api, pod.name, inpod.interrupting(token), namespace=pod.namespace, container=pod.container) as running:
            while running.read(5.0) is not None:
                pass
    except GpuctlError:
        pass


@contextmanager
def _interrupts(send: Callable[[], None]) -> Iterator[None]:
    """While inside, the first Ctrl-C calls ``send``, in a thread; the second interrupts us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def first(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before if callable(before) else signal.default_int_handler)
        threading.Thread(target=send, name="interrupt", daemon=True).start()

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
