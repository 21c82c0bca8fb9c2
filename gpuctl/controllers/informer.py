"""A collection of a cluster kept in memory: listed once, then followed by a watch in a thread of its own."""

import threading
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from gpuctl.base.errors import GpuctlError
from gpuctl.kube.api import Api
from gpuctl.kube.watch import Change

REFUSED_WAIT_S = 5.0
"""Seconds until a collection that may not be read, or is not served, is tried again: rights and definitions may come later."""


class Placed(Protocol):
    """Metadata."""

    @property
    def name(self) -> str:
        """Of the object."""
        ...

    @property
    def namespace(self) -> str:
        """Of the object, empty where there is none."""
        ...


class Named(Protocol):
    """Anything with metadata."""

    @property
    def metadata(self) -> Placed:
        """Name and namespace."""
        ...


T = TypeVar("T", bound=Named)


class Informer(Generic[T]):
    """What a collection holds now, as far as this process has heard.

    What it says may be older than the cluster by a moment, or by as long as the API server is away: whoever writes must guard the write.

    Args:
        api: the cluster.
        path: of the collection.
        item: the type of its objects.
        changed: called after every change.
        params: selectors.
    """

    def __init__(self, api: Api, path: str, item: type[T], *, changed: Callable[[], None], params: Mapping[str, str] | None = None) -> None:
        self._api = api
        self._path = path
        self._item = item
        self._changed = changed
        self._params = params
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], T] = {}
        self._synced = False
        self._error: GpuctlError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"informer {path}", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join(10)

    @property
    def synced(self) -> bool:
        """Whether the whole collection was read, and nothing refuses it now."""
        with self._lock:
            return self._synced and self._error is None

    @property
    def error(self) -> GpuctlError | None:
        """Why it cannot be read, None when it can."""
        with self._lock:
            return self._error

    @property
    def alive(self) -> bool:
        """Whether it still listens. One that died of a fault of ours would go on saying what was true then."""
        return self._thread.is_alive()

    def items(self) -> list[T]:
        """Everything in it."""
        with self._lock:
            return list(self._found.values())

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for change in self._api.watch(self._path, self._item, resource_version="", stop=self._stop.is_set, params=self._params):
                    self._take(change)
            except GpuctlError as error:  # credentials that cannot be had are no ApiFailure
                with self._lock:
                    self._error = error
                self._changed()
                self._stop.wait(REFUSED_WAIT_S)

    def _take(self, change: "Change[T]") -> None:
        with self._lock:
            self._error = None
            if change.kind == "REPLACED":
                assert change.listing is not None
                self._found = {_key(each): each for each in change.listing}
                self._synced = True
            elif change.object is not None:
                if change.kind == "DELETED":
                    self._found.pop(_key(change.object), None)
                else:
                    self._found[_key(change.object)] = change.object
        self._changed()


def _key(found: Named) -> tuple[str, str]:
    return found.metadata.namespace, found.metadata.name
