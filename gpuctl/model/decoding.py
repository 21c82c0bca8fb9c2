"""From JSON and plain values to types, from any thread.

msgspec learns a Struct when it is first decoded. Two threads that meet there, if only at a type inside of theirs, crash the process (a
segmentation fault with 0.22): the second one uses what the first has not finished. So every first use goes through here.
"""

import functools
from typing import Any, TypeVar, cast

import msgspec

from gpuctl.base import firstuse

T = TypeVar("T")


@functools.cache
def decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    """The one decoder of a type in this process; making one costs more than decoding a small answer."""
    with firstuse.LOCK:
        return msgspec.json.Decoder(kind)


def decode(text: bytes | str, kind: type[T]) -> T:
    """The value that JSON text holds.

    Raises:
        msgspec.DecodeError: it is no JSON, or (msgspec.ValidationError) not of this type.
    """
    return cast(T, decoder(cast(Any, kind)).decode(text))


def convert(value: Any, kind: type[T]) -> T:
    """The value that dicts, lists and plain values stand for.

    Raises:
        msgspec.ValidationError: it is not of this type.
    """
    decoder(cast(Any, kind))
    return msgspec.convert(value, kind)
