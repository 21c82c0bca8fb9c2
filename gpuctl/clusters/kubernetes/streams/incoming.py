"""What a program in a pod writes, as a file to read from."""

from gpuctl.clusters.kubernetes.streams import exec as programs
from gpuctl.kube.remotecommand import RemoteCommand


class Incoming:
    """What a session writes to stdout, as a file; stderr is kept aside."""

    def __init__(self, running: RemoteCommand) -> None:
        self._running = running
        self._buffer = bytearray()
        self.stderr = bytearray()

    @property
    def exit_code(self) -> int | None:
        """The program's, once it has ended."""
        return self._running.exit_code

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""
        while size < 0 or len(self._buffer) < size:
            if not self._more():
                break
        count = len(self._buffer) if size < 0 else size
        block = bytes(self._buffer[:count])
        del self._buffer[:count]
        return block

    def line(self) -> bytes:
        """The first line, without its newline; empty if the program said nothing."""
        while b"\n" not in self._buffer and self._more():
            pass
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        return line

    def drain(self) -> None:
        """Forget what else comes, until the program has ended."""
        self._buffer.clear()
        while self._more():
            self._buffer.clear()

    def _more(self) -> bool:
        while (output := self._running.read(programs.PING_S)) is None:
            if self._running.exit_code is not None:
                return False
            self._running.ping()
        if output.stream == "stderr":
            self.stderr = (self.stderr + output.data)[-8192:]
        else:
            self._buffer += output.data
        return True
