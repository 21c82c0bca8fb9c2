"""The body of an open answer, as it comes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpuctl.kube.connection import load_httpx

if TYPE_CHECKING:
    import httpx

    from gpuctl.kube.resources import Target
    from gpuctl.kube.transport import Transport


class Chunks:
    """An iterator over the chunks of an answer's body. For one thread at a time, not always the same.

    Raises:
        Unavailable: the answer was cut before its end, or silent for too long.
    """

    def __init__(self, transport: "Transport", answer: "httpx.Response", asked: "Target") -> None:
        self._library = load_httpx()
        self._transport = transport
        self._asked = asked
        self._stream = answer.extensions.get("network_stream")
        self._bytes = answer.iter_bytes()
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._bytes)
        except StopIteration:
            self._ended = True
            raise
        except (self._library.HTTPError, self._library.StreamError) as error:
            raise self._transport.broken(error, self._asked) from None

    def ready(self) -> bool:
        """Whether something has come, so that what comes next is not waited for. False also where that cannot be known."""
        return self._ended or (self._stream is not None and bool(self._stream.get_extra_info("is_readable")))
