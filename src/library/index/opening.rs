//! Opening the database of the index: for the one writer, and for readers.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::{FILE_NAME, IndexError, SCHEMA, SCHEMA_VERSION, SORTED};
use crate::sqlite::{self, OpenError, Schema};

/// Opens a connection for queries.
pub(crate) fn open_reader(directory: &Path) -> Result<Connection, IndexError> {
    let connection = sqlite::open_reader(&directory.join(FILE_NAME), 1024)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

pub(super) fn connect(path: &Path) -> Result<Connection, IndexError> {
    let schema = Schema {
        version: SCHEMA_VERSION,
        sql: &format!("{SCHEMA} {SORTED}"),
        // What a power loss takes is found on the disk again. The log is moved over by us, between
        // transactions.
        pragmas: "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 4194304;
                  PRAGMA cache_size = -4096; PRAGMA temp_store = FILE;",
    };
    let connection = sqlite::open_writer(path, &schema).map_err(|error| match error {
        OpenError::Sqlite(error) => IndexError::Sqlite(error),
        OpenError::Newer(version) => IndexError::Newer {
            path: path.to_path_buf(),
            version,
        },
    })?;
    connection.set_prepared_statement_cache_capacity(64);
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
