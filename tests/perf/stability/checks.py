"""What must be true of lines that are followed for hours: nothing missing, nothing twice, nothing out of turn."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import msgspec

_MOST_FAULTS = 20
_TICK = re.compile(r"tick (\d+)")
_LABELLED = re.compile(r"\[([^]]+)\] tick (\d+)")


class Check(Protocol):
    """Is shown every line of one program, one by one."""

    faults: list[str]
    seen: int

    def line(self, text: str) -> None:
        """Look at one."""
        ...


class Ticking:
    """Every rank says every tick once, and in order."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.seen = 0
        self._spans: dict[int, range] = {}

    def tick(self, rank: int, tick: int) -> None:
        """A rank has said a tick."""
        self.seen += 1
        span = self._spans.get(rank, range(tick, tick))
        if tick != span.stop:
            self.fault(f"rank {rank}: tick {tick} where {span.stop} was due")
        self._spans[rank] = range(span.start, tick + 1)

    def fault(self, sentence: str) -> None:
        """Note what should not be."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(sentence)

    def ended(self, said: Mapping[int, range]) -> None:
        """Nothing follows: compare with what each rank really said."""
        for rank in sorted(said.keys() | self._spans.keys()):
            span, right = self._spans.get(rank, range(0)), said.get(rank, range(0))
            if (span.start, span.stop) != (right.start, right.stop):
                self.fault(f"rank {rank}: ticks {span.start} to {span.stop}, it said {right.start} to {right.stop}")


class JsonLines(Ticking):
    """``logs -f -o json``."""

    def line(self, text: str) -> None:
        """One line of one rank."""
        body = msgspec.json.decode(text)
        found = _TICK.fullmatch(body["text"])
        if found is None:
            self.fault(f"not a tick: {text.strip()}")
        else:
            self.tick(body["rank"], int(found[1]))


class FoldedLines(Ticking):
    """``logs -f``: lines that several ranks say are one.

    Args:
        ranks: how many there are.
    """

    def __init__(self, ranks: int) -> None:
        super().__init__()
        self._ranks = ranks

    def line(self, text: str) -> None:
        """One line of one rank or of several."""
        found = _LABELLED.fullmatch(text.rstrip("\n"))
        if found is None:
            self.fault(f"not a tick: {text.strip()}")
            return
        for rank in self._named(found[1]):
            self.tick(rank, int(found[2]))

    def _named(self, label: str) -> list[int]:
        if label.startswith("x"):
            return list(range(int(label[1:])))
        ranks: list[int] = []
        for part in label.split(","):
            first, _, last = part.partition("-")
            ranks += range(int(first), int(last or first) + 1)
        return ranks


class JobRows:
    """``jobs --watch -o json``: no document twice in a row, and every job that ended is told so."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.seen = 0
        self.states: dict[str, str] = {}
        self._last: dict[str, str] = {}

    def line(self, text: str) -> None:
        """A job that is new or not what it was."""
        self.seen += 1
        body = msgspec.json.decode(text)
        name, state = body["name"], body["state"]
        if self._last.get(name) == text:
            self.faults.append(f"{name}: the same document twice")
        if self.states.get(name) in {"succeeded", "failed"} and self.states[name] != state:
            self.faults.append(f"{name}: {state} after {self.states[name]}")
        self._last[name], self.states[name] = text, state

    def ended(self, expected: Mapping[str, str]) -> None:
        """Nothing follows: compare with how the jobs ended."""
        wrong = {name: self.states.get(name) for name, state in expected.items() if self.states.get(name) != state}
        self.faults += [f"{name}: last seen as {state}, it {expected[name]}" for name, state in wrong.items()]


class WatchedObjects:
    """A watch: every change of a counter once and in turn; what was not told one by one was told by a new list."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.seen = 0
        self.relisted = 0
        self.ever: set[str] = set()
        self._now: dict[str, int] = {}

    def line(self, text: str) -> None:
        """One change."""
        self.seen += 1
        body: dict[str, Any] = msgspec.json.decode(text)
        kind, items = body["kind"], body["items"]
        self.ever |= items.keys()
        if kind == "REPLACED":
            self.relisted += 1
            back = [name for name, count in items.items() if count < self._now.get(name, 0)]
            self.faults += [f"{name} went back" for name in back]
            self._now = items
            return
        for name, count in items.items():
            before = self._now.get(name)
            right = before is None if kind == "ADDED" else before is not None and (kind == "DELETED" or count == before + 1)
            if not right:
                self.faults.append(f"{kind} {name} {count} after {before}")
            self._now[name] = count
            if kind == "DELETED":
                del self._now[name]

    def ended(self, there: Mapping[str, int], *, passed: Collection[str]) -> None:
        """Nothing follows: compare with what is there, and with what was there for a while."""
        if self._now != there:
            self.faults.append(f"{self._now} was told, {dict(there)} is there")
        unseen = set(passed) - self.ever
        if len(unseen) > self.relisted:  # what came and went before a new list is in none
            self.faults.append(f"never told of {sorted(unseen)}")
