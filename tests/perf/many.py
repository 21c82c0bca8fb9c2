"""Many finished jobs without running them: the rows of one real job, copied under other names."""

import sqlite3
from pathlib import Path


def fill(state: Path, count: int) -> None:
    """Copy the only job of the store below ``state`` until there are ``count`` finished ones, ten minutes apart."""
    (path,) = state.rglob("gpuctl.db")
    database = sqlite3.connect(path)
    with database:
        for table, key in (("jobs", "id"), ("attempts", "job"), ("launches", "job")):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            chosen = ", ".join(_copied(table, column, key) for column in columns)
            database.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {table}, n",
                (count - 1,),
            )
    database.close()


def _copied(table: str, column: str, key: str) -> str:
    if column in {key, "request_id"} or (table == "jobs" and column == "name"):
        return f"{column} || '-' || i"
    if table == "jobs" and column.endswith("_at"):
        return f"{column} - i * 600"
    return column
