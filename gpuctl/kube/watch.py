"""Watching a collection: every change once, without gaps, over server time-outs, restarts and forgotten versions.

The rule that makes it so: a watch goes on from the last resource version it saw, a bookmark's included. When the server no longer has
that version (410) the collection is listed anew and handed over whole, since what was deleted meanwhile can only be told by its absence.
"""

import dataclasses
import queue
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import msgspec

from gpuctl.kube.errors import ApiFailure, Gone, TooMany, Unavailable, Undecodable
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.paging import Listing, pages
from gpuctl.kube.refusals import of_status
from gpuctl.kube.resources import target
from gpuctl.model import decoding

if TYPE_CHECKING:
    from gpuctl.kube.transport import Transport

T = TypeVar("T")
SILENCE_S = 90.0
"""Silence after which the connection is taken for dead. A server that knows bookmarks sends one a minute."""
SERVER_ENDS_S = (240, 480)
"""We ask the server to end a watch after a random time in between, so that a thousand clients do not come back at once."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
POLL_S = 0.2
"""How soon ``stop`` is noticed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change(Generic[T]):
    """What happened.

    Attributes:
        kind: ``ADDED``, ``MODIFIED``, ``DELETED``; ``REPLACED``: forget everything, ``listing`` is the collection now.
        object: the object after the change (before it, when deleted); None with ``REPLACED``.
        listing: the whole collection, with ``REPLACED`` only.
    """

    kind: Literal["ADDED", "MODIFIED", "DELETED", "REPLACED"]
    object: T | None = None
    listing: Listing[T] | None = None


class _Line(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


@dataclasses.dataclass
class _Place:
    """Where the watch is: the last version seen, and how many times in a row it broke before anything came."""

    version: str
    failures: int = 0


def changes(
    transport: "Transport",
    path: str,
    item: type[T],
    *,
    resource_version: str,
    stop: Callable[[], bool],
    params: Mapping[str, Any] | None = None,
) -> Iterator[Change[T]]:
    """Changes after ``resource_version``, until ``stop`` says True (noticed within ``POLL_S``).

    With ``resource_version=""`` it begins with a list, handed over as ``REPLACED``.

    Raises:
        ApiFailure: a refusal that time does not heal (401, 403, 404, 422). What may heal is tried again for ever, with back-off.
    """
    place = _Place(resource_version)
    while not stop():
        try:
            if not place.version:
                listing = _listed(transport, path, item, params)
                place.version = listing.resource_version
                yield Change(kind="REPLACED", listing=listing)
            yield from _connection(transport, path, item, place, stop=stop, params=params)
        except Gone:
            transport.trace(f"watch {path}: the version is too old, listing again")
            place.version = ""
            # Once at once; a server that forgets what it listed a moment ago needs time.
            if place.failures:
                _rest(transport, place, stop)
            place.failures += 1
        except (Unavailable, TooMany, Undecodable) as error:
            place.failures += 1
            transport.trace(f"watch {path}: {error.cause or error.message}")
            _rest(transport, place, stop, least=error.retry_after or 0.0)


def _listed(transport: "Transport", path: str, item: type[T], params: Mapping[str, Any] | None) -> Listing[T]:
    items: list[T] = []
    version = ""
    for page in pages(transport, path, item, params=params, limit=500):
        if page.first:
            items.clear()
        items += page.items
        version = page.resource_version
    return Listing(items=items, resource_version=version)


def _connection(
    transport: "Transport", path: str, item: type[T], place: _Place, *, stop: Callable[[], bool], params: Mapping[str, Any] | None
) -> Iterator[Change[T]]:
    """The changes of one connection. Ends when the server ends it, or when ``stop`` says so."""
    asked = target("GET", path, watching=True)
    query: dict[str, str | int | bool | Sequence[str]] = {
        **(params or {}),
        "watch": True,
        "allowWatchBookmarks": True,
        "resourceVersion": place.version,
        "timeoutSeconds": random.randint(*SERVER_ENDS_S),
    }
    decode: Callable[[msgspec.Raw], T] = decoding.decoder(cast("Any", item)).decode
    began = transport.clock()
    came = False
    with transport.response("GET", path, params=query, accept="application/json", read_s=SILENCE_S, watching=True) as answer:
        for text in lines(transport.chunks(answer, asked), stop=stop, end=lambda: transport.cut(answer)):
            try:
                line = decoding.decode(text, _Line)
                if line.type == "ERROR":
                    raise of_status(transport.context, asked, bytes(line.object))
                version = decoding.decode(line.object, Object).metadata.resource_version
                found = None if line.type == "BOOKMARK" else decode(line.object)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise transport.unreadable(asked, str(error)) from None
            came, place.failures = True, 0
            place.version = version or place.version
            if found is not None and line.type in {"ADDED", "MODIFIED", "DELETED"}:
                yield Change(kind=line.type, object=found)  # type: ignore[arg-type]
    if not came and transport.clock() - began < 1.0 and not stop():
        place.failures += 1
        _rest(transport, place, stop)


def lines(chunks: Iterator[bytes], *, stop: Callable[[], bool], end: Callable[[], None]) -> Iterator[bytes]:
    """Whole lines of a stream, read by a thread of its own so that ``stop`` is seen during silence. ``end`` unblocks that thread.

    Raises:
        ApiFailure: what reading raised. A line that was cut off is dropped: its change comes again.
    """
    arrived: queue.SimpleQueue[bytes | ApiFailure | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for chunk in chunks:
                arrived.put(chunk)
            arrived.put(None)
        except ApiFailure as error:
            arrived.put(error)

    reader = threading.Thread(target=read, name="kube-watch", daemon=True)
    reader.start()
    rest = b""
    try:
        while not stop():
            try:
                got = arrived.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if got is None:
                return
            if isinstance(got, ApiFailure):
                raise got
            *whole, rest = (rest + got).split(b"\n")
            for each in whole:
                if each.strip():
                    yield each
    finally:
        end()
        reader.join(5.0)


def _rest(transport: "Transport", place: _Place, stop: Callable[[], bool], *, least: float = 0.0) -> None:
    wait = max(least, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(place.failures - 1, 10)) * random.uniform(0.5, 1.0))
    ends = transport.clock() + wait
    while not stop() and transport.clock() < ends:
        transport.sleep(min(POLL_S, max(0.0, ends - transport.clock())))
