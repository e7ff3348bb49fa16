//! Opening **databases**: what the index and the store of processing have in common.
//!
//! All are in WAL mode with `synchronous=NORMAL`: a power loss never damages them, though it may take
//! the last commits (sqlite.org/wal.html). What must not be lost is written with FULL by whoever
//! writes it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long a connection waits for another one of ours.
const BUSY: Duration = Duration::from_secs(5);

/// What a database shall look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema<'a> {
    /// Kept in `PRAGMA user_version`.
    pub(crate) version: i64,
    /// Makes the tables of an empty one.
    pub(crate) sql: &'a str,
    /// Settings of the connection that writes, after those that all have.
    pub(crate) pragmas: &'a str,
}

/// Why a database was not opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It has this version, which is newer than the one that is known here.
    Newer(i64),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> OpenError {
        OpenError::Sqlite(error)
    }
}

/// Opens the connection that writes; makes the database if there is none.
pub(crate) fn open_writer(path: &Path, schema: &Schema<'_>) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // The size of a page counts only before the first table is made, the mode only after it.
    connection.execute_batch(&format!(
        "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {}",
        schema.pragmas
    ))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > schema.version {
        return Err(OpenError::Newer(version));
    }
    if version == 0 {
        let Schema { version, sql, .. } = schema;
        connection.execute_batch(&format!(
            "BEGIN; {sql} PRAGMA user_version = {version}; COMMIT;"
        ))?;
    }
    Ok(connection)
}

/// Opens a connection for queries, with `pages_kib` of pages in memory; the rest of a scan comes
/// from the page cache of the kernel.
pub(crate) fn open_reader(path: &Path, pages_kib: u32) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(&format!(
        "PRAGMA cache_size = -{pages_kib}; PRAGMA query_only = 1;"
    ))?;
    Ok(connection)
}

/// Tells whether the database itself is broken.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Renames a damaged database and what belongs to it; returns where it is now.
pub(crate) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let with = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = since.unwrap_or_default().as_secs();
    let aside = with(path, &format!(".damaged-{now_s}"));
    std::fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        match std::fs::rename(with(path, suffix), with(&aside, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: Schema<'_> = Schema {
        version: 3,
        sql: "CREATE TABLE t (x);",
        pragmas: "",
    };

    #[test]
    fn a_newer_database_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.db");
        drop(open_writer(&path, &SCHEMA).unwrap());
        let older = Schema {
            version: 2,
            ..SCHEMA
        };
        assert!(matches!(
            open_writer(&path, &older),
            Err(OpenError::Newer(3))
        ));
        assert!(open_writer(&path, &SCHEMA).is_ok());
    }

    #[test]
    fn what_is_no_database_is_damage_and_set_aside_with_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.db");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        std::fs::write(directory.path().join("x.db-wal"), "log").unwrap();
        let Err(OpenError::Sqlite(error)) = open_writer(&path, &SCHEMA) else {
            panic!("it was opened")
        };
        assert!(is_damage(&error), "{error}");
        let aside = set_aside(&path).unwrap();
        assert_eq!(std::fs::read(&aside).unwrap(), vec![7; 8192]);
        assert!(!path.exists() && !directory.path().join("x.db-wal").exists());
        open_writer(&path, &SCHEMA).unwrap();
        let reader = open_reader(&path, 64).unwrap();
        assert!(reader.execute("INSERT INTO t VALUES (1)", []).is_err());
    }
}
