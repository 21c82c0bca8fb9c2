"""One container's log over the wire: one request, and what came of it."""

import dataclasses
from collections.abc import Callable, Generator
from typing import TypeVar

from gpuctl.clusters.kubernetes.streams import records
from gpuctl.clusters.kubernetes.streams.records import INSTANT, Marking
from gpuctl.clusters.kubernetes.streams.resume import Resume
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api
from gpuctl.kube.chunks import Chunks
from gpuctl.kube.errors import ApiFailure, Invalid

T = TypeVar("T")
Flow = Generator[list[bytes], None, T]
"""Marked records as they are read, empty lists where it may be left to another thread to go on; at the end what came of it."""
_WORTH = 1 << 16
"""Bytes that are worth being looked at, when nobody waits for each line."""
_NOT_YET = ("is waiting to start", "does not have a host assigned", "is not available", "PodInitializing")
_NO_PREVIOUS = "previous terminated container"


@dataclasses.dataclass(kw_only=True)
class Chapter:
    """One container of a pod, and how far it was read.

    Attributes:
        rest: bytes behind the last newline when the last answer was complete.
        restarts: how often it had been started again when it was read; None before the first look.
        complete: whether the last answer was read to its end.
        lines: how many lines the last answer had, seen before or not.
    """

    container: str
    marking: Marking
    resume: Resume = dataclasses.field(default_factory=Resume)
    rest: bytes = b""
    restarts: int | None = None
    complete: bool = False
    lines: int = 0
    told: set[bytes] = dataclasses.field(default_factory=set)

    @property
    def at(self) -> bytes:
        """The instant at which a note stands in it: that of its last line."""
        return self.marking.last or records.now()


class Fetch:
    """Reads chapters of one pod.

    Args:
        since: an instant in the header's form; what is older is left out.
        silence_s: seconds without a byte after which a connection counts as dead.
        idle: called before each wait for bytes and, with False, after it.
        closing: whether nobody wants any more.
    """

    def __init__(
        self,
        api: Api,
        target: PodTarget,
        *,
        since: str | None,
        silence_s: float,
        idle: Callable[[bool], None],
        closing: Callable[[], bool],
    ) -> None:
        self._api = api
        self._target = target
        self._since = since.encode() if since is not None else None
        self._silence_s = silence_s
        self._idle = idle
        self._closing = closing
        self._chunks: Chunks | None = None

    def ready(self) -> bool:
        """Whether bytes have come, so that what is read next is not waited for."""
        return self._chunks is not None and self._chunks.ready()

    def read(self, chapter: Chapter, *, follow: bool = False, previous: bool = False, tail: int | None = None) -> Flow[ApiFailure | None]:
        """Read what is new, from where reading ended before. The failure that ended it, if it did not end by itself.

        Args:
            chapter: what to read; it remembers how far.
            follow: stay until the container ends or the connection does.
            previous: read the container that was there before a restart.
            tail: of what is there only the last so many lines of the container, whichever ranks' they are.
        """
        chapter.resume.begin()
        chapter.rest, chapter.complete, chapter.lines = b"", False, 0
        params: dict[str, str | int | bool] = {"container": chapter.container, "timestamps": True}
        if follow:
            params["follow"] = True
        if previous:
            params["previous"] = True
        if tail is not None:
            params["tailLines"] = tail
        since = chapter.resume.since or (self._since[:19].decode() + "Z" if self._since is not None else None)
        if since is not None:
            params["sinceTime"] = since
        try:
            with self._api.stream(f"{self._target.path}/log", params=params, read_s=self._silence_s) as chunks:
                self._chunks = chunks
                yield from self._whole(chapter, chunks, worth=0 if follow else _WORTH)
        except ApiFailure as failure:
            return failure
        finally:
            self._chunks = None
        return None

    def finish(self, chapter: Chapter) -> list[bytes]:
        """The container has ended and all of it was read: the line that has no newline."""
        if not chapter.rest:
            return []
        lines, _ = records.canonical([chapter.rest])
        chapter.rest = b""
        return chapter.marking.part(lines[0], since=self._since) if lines else []

    def note(self, chapter: Chapter, text: str) -> list[bytes]:
        """Something of our own, in the log of the agent or, where that is not read, of the first that is."""
        return [chapter.marking.note(text, chapter.at)]

    def _whole(self, chapter: Chapter, chunks: Chunks, *, worth: int) -> Flow[None]:
        pieces: list[bytes] = []
        size = 0
        self._idle(True)
        try:
            for chunk in chunks:
                self._idle(False)
                if self._closing():
                    return
                pieces.append(chunk)
                size += len(chunk)
                if size > worth and b"\n" in chunk:
                    size = 0
                    yield self._full(chapter, pieces)
                elif not chunks.ready():
                    yield []
                self._idle(True)
        except ApiFailure:
            yield self._full(chapter, pieces)
            raise
        self._idle(False)
        yield self._full(chapter, pieces)
        (rest,) = pieces
        if rest and records.canonical([rest])[1]:
            yield self._strange(chapter, [rest])
        else:
            chapter.rest = rest
        yield self._new(chapter, chapter.resume.end())
        chapter.complete = True

    def _full(self, chapter: Chapter, pieces: list[bytes]) -> list[bytes]:
        """The records of the full lines; what is left of the last one stays in ``pieces``, alone."""
        lines = b"".join(pieces).split(b"\n")
        pieces[:] = [lines.pop()]
        return self._lines(chapter, lines) if lines else []

    def _lines(self, chapter: Chapter, lines: list[bytes]) -> list[bytes]:
        chapter.lines += len(lines)
        lines, strange = records.canonical(lines)
        found = self._new(chapter, chapter.resume.fresh(lines)) if lines else []
        return found + self._strange(chapter, strange) if strange else found

    def _new(self, chapter: Chapter, lines: list[bytes]) -> list[bytes]:
        if not lines:
            return []
        notes: list[bytes] = []
        if chapter.resume.gap:
            chapter.resume.gap = False
            upto = lines[0][:INSTANT].decode()
            text = f"lines between {chapter.at.decode()} and {upto} may be missing: the node rotated the log of {self._target.place}"
            notes.append(chapter.marking.note(text, max(chapter.marking.last, lines[0][:INSTANT])))
        found = chapter.marking.records(lines, since=self._since)
        return notes + found if notes else found

    def _strange(self, chapter: Chapter, lines: list[bytes]) -> list[bytes]:
        notes: list[bytes] = []
        for line in lines:
            if line not in chapter.told:
                chapter.told.add(line)
                notes += self.note(chapter, f"the node of {self._target.place} says: {line.decode('utf-8', 'replace')}")
        return notes


def not_started(failure: ApiFailure) -> bool:
    """Whether a refusal only means that the container has not said anything yet."""
    return isinstance(failure, Invalid) and any(words in (failure.cause or "") for words in _NOT_YET)


def no_previous(failure: ApiFailure) -> bool:
    """Whether a refusal means that there is no earlier container."""
    return isinstance(failure, Invalid) and _NO_PREVIOUS in (failure.cause or "")
