"""Reading a collection page by page, and starting again when the server has forgotten the list in between."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from gpuctl.kube.errors import Gone

if TYPE_CHECKING:
    from gpuctl.kube.transport import Transport

T = TypeVar("T")
MOST_RESTARTS = 3
"""Lists begun anew before we say so. A token lives five minutes by default, so one restart is rare and three mean a server in trouble."""


class ListMeta(msgspec.Struct, rename="camel", gc=False):
    """The part of a list's metadata that paging needs. ``continue_`` is empty on the last page."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Up to ``limit`` objects of a list.

    Attributes:
        first: the list begins here; what came before it (a list the server forgot midway) is void.
        remaining: how many more the server expects, where it says so.
    """

    items: Sequence[T]
    resource_version: str
    first: bool
    remaining: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing(Generic[T]):
    """A whole list at one instant; ``resource_version`` is where a watch goes on from it."""

    items: Sequence[T]
    resource_version: str

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@cache
def list_type(item: Any) -> Any:
    """A struct ``{metadata, items}`` around ``item``. Lists may be null: some servers send that for an empty one."""
    return msgspec.defstruct(
        "List", [("metadata", ListMeta, msgspec.field(default_factory=ListMeta)), ("items", list[item] | None, None)], gc=False
    )


def pages(transport: "Transport", path: str, item: type[T], *, params: Mapping[str, Any] | None, limit: int) -> Iterator[Page[T]]:
    """Read the collection at ``path``; see :meth:`gpuctl.kube.api.Api.pages`. Each page has the time of one call.

    Raises:
        Gone: the list was forgotten midway more than ``MOST_RESTARTS`` times.
    """
    token, first, restarts = "", True, 0
    while True:
        asked = {**(params or {}), "limit": limit} | ({"continue": token} if token else {})
        try:
            found = transport.decode(transport.send("GET", path, params=asked), list_type(cast("Any", item)))
        except Gone:
            if first or restarts == MOST_RESTARTS:
                raise
            token, first, restarts = "", True, restarts + 1
            continue
        yield Page(
            items=found.items or (),
            resource_version=found.metadata.resource_version,
            first=first,
            remaining=found.metadata.remaining_item_count,
        )
        token, first = found.metadata.continue_, False
        if not token:
            return
