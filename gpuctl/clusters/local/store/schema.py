"""The tables, as the list of migrations that make them. A released entry is never edited; a change is a new entry.

Instants are UNIX seconds (REAL). ``ended_at`` of a job is set exactly when its state is final. ``task`` is the array index, ``-1`` for a
job that is no array. A task without a row in ``tasks`` is queued and was never started, so an array of any width is one row.
"""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        base_name TEXT NOT NULL,
        user TEXT NOT NULL,
        request_id TEXT NOT NULL UNIQUE,
        asked TEXT NOT NULL,
        state TEXT NOT NULL,
        priority INTEGER NOT NULL DEFAULT 0,
        hold INTEGER NOT NULL DEFAULT 0,
        submitted_at REAL NOT NULL,
        started_at REAL,
        ended_at REAL,
        ends_by REAL,
        expected_start REAL,
        not_before REAL,
        retries_used INTEGER NOT NULL DEFAULT 0,
        false_starts INTEGER NOT NULL DEFAULT 0,
        attempt_count INTEGER NOT NULL DEFAULT 0,
        stop_asked INTEGER NOT NULL DEFAULT 0,
        sealed INTEGER NOT NULL DEFAULT 1,
        exit_code INTEGER,
        exit_signal INTEGER,
        reason BLOB,
        place TEXT,
        tasks INTEGER,
        gpus INTEGER NOT NULL,
        spec BLOB NOT NULL,
        code BLOB NOT NULL,
        labels BLOB,
        interpreter TEXT,
        rerun_of TEXT
    );
    CREATE INDEX jobs_unfinished ON jobs (submitted_at) WHERE ended_at IS NULL;
    CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL;
    CREATE INDEX jobs_submitted ON jobs (submitted_at);
    CREATE INDEX jobs_base ON jobs (base_name, submitted_at);
    CREATE INDEX jobs_unerased ON jobs (id) WHERE sealed = 1 AND ended_at IS NOT NULL;

    CREATE TABLE tasks (
        job TEXT NOT NULL,
        task INTEGER NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        retries_used INTEGER NOT NULL DEFAULT 0,
        launch INTEGER NOT NULL DEFAULT 0,
        not_before REAL,
        started_at REAL,
        ended_at REAL,
        exit_code INTEGER,
        exit_signal INTEGER,
        reason BLOB,
        PRIMARY KEY (job, task)
    ) WITHOUT ROWID;

    CREATE TABLE attempts (
        job TEXT NOT NULL,
        task INTEGER NOT NULL,
        number INTEGER NOT NULL,
        launch INTEGER NOT NULL,
        state TEXT NOT NULL,
        infrastructure INTEGER NOT NULL DEFAULT 0,
        judged INTEGER NOT NULL DEFAULT 0,
        started_at REAL,
        ended_at REAL,
        exit_code INTEGER,
        exit_signal INTEGER,
        reason BLOB,
        pods BLOB NOT NULL,
        ranks BLOB,
        PRIMARY KEY (job, task, number)
    ) WITHOUT ROWID;
    CREATE INDEX attempts_unjudged ON attempts (job) WHERE judged = 0;
    CREATE INDEX attempts_ended ON attempts (ended_at);

    CREATE TABLE launches (
        job TEXT NOT NULL,
        number INTEGER NOT NULL,
        boot TEXT NOT NULL,
        created_at REAL NOT NULL,
        open INTEGER NOT NULL DEFAULT 1,
        started INTEGER NOT NULL DEFAULT 0,
        position INTEGER NOT NULL DEFAULT 0,
        pid INTEGER,
        cgroup TEXT,
        shrinking INTEGER NOT NULL DEFAULT 0,
        slots BLOB NOT NULL,
        PRIMARY KEY (job, number)
    ) WITHOUT ROWID;
    CREATE INDEX launches_open ON launches (job) WHERE open = 1;

    CREATE TABLE evidence (
        job TEXT NOT NULL,
        task INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        doc BLOB NOT NULL
    );
    CREATE INDEX evidence_job ON evidence (job);

    CREATE TABLE events (
        job TEXT NOT NULL,
        at REAL NOT NULL,
        what TEXT NOT NULL,
        text TEXT NOT NULL DEFAULT '',
        attempt INTEGER
    );
    CREATE INDEX events_job ON events (job);
    """,
    # Most jobs of a person have the same variables: each set of names is kept once.
    """
    CREATE TABLE environments (id INTEGER PRIMARY KEY, names TEXT NOT NULL UNIQUE);
    ALTER TABLE jobs ADD COLUMN environment INTEGER;
    """,
    # Whose windows a job may use, and when the window that it runs in ends it (a launchplan.WindowEnd).
    """
    ALTER TABLE jobs ADD COLUMN team TEXT;
    ALTER TABLE jobs ADD COLUMN window BLOB;
    ALTER TABLE jobs ADD COLUMN window_end REAL;
    """,
)

VERSION = len(MIGRATIONS)
"""What ``PRAGMA user_version`` says of a store that this gpuctl has written."""
