"""``gpuctl shell``: an allocation that ends with its shell."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from gpuctl.cli.cmd import shell
from gpuctl.model.ask import ExecTarget
from gpuctl.model.job import State
from tests.cli.quick import quick_pool


def test_the_shell_runs_inside_and_its_code_is_ours(run: Any) -> None:
    pool, cluster = quick_pool(stays=State.RUNNING, status=7)
    outcome = run(pool, "shell", "-j", "1x2", "--time", "2h", "--request-id", "r1", env={"SHELL": "/bin/zsh"}, tty=True)
    assert (outcome.code, outcome.out) == (7, "")
    assert "in job/shell-bn9w, ends by itself in 2h00m; exit gives it back\n" in outcome.err
    ((target, argv, tty),) = cluster.executed
    assert (target, argv[-1], tty) == (ExecTarget(node=0), "/bin/zsh", True)
    (submission,) = cluster.submissions.values()
    assert (submission.spec.gpus, submission.spec.time, submission.base_name) == (2, "2h", "shell")
    assert next(iter(cluster.jobs_by_id.values())).final


def test_a_command_in_place_of_the_shell(run: Any) -> None:
    pool, cluster = quick_pool(stays=State.RUNNING)
    assert run(pool, "shell", "--name", "mine", "--", "python", "-i").code == 0
    ((_, argv, tty),) = cluster.executed
    assert (argv[-2:], tty) == (("python", "-i"), False)
    assert next(iter(cluster.submissions.values())).base_name == "mine"


def test_bash_names_the_job_in_its_prompt(run: Any) -> None:
    pool, cluster = quick_pool(stays=State.RUNNING)
    assert run(pool, "shell", "--request-id", "r1", env={"SHELL": "/bin/bash"}).code == 0
    assert 'PROMPT_COMMAND=PS1="(shell-bn9w) $PS1"; unset PROMPT_COMMAND' in cluster.executed[0][1]


def test_a_shell_that_does_not_get_its_turn_gives_up_its_place(run: Any) -> None:
    pool, cluster = quick_pool(stays=State.QUEUED)
    outcome = run(pool, "shell", "--timeout", "1s")
    assert (outcome.code, cluster.executed) == (124, [])
    assert [job.state for job in cluster.jobs_by_id.values()] == [State.CANCELLED]


def test_wrong_input(run: Any) -> None:
    pool, cluster = quick_pool()
    outcome = run(pool, "shell", "-j", "0x1", "--array", "0-3", "python")
    assert (outcome.code, cluster.submissions) == (2, {})
    assert "-j: a job has at least one node" in outcome.err
    assert "--array: is a flag of gpuctl submit and has no meaning here" in outcome.err
    assert "allowed: -- python to run it" in outcome.err


def holder(ticket: Path, patience: int) -> subprocess.Popen[bytes]:
    """The program that holds the devices, started as a job would."""
    return subprocess.Popen(["/bin/sh", "-c", shell._HOLDER, "gpuctl-shell", str(ticket), str(patience)], start_new_session=True)


def test_the_holder_ends_when_the_shell_is_killed(tmp_path: Path) -> None:
    ticket = tmp_path / "ticket"
    holds = holder(ticket, 20)
    inside = subprocess.Popen(["/bin/sh", "-c", shell._BEGIN, "gpuctl-shell", str(ticket), "sleep", "60"])
    try:
        deadline = time.monotonic() + 10
        while not ticket.exists() or not ticket.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert int(ticket.read_text()) == inside.pid
        assert ticket.stat().st_mode & 0o077 == 0
        assert holds.poll() is None
        inside.send_signal(signal.SIGKILL)
        inside.wait()
        assert holds.wait(timeout=10) == 0
        assert not ticket.exists()
    finally:
        inside.kill()
        os.killpg(holds.pid, signal.SIGKILL) if holds.poll() is None else None
        holds.wait()


def test_the_holder_does_not_wait_for_ever_for_a_shell(tmp_path: Path) -> None:
    assert holder(tmp_path / "ticket", 1).wait(timeout=10) == 0


def test_a_ticket_that_exists_is_not_followed(tmp_path: Path) -> None:
    ticket = tmp_path / "ticket"
    ticket.symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_text("precious")
    done = subprocess.run(["/bin/sh", "-c", shell._BEGIN, "gpuctl-shell", str(ticket), "true"], capture_output=True)
    assert done.returncode != 0
    assert (tmp_path / "victim").read_text() == "precious"
