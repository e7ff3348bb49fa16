//! Opening the database: for the one writer, for readers, and setting a damaged one aside.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{FILE_NAME, IndexError, SCHEMA, SCHEMA_VERSION, SORTED};

/// Opens a connection for queries.
pub(crate) fn open_reader(directory: &Path) -> Result<Connection, IndexError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.join(FILE_NAME), flags)?;
    // 1 MiB of pages; the rest of a scan comes from the page cache of the kernel.
    connection.execute_batch("PRAGMA cache_size = -1024; PRAGMA query_only = 1;")?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

pub(super) fn connect(path: &Path) -> Result<Connection, IndexError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    // WAL with NORMAL never damages the database at a power loss; it may lose the last commits
    // (sqlite.org/wal.html), and those are found on the disk again. What must not be lost is
    // written with FULL by whoever writes it. The log is moved over by us, between transactions.
    connection.execute_batch(
        "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 4194304;
         PRAGMA cache_size = -4096; PRAGMA temp_store = FILE;",
    )?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > SCHEMA_VERSION {
        return Err(IndexError::Newer {
            path: path.to_path_buf(),
            version,
        });
    }
    if version == 0 {
        connection.execute_batch(&format!(
            "BEGIN; {SCHEMA} {SORTED} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        ))?;
    }
    // Cheap, and finds a database that was cut off or overwritten; the first crawl reads the rest.
    connection.query_row(
        "SELECT count(*) FROM (SELECT id FROM dir LIMIT 1000)",
        [],
        |_| Ok(()),
    )?;
    connection.query_row("SELECT coalesce(max(id), 0) FROM entry", [], |_| Ok(()))?;
    Ok(connection)
}

pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row(params![key], |row| row.get(0))
        .optional()
}

/// Renames a damaged database and what belongs to it; returns where it is now.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let with = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(path, &format!(".damaged-{}", now_s()));
    std::fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        match std::fs::rename(with(path, suffix), with(&aside, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Ids are never given twice, and those of a damaged index cannot be known: this is far above any
/// that it can have given.
pub(super) fn first_id_after_damage() -> i64 {
    now_s().saturating_mul(1000)
}

fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
