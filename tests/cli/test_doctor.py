"""``gpuctl doctor``: what it sets up when asked, and what pools have to tell beside their answers."""

from typing import Any

import pytest

from gpuctl import wiring
from gpuctl.pool.checks import Checked
from tests.cli.recorder import RecordingPool, make_job


class Doctored(RecordingPool):
    """A pool without anything to check."""

    def checks(self) -> tuple[()]:
        return ()


@pytest.mark.parametrize("group", [None, "gpu"])
def test_the_lock_directory_is_set_up_when_asked(run: Any, monkeypatch: pytest.MonkeyPatch, group: str | None) -> None:
    asked: list[str | None] = []

    def set_up(wanted: str | None) -> wiring.LocksSetUp:
        asked.append(wanted)
        return wiring.LocksSetUp(done=True, text="/var/lock/gpuctl is set up", command=None)

    monkeypatch.setattr(wiring, "set_up_locks", set_up)
    outcome = run(Doctored(), "doctor", "--set-up-locks", *(["--group", group] if group else []))
    assert (outcome.code, asked) == (0, [group])
    assert outcome.err.startswith("/var/lock/gpuctl is set up\n")
    assert run(Doctored(), "doctor").code == 0
    assert asked == [group]


def test_who_may_not_set_it_up_is_told_the_command(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = wiring.LocksSetUp(done=False, text="/var/lock/gpuctl has to be made by root", command="sudo install -d /var/lock/gpuctl")
    monkeypatch.setattr(wiring, "set_up_locks", lambda group: refused)
    outcome = run(Doctored(), "doctor", "--set-up-locks")
    assert (outcome.code, outcome.out) == (5, "")
    assert "error[locks-not-set-up]" in outcome.err
    assert "hint: sudo install -d /var/lock/gpuctl" in outcome.err


def test_a_group_alone_means_nothing(run: Any) -> None:
    outcome = run(Doctored(), "doctor", "--group", "gpu")
    assert (outcome.code, outcome.out) == (2, "")
    assert "gpuctl doctor --set-up-locks --group gpu" in outcome.err


def test_lines_of_several_clusters_say_which_one(run: Any) -> None:
    class Several(RecordingPool):
        def checks(self) -> tuple[Checked, ...]:
            broken = {"name": "API server", "verdict": "problem", "text": "no kubeconfig", "fix": "export KUBECONFIG=FILE"}
            return tuple(Checked(cluster=name, **broken) for name in ("res-a", "res-a", "res-b"))

    outcome = run(Several(), "doctor", "-o", "columns=check,cluster,verdict")
    assert outcome.out.splitlines()[-1].split() == ["API", "server", "res-b", "problem"]
    outcome = run(Several(), "doctor")
    assert outcome.out.startswith("CHECK       CLUSTER  VERDICT  FOUND\n")
    assert outcome.err.endswith("  res-a: API server: export KUBECONFIG=FILE\n  res-b: API server: export KUBECONFIG=FILE\n")


class Noting(RecordingPool):
    """A pool that has something to tell."""

    def notes(self) -> tuple[str, ...]:
        return ("the job store was damaged",)


def test_what_a_pool_has_to_tell_goes_to_stderr_whatever_was_asked(run: Any) -> None:
    assert run(Noting([make_job()]), "jobs", "-o", "name").err.endswith("note: the job store was damaged\n")
    assert run(Noting(), "job", "nope").err.endswith("note: the job store was damaged\n")
    quiet = run(Noting([make_job()]), "jobs", "-q")
    assert (quiet.code, quiet.err) == (0, "")
