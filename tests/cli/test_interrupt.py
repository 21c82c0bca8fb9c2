"""Ctrl-C while something waits."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gpuctl.cli.interrupt import Interrupt
from gpuctl.cli.session import from_process


def told(capfd: pytest.CaptureFixture[str]) -> str:
    """What went to stderr."""
    return capfd.readouterr().err


def test_the_first_wakes_the_wait_and_says_the_sentence_once(capfd: Any) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt(from_process(), sentence="job/x goes on") as stop:
        threading.Timer(0.1, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)).start()
        start = time.monotonic()
        assert stop.wait(10.0)
        assert time.monotonic() - start < 5.0
        assert stop.is_set()
        assert stop.wait(10.0)  # does not sleep again
        assert stop.code == 130
    assert told(capfd) == "job/x goes on\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_leaves_at_once() -> None:
    left: list[int] = []
    with Interrupt(from_process(), leave=left.append) as stop:
        signal.raise_signal(signal.SIGINT)
        assert left == []
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
    assert left == [130]


def test_the_sentence_may_be_made_up_when_it_is_needed(capfd: Any) -> None:
    left = ["a", "b"]
    with Interrupt(from_process(), sentence=lambda: ", ".join(left)):
        left.remove("a")
        signal.raise_signal(signal.SIGINT)
    assert told(capfd) == "b\n"


def test_it_is_a_stop_for_other_threads_too() -> None:
    woken: list[bool] = []
    with Interrupt(from_process()) as stop:
        threads = [threading.Thread(target=lambda: woken.append(stop.wait(10.0))) for _ in range(3)]
        for thread in threads:
            thread.start()
        stop.set()
        for thread in threads:
            thread.join(5.0)
    assert woken == [True] * 3
    assert not Interrupt(from_process()).wait(0.01)


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with Interrupt(from_process()):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
