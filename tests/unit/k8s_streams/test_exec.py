"""Programs in containers: the job's environment and directory, its streams, its status, our terminal."""

import os
import pty
import signal
import termios
import threading
import time
from pathlib import Path

import pytest

from gpuctl.base.errors import ConflictError, NotFoundError, UnavailableError
from gpuctl.clusters.kubernetes.streams.exec import run, select, session
from gpuctl.clusters.kubernetes.streams.terminal import Terminal
from gpuctl.kube.api import Api
from gpuctl.model.ask import ExecTarget
from tests.unit.k8s_streams.container import NOWHERE, Containers, pod

GANG = [pod("train-0", ranks=(0, 1)), pod("train-1", node=1, ranks=(2, 3))]


class Streams:
    """Pipes in the place of our own stdin, stdout and stderr."""

    def __init__(self, typed: bytes = b"") -> None:
        self._ends = [os.pipe() for _ in range(3)]
        (stdin, feed), (self._out, out), (self._err, err) = self._ends
        os.write(feed, typed)
        os.close(feed)
        self.terminal = Terminal(stdin, out, err)

    def told(self) -> tuple[bytes, bytes]:
        """What came on stdout and stderr; call it once."""
        assert self.terminal.stdin is not None
        for fd in (self.terminal.stdin, self.terminal.stdout, self.terminal.stderr):
            os.close(fd)
        found = []
        for fd in (self._out, self._err):
            with open(fd, "rb") as file:
                found.append(file.read())
        return found[0], found[1]


def ran(target: ExecTarget, argv: list[str], typed: bytes = b"") -> tuple[int, bytes, bytes]:
    streams = Streams(typed)
    code = run(NOWHERE, GANG, target, argv, job="train", tty=False, terminal=streams.terminal)
    return code, *streams.told()


def test_streams_are_apart_and_the_status_is_the_programs(containers: Containers) -> None:
    script = "cat; echo out; echo err >&2; exit 7"
    assert ran(ExecTarget(), ["sh", "-c", script], b"typed\n") == (7, b"typed\nout\n", b"err\n")
    assert ran(ExecTarget(), ["sh", "-c", "kill -9 $$"])[0] == 137
    assert ran(ExecTarget(), ["no-such-program"])[0] == 127


