//! The jobs in the store: what was asked for, how far it is, how it ended.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, durably, lock};
use crate::events::types::{JobStatus, Status};
use crate::library::EntryId;
use crate::processing::ProcessingError;
use crate::processing::job::{Action, Job, JobId, JobScope, Wanted, progress};

/// Ended jobs kept (contract section 4).
const JOBS_KEPT: i64 = 100;
const JOB_COLUMNS: &str =
    "id, action, status, total, current, failed, created, started, ended, error, folder, directory";

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
    /// Tells whether an item whose entry has come to this status meanwhile is still to be done: not
    /// where somebody else has done what the job is for.
    pub(crate) fn wants(self, status: Status) -> bool {
        match self {
            PendingScope::Shelf(JobScope::All) | PendingScope::List => true,
            PendingScope::Shelf(JobScope::Unprocessed) => {
                matches!(status, Status::Unprocessed | Status::Processing)
            }
            PendingScope::Shelf(JobScope::Failed) => status != Status::Processed,
        }
    }
}

impl Store {
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
            "SELECT {JOB_COLUMNS}, scope, cursor, ahead FROM job
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
                folder: row.get(10)?,
                directory: row.get(11)?,
                scope: scope_from(row.get(12)?),
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
}

/// Keeps how far jobs are, as part of the open transaction.
pub(super) fn update(transaction: &Connection, jobs: &[Kept]) -> rusqlite::Result<()> {
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
    Ok(())
}

fn read_job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let number = |at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.cast_unsigned());
    let (folder, directory): (Option<String>, Option<String>) = (row.get(10)?, row.get(11)?);
    // The path of a directory starts with its folder's name.
    let folder_of = |path: String| path.split('/').next().map(str::to_owned);
    Ok(Job {
        folder: folder.or_else(|| directory.and_then(folder_of)),
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

pub(super) fn action_from(number: i64) -> Action {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processing::store::tests::all;

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
    }
}
