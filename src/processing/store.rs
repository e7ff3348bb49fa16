//! The **store** of processing: jobs and history, in an SQLite database of their own.
//!
//! It is independent of the index, which can be rebuilt from the disk while this cannot. A job that
//! was accepted survives a power loss (`synchronous=FULL`); progress and history survive every
//! crash of the service, and a power loss but for the last moments.

mod open;
mod past;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use self::open::{connect, is_damage, set_aside};
use super::ProcessingError;
use super::history::Past;
use super::job::{Action, Job, JobId, JobScope, Wanted, progress};
use crate::events::types::{JobStatus, Status};
use crate::library::EntryId;

const FILE_NAME: &str = "work.db";

/// Results kept (contract section 4).
pub(crate) const HISTORY_KEPT: i64 = 10_000;
/// Ended jobs kept (contract section 4).
const JOBS_KEPT: i64 = 100;
/// The history is cut back once in so many results; deleting by ones would double the writing.
const CUT_EVERY: i64 = 256;

/// Jobs and history on disk. Any thread may call it; calls wait for one another.
#[derive(Debug)]
pub(crate) struct Store {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

/// How far a job is, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: JobId,
    pub(crate) current: u64,
    pub(crate) failed: u64,
    pub(crate) total: u64,
    pub(crate) cursor: i64,
    pub(crate) ahead: Vec<u8>,
}

/// A job that is to go on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pending {
    pub(crate) job: Job,
    pub(crate) scope: PendingScope,
    pub(crate) folder: Option<String>,
    pub(crate) directory: Option<String>,
    pub(crate) cursor: i64,
    pub(crate) ahead: Vec<u8>,
}

/// Where the items of a job come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PendingScope {
    /// The library.
    Shelf(JobScope),
    /// The list that was given, [`Store::items`].
    List,
}

impl PendingScope {
    /// Tells whether an entry of this status is an item of the job.
    pub(crate) fn admits(self, status: Status) -> bool {
        match self {
            PendingScope::Shelf(JobScope::All) | PendingScope::List => true,
            PendingScope::Shelf(JobScope::Unprocessed) => {
                matches!(status, Status::Unprocessed | Status::Processing)
            }
            PendingScope::Shelf(JobScope::Failed) => status == Status::Failed,
        }
    }
}

const JOB_COLUMNS: &str =
    "id, action, status, total, current, failed, created, started, ended, error";
