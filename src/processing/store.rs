//! The **store** of processing: jobs and history, in an SQLite database of their own.
//!
//! It is independent of the index, which can be rebuilt from the disk while this cannot. A job that
//! was accepted survives a power loss (`synchronous=FULL`); progress and history survive every
//! crash of the service, and a power loss but for the last moments.

mod jobs;
mod past;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

pub(crate) use self::jobs::{Kept, Pending, PendingScope};
use super::ProcessingError;
use super::history::Past;
use crate::sqlite::{self, OpenError, Schema};

const FILE_NAME: &str = "work.db";
const SCHEMA: Schema<'_> = Schema {
    version: 1,
    sql: include_str!("schema/1.sql"),
    pragmas: "PRAGMA cache_size = -512; PRAGMA journal_size_limit = 1048576;",
};

/// Jobs and history on disk. Any thread may call it; calls wait for one another.
#[derive(Debug)]
pub(crate) struct Store {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

impl Store {
    /// Opens the store in `directory`; a damaged one is kept aside and begun anew.
    pub(crate) fn open(directory: &Path) -> Result<Store, ProcessingError> {
        let path = directory.join(FILE_NAME);
        let writer = match connect(&path) {
            Err(ProcessingError::Store(error)) if sqlite::is_damage(&error) => {
                let aside = sqlite::set_aside(&path).map_err(|error| ProcessingError::State {
                    path: path.clone(),
                    error,
                })?;
                log::error!(
                    "jobs and history were damaged and are begun anew, kept={}",
                    aside.display()
                );
                connect(&path)?
            }
            other => other?,
        };
        Ok(Store {
            writer: Mutex::new(writer),
            reader: Mutex::new(sqlite::open_reader(&path, 256)?),
        })
    }

    /// Keeps results and the progress of jobs, all in one transaction.
    pub(crate) fn keep(&self, results: &[Past], jobs: &[Kept]) -> Result<(), ProcessingError> {
        if results.is_empty() && jobs.is_empty() {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        let transaction = writer.transaction()?;
        past::add(&transaction, results)?;
        jobs::update(&transaction, jobs)?;
        transaction.commit()?;
        Ok(())
    }
}

/// Opens the connection that writes, and looks whether the database is sound.
fn connect(path: &Path) -> Result<Connection, ProcessingError> {
    let connection = sqlite::open_writer(path, &SCHEMA).map_err(|error| match error {
        OpenError::Sqlite(error) => ProcessingError::Store(error),
        OpenError::Newer(version) => ProcessingError::Newer {
            path: path.to_path_buf(),
            version,
        },
    })?;
    // It is small, so that all of it can be looked at: at most a tenth of a second.
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(sound)).into());
    }
    Ok(connection)
}

/// Runs a transaction that is on the disk itself when this returns.
fn durably<T>(
    writer: &mut Connection,
    change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, ProcessingError> {
    writer.execute_batch("PRAGMA synchronous = FULL")?;
    let done = writer.transaction().and_then(|transaction| {
        let done = change(&transaction)?;
        transaction.commit()?;
        Ok(done)
    });
    writer.execute_batch("PRAGMA synchronous = NORMAL")?;
    Ok(done?)
}

/// Every change is one transaction, so a panic in between leaves nothing half done.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::EntryId;
    use crate::processing::job::{Action, JobId, JobScope, Wanted, progress};

    pub(super) fn past(entry: i64) -> Past {
        Past {
            number: 0,
            entry: EntryId(entry),
            folder: "comics".to_owned(),
            path: format!("comics/{entry}"),
            action: Action::Process,
            processor: "tag".to_owned(),
            error: Some("broken".to_owned()),
            exit_status: Some(3),
            duration_ms: 12,
            output: None,
            at: 5,
            job: Some(JobId(1)),
            fingerprint: Some([1; 32]),
        }
    }

    pub(super) fn all() -> Wanted {
        Wanted::Scope {
            scope: JobScope::All,
            folder: Some("comics".to_owned()),
            directory: None,
        }
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let files = Wanted::Files([9, 3, 7, 3].map(EntryId).to_vec());
        let listed = store.add_job(Action::Verify, &files, 3, 1).unwrap();
        let scoped = store.add_job(Action::Process, &all(), 10, 2).unwrap();
        assert!(store.start_job(scoped, 3).unwrap());
        let kept = Kept {
            id: scoped,
            current: 4,
            failed: 1,
            total: 10,
            cursor: 44,
            ahead: vec![1; 8],
        };
        store.keep(&[past(1), past(2)], &[kept]).unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        let pending = store.pending(&[], 10).unwrap();
        assert_eq!(pending.len(), 2);
        assert_eq!(
            (pending[0].job.id, pending[0].scope),
            (listed, PendingScope::List)
        );
        assert_eq!(pending[1].job.progress, progress(4, 10, 1));
        assert_eq!((pending[1].cursor, &pending[1].ahead), (44, &vec![1; 8]));
        assert_eq!(pending[1].folder.as_deref(), Some("comics"));
        assert_eq!(store.pending(&[listed], 10).unwrap().len(), 1);
        assert_eq!(
            store.items(listed, EntryId(3), 10).unwrap(),
            [7, 9].map(EntryId)
        );
        let history = store.history(10, None).unwrap();
        assert_eq!(
            history.iter().map(|past| past.entry.0).collect::<Vec<_>>(),
            [2, 1]
        );
        assert_eq!(store.history(10, Some(history[0].number)).unwrap().len(), 1);
        assert_eq!(
            store.entry_history(EntryId(1), 20).unwrap(),
            [Past {
                number: 1,
                ..past(1)
            }]
        );
    }

    #[test]
    fn a_damaged_store_is_kept_aside_and_a_newer_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        std::fs::write(&path, vec![7; 8192]).unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert!(store.jobs().unwrap().is_empty());
        lock(&store.writer)
            .execute_batch("PRAGMA user_version = 99")
            .unwrap();
        drop(store);
        let refused = Store::open(directory.path()).unwrap_err();
        assert!(
            matches!(refused, ProcessingError::Newer { version: 99, .. }),
            "{refused}"
        );
        let aside = std::fs::read_dir(directory.path()).unwrap().flatten();
        let names: Vec<_> = aside.map(|entry| entry.file_name()).collect();
        assert!(
            names
                .iter()
                .any(|name| name.to_string_lossy().contains("damaged")),
            "{names:?}"
        );
    }
}
