-- What we know of the library. The truth is on the disk: all of this but ids, states, history and
-- jobs could be read again.

CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE folder (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    root     INTEGER NOT NULL,      -- dir.id
    identity TEXT                   -- of the disk; null until it was first seen
);

CREATE TABLE dir (
    id     INTEGER PRIMARY KEY,
    parent INTEGER,                 -- dir.id; null for the root of a folder
    name   BLOB NOT NULL,
    ino    INTEGER NOT NULL,        -- 0 where inode numbers do not last
    born   INTEGER NOT NULL,        -- birth time, ns; 0 where the file system has none
    mount  INTEGER NOT NULL         -- 1: another file system was mounted here
);
CREATE INDEX dir_ino ON dir (ino);
CREATE INDEX dir_parent ON dir (parent);

CREATE TABLE entry (
    id           INTEGER PRIMARY KEY,
    dir          INTEGER NOT NULL,
    name         BLOB NOT NULL,
    size         INTEGER NOT NULL,
    modified     INTEGER NOT NULL,  -- ns since 1970
    ino          INTEGER NOT NULL,
    born         INTEGER NOT NULL,
    status       INTEGER NOT NULL,  -- 0 unprocessed, 1 processing, 2 processed, 3 failed
    error        TEXT,
    fingerprint  BLOB,              -- of the present content
    done         BLOB,              -- fingerprint of the content that was last processed
    duplicate_of INTEGER,
    processed_at INTEGER            -- ns since 1970
);
CREATE UNIQUE INDEX entry_place ON entry (dir, name);
CREATE INDEX entry_fingerprint ON entry (fingerprint) WHERE fingerprint IS NOT NULL;
CREATE INDEX entry_duplicate ON entry (duplicate_of) WHERE duplicate_of IS NOT NULL;

-- 128 entries a row, with what a search must read of them; see search.rs.
CREATE TABLE block (id INTEGER PRIMARY KEY, entries BLOB NOT NULL);
