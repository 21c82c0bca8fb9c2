"""The moving line of a wait, and the questions before something ends: what reaches which terminal."""

import io
import time
from typing import Any

import pytest

from gpuctl.base.errors import UsageError
from gpuctl.cli.session import Session
from gpuctl.cli.show import prompt
from gpuctl.cli.show.progress import Progress


def terminal(*, tty: bool = True, encoding: str = "utf-8", **facts: Any) -> Session:
    """A session with a stderr in memory."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", write_through=True)
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    settings: dict[str, Any] = {"env": {}, "stdin": io.StringIO(), "err_tty": tty, "stdin_tty": tty, "cwd": "/", **facts}
    return Session(out=out, err=stream, **settings)


def said(stream: Any) -> str:
    """What was written to a stream of :func:`terminal`."""
    return stream.buffer.getvalue().decode()  # type: ignore[no-any-return]


def wait_for(session: Session, text: str) -> None:
    """Wait until the moving line says so."""
    end = time.monotonic() + 5.0
    while text not in said(session.err):
        assert time.monotonic() < end, said(session.err)
        time.sleep(0.01)


def test_a_short_wait_shows_nothing() -> None:
    session = terminal()
    with Progress(session, "copying"):
        pass
    assert said(session.err) == ""


def test_a_longer_one_moves_and_leaves_nothing() -> None:
    session = terminal()
    with Progress(session, "copying") as progress:
        wait_for(session, "⠋ copying (0s)")
        wait_for(session, "⠙ copying (0s)")
        progress.update("nearly there")
        wait_for(session, "nearly there")
    assert said(session.err).endswith("\r\x1b[2K")
    assert "\n" not in said(session.err)


def test_lines_that_stay_come_above_it() -> None:
    session = terminal()
    with Progress(session, "waiting") as progress:
        wait_for(session, "waiting")
        progress.say("one ended")
        progress.write("job/one\n")
        assert "\r\x1b[2Kone ended\n" in said(session.err)
        assert said(session.out) == "job/one\n"


def test_it_fits_a_narrow_terminal() -> None:
    session = terminal(width=30)
    with Progress(session, "w" * 100):
        wait_for(session, "w…")
    drawn = said(session.err).split("\r\x1b[2K")[1]
    assert len(drawn) == 29


def test_a_terminal_without_unicode() -> None:
    session = terminal(encoding="ascii")
    with Progress(session, "copying"):
        wait_for(session, "| copying (0s)")


@pytest.mark.parametrize("facts", [{"tty": False}, {"env": {"TERM": "dumb"}}])
def test_where_nothing_can_move_each_sentence_is_a_line(facts: dict[str, Any]) -> None:
    session = terminal(**facts)
    with Progress(session, "first") as progress:
        progress.update("second")
        progress.update("second")
        time.sleep(0.15)
    assert said(session.err) == "first\nsecond\n"


@pytest.mark.parametrize("tty", [True, False])
def test_quiet_is_quiet(tty: bool) -> None:
    session = terminal(tty=tty, verbosity=-1)
    with Progress(session, "first") as progress:
        progress.update("second")
        time.sleep(0.15)
    assert said(session.err) == ""


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_only_yes_is_yes(answer: str, agreed: bool) -> None:
    session = terminal(stdin=io.StringIO(answer))
    assert prompt.agree(session, "Cancel 12 jobs?", things=[f"job/{number}" for number in range(12)], yes=False) is agreed
    assert said(session.err).splitlines()[9:11] == ["  job/9", "  and 2 more"]
    assert said(session.err).endswith("\n" if answer == "" else "[y/N] ")  # after Ctrl-D the next line begins at the left


def test_nobody_is_asked_where_nobody_sits() -> None:
    for facts in ({"stdin_tty": False}, {"err_tty": False}):
        session = terminal(stdin=io.StringIO("y\n"), **facts)
        with pytest.raises(UsageError) as caught:
            prompt.agree(session, "Cancel 2 jobs?", things=["job/a", "job/b"], yes=False)
        assert (caught.value.code, caught.value.cause) == ("needs-confirmation", "job/a, job/b")
        assert prompt.agree(session, "Cancel 2 jobs?", yes=True)
        assert said(session.err) == ""
