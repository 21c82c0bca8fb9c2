"""Opening the store and its transactions.

One connection per process, used by one thread at a time. Writes are ``BEGIN IMMEDIATE``: a writer waits for the one before it and then
sees everything that one did. ``synchronous=NORMAL`` loses the last transactions in a power cut but never damages the file; what
nobody could tell again (an accepted job, a start, a cancel) is written with a full sync.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator

from gpuctl.base.errors import GpuctlError, UnavailableError
from gpuctl.clusters.local.paths import StatePaths, state_error
from gpuctl.clusters.local.store.migrate import migrate, refuse_newer, version
from gpuctl.clusters.local.store.schema import VERSION

BUSY_SECONDS = 30.0
_DAMAGE = ("malformed", "not a database", "file is encrypted")


class Database:
    """The open store. ``notes`` are sentences for stderr; ``recreated`` says that a damaged file was set aside."""

    def __init__(self, paths: StatePaths) -> None:
        self.paths = paths
        self.notes: list[str] = []
        self.recreated = False
        self._lock = threading.RLock()
        self._depth = 0
        try:
            with self._translated():
                self._connection = self._open()
            self._inode = os.stat(paths.database).st_ino
        except OSError as error:
            raise state_error(paths.root, error) from error

    def _open(self) -> sqlite3.Connection:
        if not os.path.exists(self.paths.suspect):
            try:
                connection = self._connect()
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
            else:
                if connection is not None:
                    return connection
        return self._set_up()

    def _connect(self) -> sqlite3.Connection | None:
        """A connection to a store that is ready to use; None when it has to be set up first."""
        if not os.path.exists(self.paths.database):
            return None
        connection = sqlite3.connect(self.paths.database, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            found = version(connection)
            refuse_newer(found, path=self.paths.database)
            ready = found == VERSION and connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        if ready:
            return connection
        connection.close()
        return None

    def _set_up(self) -> sqlite3.Connection:
        """Create, migrate or replace, one process at a time."""
        with _locked(self.paths.setup_lock):
            self._set_aside_if_damaged()
            connection = sqlite3.connect(self.paths.database, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                os.chmod(self.paths.database, 0o600)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                migrate(connection, path=self.paths.database)
                connection.execute("PRAGMA synchronous = NORMAL")
            except BaseException:
                connection.close()
                raise
            return connection

    def _set_aside_if_damaged(self) -> None:
        if not os.path.exists(self.paths.database) or _sound(self.paths.database):
            _remove(self.paths.suspect)
            return
        kept = f"{self.paths.database}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        for tail in ("-wal", "-shm", ""):
            if os.path.exists(self.paths.database + tail):
                os.rename(self.paths.database + tail, kept + tail)
        _remove(self.paths.suspect)
        self.recreated = True
        self.notes.append(f"the job store was damaged: it is kept as {kept}, and was rebuilt from the jobs' directories")

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view: everything read inside belongs to one instant."""
        with self._lock, self._translated():
            if self._depth:
                yield self._connection
                return
            self._connection.execute("BEGIN")
            self._depth += 1
            try:
                yield self._connection
            finally:
                self._depth -= 1
                self._connection.execute("ROLLBACK" if self._connection.in_transaction else "SELECT 1")

    @contextlib.contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction, kept if the block ends and undone if it raises. ``durable``: on disk when this returns."""
        with self._lock, self._translated():
            if durable:
                self._connection.execute("PRAGMA synchronous = FULL")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._depth += 1
                try:
                    yield self._connection
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
                finally:
                    self._depth -= 1
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                if durable:
                    self._connection.execute("PRAGMA synchronous = NORMAL")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _error(self, error: sqlite3.Error) -> GpuctlError:
        text = str(error)
        path = self.paths.database
        if "locked" in text or "busy" in text:
            return UnavailableError(
                f"cannot use {path}: another gpuctl has held it for {BUSY_SECONDS:.0f} s", code="state-busy", cause=text
            )
        if "readonly" in text or "unable to open" in text:
            return GpuctlError(f"cannot write {path}", code="state-read-only", cause=text, hint=f"ls -ld {self.paths.root} {path}")
        if "full" in text or ("I/O error" in text and _no_room(self.paths.root)):
            return GpuctlError(f"cannot write {path}", code="state-full", cause=text, hint=f"df -h {self.paths.root}")
        if _damaged(error):
            with contextlib.suppress(OSError), open(self.paths.suspect, "wb"):
                pass
            return UnavailableError(
                f"cannot read {path}: it is damaged",
                code="state-damaged",
                cause=text,
                hint="gpuctl jobs    (sets it aside and rebuilds it)",
            )
        return GpuctlError(f"cannot use {path}", code="state-unusable", cause=text, hint="gpuctl doctor")

    @property
    def stale(self) -> bool:
        """Whether the file was set aside or migrated by a newer gpuctl since it was opened here."""
        try:
            if os.stat(self.paths.database).st_ino != self._inode:
                return True
        except OSError:
            return True
        with self.read() as connection:
            return version(connection) != VERSION

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()


def _damaged(error: sqlite3.Error) -> bool:
    return any(word in str(error) for word in _DAMAGE)


def _sound(path: str) -> bool:
    """Whether SQLite finds every page of the file in order."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        refuse_newer(version(connection), path=path)
        return [row[0] for row in connection.execute("PRAGMA quick_check(1)")] == ["ok"]
    except sqlite3.DatabaseError as error:
        if _damaged(error):
            return False
        raise
    finally:
        connection.close()


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _no_room(directory: str) -> bool:
    """Whether the file system is full, which shared memory that cannot grow is told by as an I/O error only."""
    try:
        return os.statvfs(directory).f_bavail == 0
    except OSError:
        return False
