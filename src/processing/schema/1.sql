-- Jobs and the history of results. What an entry's state is, the index knows; this is what cannot
-- be read again from the disk.

CREATE TABLE job (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    action    INTEGER NOT NULL,            -- 0 process, 1 verify
    scope     INTEGER NOT NULL,            -- 0 all, 1 unprocessed, 2 failed, 3 those in job_item
    folder    TEXT,
    directory TEXT,
    status    INTEGER NOT NULL DEFAULT 0,  -- 0 queued, 1 running, 2 completed, 3 failed, 4 cancelled
    total     INTEGER NOT NULL,
    current   INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0,
    cursor    INTEGER NOT NULL DEFAULT 0,  -- every item up to this id is done
    ahead     BLOB,                        -- ids above the cursor that are done, 8 bytes each
    created   INTEGER NOT NULL,            -- times: nanoseconds since 1970
    started   INTEGER,
    ended     INTEGER,
    error     TEXT
);
CREATE INDEX job_by_status ON job (status, id);

CREATE TABLE job_item (
    job   INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (job, entry)
) WITHOUT ROWID;

CREATE TABLE history (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    entry       INTEGER NOT NULL,
    folder      TEXT NOT NULL,
    path        TEXT NOT NULL,
    action      INTEGER NOT NULL,
    processor   TEXT NOT NULL,
    error       TEXT,                      -- none is success
    exit_status INTEGER,
    duration_ms INTEGER NOT NULL,
    output      TEXT,
    at          INTEGER NOT NULL,
    job         INTEGER,
    fingerprint BLOB                       -- of the content afterwards
);
CREATE INDEX history_by_entry ON history (entry, id);
