"""What is asked of a running launch: lines that others append to its control file."""

import os

import msgspec

from gpuctl.clusters.local.launchplan import Request
from gpuctl.model import decoding

_DECODER = decoding.decoder(Request)


class Requests:
    """The reading end. A line counts once its newline is there; one that cannot be read is skipped."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._position = 0

    def read(self) -> list[Request]:
        """What was appended since the last call."""
        try:
            if os.stat(self._path).st_size <= self._position:
                return []
            with open(self._path, "rb") as file:
                file.seek(self._position)
                block = file.read()
        except OSError:
            return []
        whole = block[: block.rfind(b"\n") + 1]
        self._position += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                found.append(_DECODER.decode(line))
            except msgspec.DecodeError:
                continue
        return found
