"""A property that is worked out once for each object, and waits for no other object."""

import threading

import pytest

from gpuctl.base.once import once


class Cluster:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = threading.Semaphore(0)

    @once
    def version(self) -> int:
        """A number that is another one each time it is asked for."""
        self.asked.release()
        assert self.answers.wait(30)
        return len(vars(self))


def test_one_that_does_not_answer_holds_up_no_other() -> None:
    silent, quick = Cluster(), Cluster()
    quick.answers.set()
    waiting = threading.Thread(target=lambda: silent.version)
    waiting.start()
    assert silent.asked.acquire(timeout=30)
    answered = threading.Thread(target=lambda: quick.version)
    answered.start()
    answered.join(20)
    assert not answered.is_alive()
    silent.answers.set()
    waiting.join(30)


def test_whoever_comes_meanwhile_waits_for_the_one_answer() -> None:
    cluster = Cluster()
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(cluster.version)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert cluster.asked.acquire(timeout=30)
    cluster.answers.set()
    for thread in threads:
        thread.join(30)
    assert len(got) == 3
    assert len(set(got)) == 1
    assert not cluster.asked.acquire(blocking=False)


def test_taken_out_it_is_asked_for_again_and_an_error_is_not_kept() -> None:
    class Failing:
        calls = 0

        @once
        def value(self) -> int:
            """Fails the first time."""
            self.calls += 1
            if self.calls == 1:
                raise LookupError
            return self.calls

    failing = Failing()
    with pytest.raises(LookupError):
        _ = failing.value
    assert (failing.value, failing.value) == (2, 2)
    del failing.__dict__["value"]
    assert failing.value == 3
    assert isinstance(Failing.value, once)