impl Store {
    /// Opens the store in `directory`; a damaged one is kept aside and begun anew.
    pub(crate) fn open(directory: &Path) -> Result<Store, ProcessingError> {
        let path = directory.join(FILE_NAME);
        let writer = match connect(&path) {
            Err(ProcessingError::Store(error)) if is_damage(&error) => {
                let aside = set_aside(&path).map_err(|error| ProcessingError::State {
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
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&path, flags)?;
        reader.busy_timeout(Duration::from_secs(5))?;
        reader.execute_batch("PRAGMA cache_size = -256;")?;
        Ok(Store {
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
        })
    }

    // Jobs.

    /// Keeps a new job; once this returns it survives a power loss.
    pub(crate) fn add_job(
        &self,
        action: Action,
        wanted: &Wanted,
        total: u64,
        now: i64,
    ) -> Result<JobId, ProcessingError> {
        let mut writer = lock(&self.writer);
        let (scope, folder, directory) = match wanted {
            Wanted::Files(_) => (3, None, None),
            Wanted::Scope {
                scope,
                folder,
                directory,
            } => (scope_to(*scope), folder.as_deref(), directory.as_deref()),
        };
        durably(&mut writer, |writer| {
            writer.execute(
                "INSERT INTO job (action, scope, folder, directory, total, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    action as i64,
                    scope,
                    folder,
                    directory,
                    total.cast_signed(),
                    now
                ],
            )?;
            let id = writer.last_insert_rowid();
            if let Wanted::Files(files) = wanted {
                let mut add = writer.prepare("INSERT OR IGNORE INTO job_item VALUES (?1, ?2)")?;
                for file in files {
                    add.execute(params![id, file.0])?;
                }
            }
            Ok(JobId(id))
        })
    }

    /// Returns the jobs that have not ended, the oldest first, except `taken`.
    pub(crate) fn pending(
        &self,
        taken: &[JobId],
        limit: usize,
    ) -> Result<Vec<Pending>, ProcessingError> {
        let reader = lock(&self.reader);
        let sql = format!(
            "SELECT {JOB_COLUMNS}, scope, folder, directory, cursor, ahead FROM job
             WHERE status IN (0, 1) ORDER BY id"
        );
        let mut find = reader.prepare_cached(&sql)?;
        let mut rows = find.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            if found.len() == limit {
                break;
            }
            let job = read_job(row)?;
            if taken.contains(&job.id) {
                continue;
            }
            found.push(Pending {
                job,
                scope: scope_from(row.get(10)?),
                folder: row.get(11)?,
                directory: row.get(12)?,
                cursor: row.get(13)?,
                ahead: row.get::<_, Option<Vec<u8>>>(14)?.unwrap_or_default(),
            });
        }
        Ok(found)
    }

    /// Returns how many jobs have not ended.
    pub(crate) fn count_pending(&self) -> Result<usize, ProcessingError> {
        let sql = "SELECT count(*) FROM job WHERE status IN (0, 1)";
        let reader = lock(&self.reader);
        let count: i64 = reader
            .prepare_cached(sql)?
            .query_row([], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Returns the ids of a job's own list after `after`.
    pub(crate) fn items(
        &self,
        job: JobId,
        after: EntryId,
        limit: usize,
    ) -> Result<Vec<EntryId>, ProcessingError> {
        let sql =
            "SELECT entry FROM job_item WHERE job = ?1 AND entry > ?2 ORDER BY entry LIMIT ?3";
        let reader = lock(&self.reader);
        let mut find = reader.prepare_cached(sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = find.query_map(params![job.0, after.0, limit], |row| {
            Ok(EntryId(row.get(0)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns one job.
    pub(crate) fn job(&self, id: JobId) -> Result<Option<Job>, ProcessingError> {
        let sql = format!("SELECT {JOB_COLUMNS} FROM job WHERE id = ?1");
        let reader = lock(&self.reader);
        let mut find = reader.prepare_cached(&sql)?;
        Ok(find.query_row(params![id.0], read_job).optional()?)
    }

    /// Returns all jobs, the newest first.
    pub(crate) fn jobs(&self) -> Result<Vec<Job>, ProcessingError> {
        let sql = format!("SELECT {JOB_COLUMNS} FROM job ORDER BY id DESC");
        let reader = lock(&self.reader);
        let mut find = reader.prepare_cached(&sql)?;
        let rows = find.query_map([], read_job)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes that a job's first item begins; false if the job has ended.
    pub(crate) fn start_job(&self, id: JobId, now: i64) -> Result<bool, ProcessingError> {
        let sql = "UPDATE job SET status = 1, started = coalesce(started, ?2)
                   WHERE id = ?1 AND status IN (0, 1)";
        let changed = lock(&self.writer)
            .prepare_cached(sql)?
            .execute(params![id.0, now])?;
        Ok(changed > 0)
    }

    /// Keeps how a job ended, and only the newest of those that have; false if it had ended before.
    pub(crate) fn end_job(
        &self,
        id: JobId,
        status: JobStatus,
        error: Option<&str>,
        now: i64,
    ) -> Result<bool, ProcessingError> {
        let mut writer = lock(&self.writer);
        durably(&mut writer, |writer| {
            let changed = writer.execute(
                "UPDATE job SET status = ?2, error = ?3, ended = ?4, ahead = NULL
                 WHERE id = ?1 AND status IN (0, 1)",
                params![id.0, status_to(status), error, now],
            )?;
            writer.execute("DELETE FROM job_item WHERE job = ?1", params![id.0])?;
            writer.execute(
                "DELETE FROM job WHERE status > 1 AND id NOT IN
                 (SELECT id FROM job WHERE status > 1 ORDER BY ended DESC, id DESC LIMIT ?1)",
                params![JOBS_KEPT],
            )?;
            Ok(changed > 0)
        })
    }

    /// Keeps results and the progress of jobs, all in one transaction.
    pub(crate) fn keep(&self, results: &[Past], jobs: &[Kept]) -> Result<(), ProcessingError> {
        if results.is_empty() && jobs.is_empty() {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        let transaction = writer.transaction()?;
        {
            let mut add = transaction.prepare_cached(
                "INSERT INTO history (entry, folder, path, action, processor, error, exit_status,
                 duration_ms, output, at, job, fingerprint)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?;
            let mut newest = 0;
            for past in results {
                newest = add.insert(params![
                    past.entry.0,
                    past.folder,
                    past.path,
                    past.action as i64,
                    past.processor,
                    past.error,
                    past.exit_status,
                    past.duration_ms.cast_signed(),
                    past.output,
                    past.at,
                    past.job.map(|job| job.0),
                    past.fingerprint
                ])?;
            }
            let before = newest - i64::try_from(results.len()).unwrap_or(0);
            if newest / CUT_EVERY != before / CUT_EVERY {
                let oldest = newest - HISTORY_KEPT;
                transaction.execute("DELETE FROM history WHERE id <= ?1", params![oldest])?;
            }
            let mut update = transaction.prepare_cached(
                "UPDATE job SET current = ?2, failed = ?3, total = ?4, cursor = ?5, ahead = ?6
                 WHERE id = ?1",
            )?;
            for job in jobs {
                update.execute(params![
                    job.id.0,
                    job.current.cast_signed(),
                    job.failed.cast_signed(),
                    job.total.cast_signed(),
                    job.cursor,
                    (!job.ahead.is_empty()).then_some(&job.ahead)
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
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

fn read_job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let number = |at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.cast_unsigned());
    Ok(Job {
        id: JobId(row.get(0)?),
        action: action_from(row.get(1)?),
        status: match row.get::<_, i64>(2)? {
            0 => JobStatus::Queued,
            1 => JobStatus::Running,
            2 => JobStatus::Completed,
            4 => JobStatus::Cancelled,
            _ => JobStatus::Failed,
        },
        progress: progress(number(4)?, number(3)?, number(5)?),
        current_file: None,
        eta: None,
        created: row.get(6)?,
        started: row.get(7)?,
        ended: row.get(8)?,
        error: row.get(9)?,
    })
}

fn action_from(number: i64) -> Action {
    match number {
        1 => Action::Verify,
        _ => Action::Process,
    }
}

fn status_to(status: JobStatus) -> i64 {
    match status {
        JobStatus::Queued => 0,
        JobStatus::Running => 1,
        JobStatus::Completed => 2,
        JobStatus::Failed => 3,
        JobStatus::Cancelled => 4,
    }
}

fn scope_to(scope: JobScope) -> i64 {
    match scope {
        JobScope::All => 0,
        JobScope::Unprocessed => 1,
        JobScope::Failed => 2,
    }
}

fn scope_from(number: i64) -> PendingScope {
    match number {
        0 => PendingScope::Shelf(JobScope::All),
        1 => PendingScope::Shelf(JobScope::Unprocessed),
        2 => PendingScope::Shelf(JobScope::Failed),
        _ => PendingScope::List,
    }
}

/// Every change is one transaction, so a panic in between leaves nothing half done.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(entry: i64) -> Past {
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

    fn all() -> Wanted {
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
    fn only_the_last_success_with_this_content_counts() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let went_through = |content| store.went_through(EntryId(1), &[content; 32]).unwrap();
        let success = |content| Past {
            error: None,
            fingerprint: Some([content; 32]),
            ..past(1)
        };
        assert!(!went_through(1));
        store.keep(&[success(1)], &[]).unwrap();
        assert!(went_through(1) && !went_through(2));
        store.keep(&[success(2)], &[]).unwrap();
        assert!(!went_through(1) && went_through(2));
        store.keep(&[past(1)], &[]).unwrap();
        assert!(!went_through(1) && !went_through(2));
    }

    #[test]
    fn only_the_newest_ended_jobs_and_results_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        lock(&store.writer)
            .execute_batch("PRAGMA synchronous = OFF")
            .unwrap();
        for number in 1..=105 {
            let id = store.add_job(Action::Process, &all(), 0, number).unwrap();
            assert!(
                store
                    .end_job(id, JobStatus::Completed, None, number)
                    .unwrap()
            );
            assert!(
                !store
                    .end_job(id, JobStatus::Cancelled, None, number)
                    .unwrap()
            );
        }
        let jobs = store.jobs().unwrap();
        assert_eq!(
            (jobs.len(), jobs[0].id, jobs[99].id),
            (100, JobId(105), JobId(6))
        );
        assert!(jobs.iter().all(|job| job.status == JobStatus::Completed));
        for _ in 0..11 {
            store.keep(&vec![past(1); 1000], &[]).unwrap();
        }
        let rows: i64 = lock(&store.writer)
            .query_row("SELECT count(*) FROM history", [], |row| row.get(0))
            .unwrap();
        assert!(
            (HISTORY_KEPT..HISTORY_KEPT + 1256).contains(&rows),
            "{rows}"
        );
        assert_eq!(store.history(20_000, None).unwrap().len(), 10_000);
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