def test_stdin_of_any_size_arrives_whole(containers: Containers, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    (tmp_path / "in").write_bytes(data)
    streams = Streams()
    with open(tmp_path / "in", "rb") as file:
        terminal = Terminal(file.fileno(), streams.terminal.stdout, streams.terminal.stderr)
        assert run(NOWHERE, GANG, ExecTarget(), ["sh", "-c", "cat >copied"], job="train", tty=False, terminal=terminal) == 0
    assert (containers.work / "copied").read_bytes() == data
    streams.told()


def test_a_rank_has_its_own_variables_and_directory(containers: Containers, tmp_path: Path) -> None:
    there = tmp_path / "a directory"
    there.mkdir()
    text = "two\nlines, 'quotes' \"and\" $more \\ end"
    containers.process(7, tmp_path, GPUCTL_JOB="train", GPUCTL_POD_ROLE="node", RANK="3", X="the entry's")
    containers.process(8, tmp_path, GPUCTL_JOB="train", RANK="2", X="two")
    containers.process(9, there, GPUCTL_JOB="train", RANK="3", X=text, **{"BASH_FUNC_f%%": "() { :; }", "UID": "5", "0bad": "x"})
    code, out, err = ran(ExecTarget(rank=3), ["sh", "-c", 'pwd; printf "%s" "$X"; printf "|$RANK|$DECLARED|${GPUCTL_POD_ROLE-none}"'])
    assert (code, err) == (0, b"")
    assert out.decode() == f"{there}\n{text}|3|yes|none"
    assert containers.asked[0][0] == "train-1"


def test_a_node_has_its_programs_variables_without_a_ranks(containers: Containers, tmp_path: Path) -> None:
    containers.process(11, tmp_path, GPUCTL_JOB="train", RANK="0", X="rank")
    containers.process(12, containers.work, GPUCTL_JOB="train", X="node")
    containers.process(13, tmp_path, OTHER="no job of ours")
    assert ran(ExecTarget(node=0), ["sh", "-c", 'pwd; echo "$X ${RANK-none}"'])[1].decode() == f"{containers.work}\nnode none\n"


def test_a_rank_that_does_not_run_now_is_still_told_who_it_is(containers: Containers, tmp_path: Path) -> None:
    containers.process(12, tmp_path, GPUCTL_JOB="train", X="node")
    assert ran(ExecTarget(rank=3), ["sh", "-c", 'echo "$X $RANK $LOCAL_RANK"'])[1] == b"node 3 1\n"


def test_without_processes_of_the_job_there_is_what_was_declared(containers: Containers) -> None:
    assert ran(ExecTarget(), ["sh", "-c", 'echo "$DECLARED ${GPUCTL_POD_ROLE-none}"'])[1] == b"yes none\n"


def test_arguments_are_passed_as_they_are(containers: Containers) -> None:
    words = ["", " ", "*", "$HOME", "a\nb", "-n", "--", "'", '"', "\\"]
    assert ran(ExecTarget(), ["printf", "<%s>", *words])[1].decode() == "".join(f"<{word}>" for word in words)


def test_all_nodes_at_once_with_their_names_and_the_highest_status(containers: Containers) -> None:
    script = 'echo one; printf two; echo "node ${GPUCTL_EXEC:+marked}" >&2; exit STATUS'
    statuses = iter("34")
    containers.change = lambda argv: [word.replace("STATUS", next(statuses)) if "STATUS" in word else word for word in argv]
    code, out, err = ran(ExecTarget(all=True), ["sh", "-c", script], b"not for them")
    assert code == 4
    assert sorted(out.splitlines()) == [b"[n0] one", b"[n0] two", b"[n1] one", b"[n1] two"]
    assert sorted(err.splitlines()) == [b"[n0] node marked", b"[n1] node marked"]
    assert not any(options["stdin"] for _, _, options in containers.asked)


def test_one_node_that_cannot_be_reached_is_told_after_the_others(containers: Containers, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(api: Api, name: str, *args: object, **more: object) -> object:
        if name == "train-1":
            raise UnavailableError("cannot reach train-1")
        return containers.start(api, name, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("gpuctl.clusters.kubernetes.streams.exec.exec_", start)
    streams = Streams()
    with pytest.raises(UnavailableError, match="train-1"):
        run(NOWHERE, GANG, ExecTarget(all=True), ["echo", "fine"], job="train", tty=False, terminal=streams.terminal)
    assert streams.told() == (b"[n0] fine\n", b"[n1] cannot reach train-1\n")


def test_who_is_meant() -> None:
    assert select(GANG, ExecTarget(), job="train") == GANG[:1]
    assert select(GANG, ExecTarget(rank=2), job="train") == GANG[1:]
    assert select(GANG, ExecTarget(node=1), job="train") == GANG[1:]
    assert list(select(GANG[::-1], ExecTarget(all=True), job="train")) == GANG
    with pytest.raises(NotFoundError, match="ranks are 0-3") as rank:
        select(GANG, ExecTarget(rank=9), job="train")
    assert rank.value.code == "rank-not-found"
    with pytest.raises(NotFoundError, match="2 do") as node:
        select(GANG, ExecTarget(node=5), job="train")
    assert node.value.code == "node-not-found"
    with pytest.raises(ConflictError) as none:
        select([], ExecTarget(), job="train")
    assert none.value.code == "not-running"


def test_ctrl_c_reaches_the_program_first(containers: Containers) -> None:
    """The marked process gets SIGINT; we wait for what it makes of it."""
    script = "trap 'echo caught; exit 5' INT; : >ready; while :; do sleep 0.05; done"

    def press() -> None:
        while not (containers.work / "ready").exists():
            time.sleep(0.01)
        child = containers.sessions[0]._child.pid
        containers.process(child, containers.work, GPUCTL_EXEC=containers.asked[0][1][6])
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    before = signal.getsignal(signal.SIGINT)
    code, out, _ = ran(ExecTarget(), ["sh", "-c", script])
    assert (code, out) == (5, b"caught\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_terminal_is_raw_while_the_program_has_it_and_as_before_afterwards(
    containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-direct")
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (33, 101)) if hasattr(termios, "tcsetwinsize") else None
    before = termios.tcgetattr(inner)
    seen: list[bool] = []

    def typed() -> None:
        while not containers.sessions:
            time.sleep(0.01)
        time.sleep(0.1)
        seen.append(bool(termios.tcgetattr(inner)[3] & termios.ICANON))
        os.kill(os.getpid(), signal.SIGWINCH)
        time.sleep(0.1)
        os.write(outer, b"hello\r")

    thread = threading.Thread(target=typed)
    thread.start()
    script = 'head -c 6 | od -c -A n; echo "$TERM"'
    code = run(NOWHERE, GANG, ExecTarget(), ["sh", "-c", script], job="train", tty=True, terminal=Terminal(inner, inner, inner))
    thread.join()
    assert code == 0
    assert seen == [False]
    assert termios.tcgetattr(inner) == before
    out = os.read(outer, 1000)
    assert b"h   e   l   l   o  \\r" in out
    assert b"xterm-direct" in out
    assert containers.asked[0][2]["tty"] is True
    assert len(containers.sessions[0].sizes) == 2
    os.close(outer)
    os.close(inner)


def test_a_terminal_comes_back_also_when_the_session_breaks(containers: Containers, monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = pty.openpty()
    before = termios.tcgetattr(inner)

    def broken(*_: object) -> None:
        raise UnavailableError("the session was lost")

    monkeypatch.setattr("tests.unit.k8s_streams.container.Session.read", broken)
    with pytest.raises(UnavailableError):
        run(NOWHERE, GANG, ExecTarget(), ["true"], job="train", tty=True, terminal=Terminal(inner, inner, inner))
    assert termios.tcgetattr(inner) == before
    os.close(outer)
    os.close(inner)


def test_a_session_says_which_container(containers: Containers) -> None:
    with session(NOWHERE, GANG[1], ["true"]) as running:
        assert running.read(5.0) is None
        assert running.exit_code == 0
    name, _, options = containers.asked[0]
    assert (name, options["namespace"], options["container"]) == ("train-1", "team-a", "main")
