"""``gpuctl logs``: flags to a query, bytes to stdout, sentences to stderr."""

import signal
from typing import Any

import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.cli.follow import goes_on
from gpuctl.model.ask import LogQuery
from gpuctl.model.job import Exit, State
from gpuctl.model.reason import Reason
from tests.cli.recorder import RecordingPool, ago, make_job, reader_that_left


def asked(run: Any, *args: str) -> LogQuery:
    """The query that ``gpuctl logs ARGS`` hands to the pool."""
    pool = RecordingPool([make_job()], logs=[b"x\n"])
    outcome = run(pool, "logs", *args)
    assert outcome.code == 0, outcome.err
    found = pool.asked("logs")[0][1]
    assert isinstance(found, LogQuery)
    return found


def test_bytes_go_through_as_they_are(run: Any, tmp_path: Any) -> None:
    import io

    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    outcome = run(RecordingPool([make_job(state=State.SUCCEEDED)], logs=[b"one\n\xff\x00\xe2\x82\n", b"", b"two\n"]), "logs", out=out)
    assert (outcome.code, outcome.err) == (0, "")
    assert raw.getvalue() == b"one\n\xff\x00\xe2\x82\ntwo\n"


def test_flags(run: Any) -> None:
    query = asked(
        run, "train-k3f9", "--rank", "0,3-5", "--node", "1", "--attempt", "2", "--since", "10m", "--tail", "7", "--no-fold", "--timestamps"
    )
    assert query == LogQuery(ranks=frozenset({0, 3, 4, 5}), node=1, attempt=2, since=ago(minutes=10), tail=7, fold=False, timestamps=True)
    assert asked(run, "--task", "3", "--failed", "--prefix") == LogQuery(task=3, failed=True, prefix=True)
    assert asked(run, "--first-error", "--no-prefix") == LogQuery(first_error=True, prefix=False)
    assert asked(run, "-o", "json") == LogQuery(as_json=True)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--rank", "3-1"], "ranks and ranges such as 0,3-5"),
        (["--rank", "a"], "ranks and ranges such as 0,3-5"),
        (["-o", "jsn"], "did you mean json?"),
        (["--since", "x"], "--since"),
        (["--attempt", "0"], "--attempt"),
    ],
)
def test_bad_input(run: Any, args: list[str], expected: str) -> None:
    pool = RecordingPool([make_job()])
    outcome = run(pool, "logs", *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert expected in outcome.err
    assert pool.asked("logs") == []


def test_nothing_written_is_said_on_stderr(run: Any) -> None:
    reason = Reason(code="capacity", sentence="behind 2 jobs")
    queued = run(RecordingPool([make_job(state=State.QUEUED, reason=reason)]), "logs")
    assert (queued.code, queued.out) == (0, "")
    assert queued.err == "job/train-k3f9 is queued: behind 2 jobs; nothing was written yet\n"
    assert run(RecordingPool([make_job(state=State.SUCCEEDED)]), "logs").err == "job/train-k3f9 left no log\n"
    assert run(RecordingPool([make_job(state=State.SUCCEEDED)]), "logs", "--rank", "7").err == "job/train-k3f9 wrote no such lines\n"
    assert run(RecordingPool([make_job()]), "logs").err == "job/train-k3f9 wrote nothing yet\n"


def test_following_waits_for_the_start_and_says_why(run: Any) -> None:
    def waiting(sentence: str) -> Any:
        return make_job(state=State.QUEUED, reason=Reason(code="capacity", sentence=sentence))

    pool = RecordingPool(
        [waiting("behind 2 jobs")],
        changes={"train-k3f9": [waiting("behind 1 job"), make_job(), make_job(state=State.SUCCEEDED)]},
        logs=[b"hello\n"],
    )
    outcome = run(pool, "logs", "-f")
    assert (outcome.code, outcome.out) == (0, "hello\n")
    assert outcome.err == "job/train-k3f9 is queued: behind 2 jobs\njob/train-k3f9 is queued: behind 1 job\n"
    assert pool.asked("logs")[0][1].follow is True


def test_the_end_of_a_stream_is_not_the_end_of_a_job(run: Any) -> None:
    """The job is read again, and its own state is told; the exit code is that of reading."""
    failed = make_job(state=State.FAILED, exit=Exit(code=3))
    pool = RecordingPool([make_job()], changes={"train-k3f9": [failed]}, logs=[b"x\n"])
    outcome = run(pool, "logs", "-f")
    assert (outcome.code, outcome.out) == (0, "x\n")
    assert outcome.err == "job/train-k3f9 failed after 50m00s: exit code 3\nhint: gpuctl why train-k3f9\n"
    still = run(RecordingPool([make_job()], logs=[b"x\n"]), "logs", "-f")
    assert still.err == "job/train-k3f9 is running\n"


def test_errors_keep_their_codes(run: Any) -> None:
    assert run(RecordingPool(), "logs", "nope").code == 3
    away = run(RecordingPool([make_job()], errors={"job": UnavailableError("cluster res-a is away")}), "logs")
    assert (away.code, away.out) == (7, "")


def test_a_reader_that_leaves_is_no_error(run: Any) -> None:
    outcome = run(RecordingPool([make_job()], logs=[b"x\n"] * 3), "logs", "-f", out=reader_that_left())
    assert (outcome.code, outcome.err) == (141, "")


def test_ctrl_c_says_what_goes_on(run: Any) -> None:
    class Pool(RecordingPool):
        def logs(self, ref: Any, query: Any, *, stop: Any) -> Any:
            yield b"first\n"
            signal.raise_signal(signal.SIGINT)
            assert stop.wait(5.0)
            yield b"last\n"

    outcome = run(Pool([make_job()]), "logs", "-f")
    assert (outcome.code, outcome.out) == (130, "first\nlast\n")
    assert outcome.err == f"{goes_on('train-k3f9')}\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
