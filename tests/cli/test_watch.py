"""``--watch``: drawn in place on a terminal, appended when piped, ended by Ctrl-C or by the job's end."""

import json
import os
import signal
from typing import Any

import msgspec
import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.model.ask import JobQuery, Listing
from gpuctl.model.job import Job, State
from tests.cli.recorder import RecordingPool, make_job


class Changing(RecordingPool):
    """A pool whose list is another one each time it is read; after the last one comes Ctrl-C."""

    def __init__(self, *lists: "list[Job] | Exception") -> None:
        super().__init__()
        self._lists = list(lists)

    def jobs(self, query: JobQuery) -> Listing[Job]:
        now = self._lists.pop(0)
        if not self._lists:
            signal.raise_signal(signal.SIGINT)
        if isinstance(now, Exception):
            raise now
        return Listing(items=tuple(now))


A, B = make_job("a-1111"), make_job("b-2222", State.QUEUED)
A_DONE = msgspec.structs.replace(A, state=State.SUCCEEDED)
FAST = ("--watch", "--interval", "1s")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuctl.cli.interrupt.Interrupt.wait", lambda self, timeout=None: self.is_set())


def test_piped_only_what_changed_is_appended(run: Any) -> None:
    outcome = run(Changing([A, B], [A, B], [A_DONE, B], [A_DONE, B]), "jobs", *FAST)
    assert (outcome.code, outcome.err) == (130, "")
    assert [line.split()[:2] for line in outcome.out.splitlines()] == [
        ["NAME", "STATE"],
        ["a-1111", "running"],
        ["b-2222", "queued"],
        ["a-1111", "succeeded"],
    ]


def test_piped_documents_stand_alone(run: Any) -> None:
    outcome = run(Changing([A], [A, B], [A_DONE, B]), "jobs", *FAST, "-o", "json")
    documents = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(each["kind"], each["name"], each["state"]) for each in documents] == [
        ("Job", "a-1111", "running"),
        ("Job", "b-2222", "queued"),
        ("Job", "a-1111", "succeeded"),
    ]
    yaml = run(Changing([A], [A_DONE]), "jobs", *FAST, "-o", "yaml").out
    assert yaml.count("---\napiVersion: gpuctl.io/v1\nkind: Job\n") == 2
    assert run(Changing([A], [A, B]), "jobs", *FAST, "-o", "jsonpath=.items[*].name").out == "a-1111\nb-2222\n"
    assert run(Changing([A], [A, B]), "jobs", *FAST, "-o", "name").out == "job/a-1111\njob/b-2222\n"


def test_an_empty_list_gets_its_header_once_there_is_something(run: Any) -> None:
    outcome = run(Changing([], [], [A], [A_DONE]), "jobs", *FAST)
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["NAME", "a-1111", "a-1111"]
    assert len(outcome.err.splitlines()) == 1


def test_a_terminal_is_drawn_over_in_place(run: Any) -> None:
    outcome = run(Changing([A, B], [A_DONE]), "jobs", *FAST, tty=True)
    assert outcome.code == 130
    begin, first, second = outcome.out.split("\r")
    assert begin == "\x1b[?25l\x1b[?7l"  # no cursor, no wrapping while it is drawn
    assert first.count("\n") == first.count("\x1b[K") == 3
    assert first.endswith("\x1b[J")
    assert second.startswith("\x1b[3A")  # up over the three lines
    assert second.count("\n") == second.count("\x1b[K") == 2
    assert second.endswith("\x1b[J\x1b[?25h\x1b[?7h")
    assert "\x1b[2J" not in outcome.out  # what was on the screen stays


def test_a_terminal_that_is_too_low_says_what_it_leaves_out(run: Any) -> None:
    jobs = [make_job(f"j-{number:04}") for number in range(50)]
    outcome = run(Changing(jobs), "jobs", *FAST, tty=True)
    lines = outcome.out.split("\x1b[K")[1:]
    assert len(lines) == 23
    assert lines[-1].startswith("... 29 more lines\n")


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(run: Any) -> None:
    outcome = run(Changing([A], [A_DONE]), "jobs", *FAST, tty=True, env={"TERM": "dumb"})
    assert "\x1b" not in outcome.out
    assert len(outcome.out.splitlines()) == 3


def test_a_failure_of_reach_is_told_and_the_watch_goes_on(run: Any) -> None:
    away = UnavailableError("cluster res-a is away")
    outcome = run(Changing([A], away, [A_DONE]), "jobs", *FAST)
    assert outcome.code == 130
    assert outcome.err == "note: cluster res-a is away\n"
    assert outcome.out.splitlines()[-1].startswith("a-1111  succeeded")
    drawn = run(Changing([A], away, [A]), "jobs", *FAST, tty=True)
    assert "\x1b[Knote: cluster res-a is away\n" in drawn.out
    assert run(Changing(away), "jobs", *FAST).code == 7  # the first question must be answered


def test_the_page_of_a_job_ends_with_the_job(run: Any) -> None:
    pool = RecordingPool([A], changes={"a-1111": [A, A, A_DONE]})
    outcome = run(pool, "job", "a-1111", *FAST)
    assert outcome.code == 0
    assert [line for line in outcome.out.splitlines() if line.startswith("job/")] == ["job/a-1111  running", "job/a-1111  succeeded"]


@pytest.mark.parametrize("verb", ["nodes", "clusters", "top", "usage"])
def test_every_list_that_changes_can_be_watched(run: Any, verb: str) -> None:
    class Pool(RecordingPool):
        def _note(self, *call: Any) -> None:
            super()._note(*call)
            if len(self.calls) == 2:
                signal.raise_signal(signal.SIGINT)

    pool = Pool()
    assert run(pool, verb, *FAST).code == 130
    assert len(pool.calls) == 2


def test_the_interval_is_a_duration(run: Any) -> None:
    pool = RecordingPool([A])
    outcome = run(pool, "jobs", "--watch", "--interval", "2")
    assert outcome.code == 2
    assert "write 2m or 2s" in outcome.err
    assert pool.asked("jobs") == []


def test_a_reader_that_leaves_ends_the_watch_though_nothing_changes(run: Any) -> None:
    read, write = os.pipe()

    class Pool(RecordingPool):
        def jobs(self, query: JobQuery) -> Listing[Job]:
            if len(self.calls) == 1:
                os.close(read)
            assert len(self.calls) < 5
            return super().jobs(query)

    with open(write, "w", encoding="utf-8") as out:
        pool = Pool([A])
        assert run(pool, "jobs", *FAST, out=out).code == 141
    assert len(pool.calls) == 2
