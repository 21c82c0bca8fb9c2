"""Bringing a store to the present schema, one transaction per migration."""

import sqlite3

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.local.store.schema import MIGRATIONS, VERSION


def version(connection: sqlite3.Connection) -> int:
    """The schema version of an open store; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_newer(found: int, *, path: str) -> None:
    """Raise ``state-newer`` if a later gpuctl has written the store: its rows may mean what this one does not know."""
    if found > VERSION:
        raise GpuctlError(
            f"cannot open {path}: a newer gpuctl has written it (schema {found}, this one knows {VERSION})",
            code="state-newer",
            hint="pipx upgrade gpuctl-cli",
        )


def migrate(connection: sqlite3.Connection, *, path: str) -> None:
    """Run what is missing. The caller holds the setup lock, so nobody else migrates at the same time."""
    found = version(connection)
    refuse_newer(found, path=path)
    for number in range(found, VERSION):
        connection.executescript(f"BEGIN IMMEDIATE;\n{MIGRATIONS[number]}\nPRAGMA user_version = {number + 1};\nCOMMIT;")
