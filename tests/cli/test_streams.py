"""``gpuctl exec``, ``cp`` and ``port-forward``: ways into a job."""

from typing import Any

import pytest

from gpuctl.base.errors import ConflictError
from gpuctl.model.ask import ExecTarget
from tests.cli.recorder import RecordingPool, make_job


def test_exec_hands_on_the_command_and_its_code(run: Any) -> None:
    pool = RecordingPool([make_job()], status=42)
    outcome = run(pool, "exec", "train-k3f9", "--rank", "3", "--", "ls", "-l", "--rank", "--", "-o")
    assert (outcome.code, outcome.out, outcome.err) == (42, "", "")
    assert pool.asked("exec") == [("train-k3f9", ExecTarget(rank=3), ("ls", "-l", "--rank", "--", "-o"), False)]


@pytest.mark.parametrize(("args", "target"), [([], ExecTarget()), (["--node", "1"], ExecTarget(node=1)), (["--all"], ExecTarget(all=True))])
def test_exec_targets(run: Any, args: list[str], target: ExecTarget) -> None:
    pool = RecordingPool([make_job()])
    assert run(pool, "exec", "-", *args, "--", "true", tty=True).code == 0
    assert pool.asked("exec") == [("-", target, ("true",), True)]


@pytest.mark.parametrize(
    "args", [["train-k3f9"], ["train-k3f9", "--rank", "0", "--all", "--", "ls"], ["train-k3f9", "--rank", "x", "--", "ls"], []]
)
def test_exec_refuses(run: Any, args: list[str]) -> None:
    pool = RecordingPool([make_job()])
    assert run(pool, "exec", *args).code == 2
    assert pool.calls == []


def test_exec_keeps_gpuctls_own_failures_apart(run: Any) -> None:
    ended = ConflictError("cannot run in train-k3f9: it has ended", code="job-ended")
    assert run(RecordingPool([make_job()], errors={"exec": ended}), "exec", "train-k3f9", "--", "ls").code == 6
    broken = run(RecordingPool([make_job()], errors={"exec": ValueError("what?")}), "exec", "train-k3f9", "--", "ls")
    assert broken.code == 125
    assert broken.err == "error[internal]: cannot run ls in train-k3f9: ValueError: what?\n"


def test_cp(run: Any) -> None:
    pool = RecordingPool([make_job()])
    outcome = run(pool, "cp", "train-k3f9:/out/a:b.pt", "here.pt")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "copied /out/a:b.pt to here.pt: 2Ki\n"
    run(pool, "cp", ":metrics.json")
    assert pool.asked("copy_out") == [("train-k3f9", "/out/a:b.pt", "here.pt"), (None, "metrics.json", ".")]


@pytest.mark.parametrize(("source", "hint"), [("model.pt", "gpuctl cp JOB:model.pt DEST"), ("job:", "gpuctl cp job:PATH DEST")])
def test_cp_needs_job_and_path(run: Any, source: str, hint: str) -> None:
    pool = RecordingPool([make_job()])
    outcome = run(pool, "cp", source, ".")
    assert outcome.code == 2
    assert f"hint: {hint}\n" in outcome.err
    assert pool.calls == []


@pytest.mark.parametrize(
    ("args", "asked", "address"),
    [
        (["train-k3f9", "6006"], ("train-k3f9", "6006", None), "127.0.0.1:40001"),
        (["train-k3f9", "8080:6006"], ("train-k3f9", "6006", 8080), "127.0.0.1:8080"),
        (["train-k3f9", "tensorboard"], ("train-k3f9", "tensorboard", None), "http://127.0.0.1:40001"),
        (["train-k3f9", "9000:dashboard"], ("train-k3f9", "dashboard", 9000), "http://127.0.0.1:9000"),
        (["6006"], (None, "6006", None), "127.0.0.1:40001"),
    ],
)
def test_port_forward(run: Any, args: list[str], asked: tuple[Any, ...], address: str) -> None:
    pool = RecordingPool([make_job()])
    outcome = run(pool, "port-forward", *args)
    assert pool.asked("forward") == [asked]
    assert outcome.out == f"{address}\n"
    service = "" if asked[1].isdigit() else f" ({asked[1]})"
    assert outcome.err == f"forwarding to port 6006{service} of train-k3f9; Ctrl-C closes it\nthe job has closed the port\n"
    assert outcome.code == 1  # it ended though nobody asked for it


@pytest.mark.parametrize("port", ["0", "65536", "http", "tensorbord", "x:80", ":80", "80:"])
def test_port_forward_refuses_what_is_no_port(run: Any, port: str) -> None:
    pool = RecordingPool([make_job()])
    outcome = run(pool, "port-forward", "train-k3f9", port)
    assert outcome.code == 2
    assert "PORT, LOCAL:PORT, or one of dashboard, tensorboard, jupyter" in outcome.err
    assert ("did you mean tensorboard?" in outcome.err) == (port == "tensorbord")
    assert pool.calls == []


def test_port_forward_ends_at_ctrl_c(run: Any) -> None:
    import signal

    class Pool(RecordingPool):
        def forward(self, ref: Any, *, remote: str, local_port: Any, stop: Any) -> Any:
            yield from super().forward(ref, remote=remote, local_port=local_port, stop=stop)
            signal.raise_signal(signal.SIGINT)
            assert stop.wait(5.0)

    outcome = run(Pool([make_job()]), "port-forward", "6006")
    assert (outcome.code, outcome.out) == (130, "127.0.0.1:40001\n")
    assert outcome.err.endswith("closed\n")
