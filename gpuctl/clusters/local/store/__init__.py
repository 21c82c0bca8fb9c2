"""The durable memory of this machine's jobs: one SQLite file in WAL mode, and the SQL that reads and writes it.

Here live the schema and its migrations, opening and its failures, and functions that turn rows into values and back. A function takes
a connection and does one thing inside the caller's transaction. Nothing here looks at processes, devices or the clock, or decides.
"""

from gpuctl.clusters.local.store.database import Database

__all__ = ["Database"]
