//! The history in the store.

use rusqlite::{OptionalExtension, Row, params};

use super::{HISTORY_KEPT, Store, action_from, lock};
use crate::library::EntryId;
use crate::processing::ProcessingError;
use crate::processing::history::Past;
use crate::processing::job::JobId;

const PAST_COLUMNS: &str = "id, entry, folder, path, action, processor, error, exit_status, duration_ms, output, at, job, fingerprint";

impl Store {
    /// Returns the results below `before`, the newest first.
    pub(crate) fn history(
        &self,
        limit: usize,
        before: Option<i64>,
    ) -> Result<Vec<Past>, ProcessingError> {
        let sql = format!(
            "SELECT {PAST_COLUMNS} FROM history
             WHERE id < ?1 AND id > (SELECT coalesce(max(id), 0) FROM history) - ?3
             ORDER BY id DESC LIMIT ?2"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let before = before.unwrap_or(i64::MAX);
        let reader = lock(&self.reader);
        let mut find = reader.prepare_cached(&sql)?;
        let rows = find.query_map(params![before, limit, HISTORY_KEPT], read_past)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Tells whether the last thing that was done with an entry was to process this very content,
    /// with success.
    pub(crate) fn went_through(
        &self,
        entry: EntryId,
        fingerprint: &[u8; 32],
    ) -> Result<bool, ProcessingError> {
        let sql = "SELECT error IS NULL AND fingerprint IS ?2 FROM history
                   WHERE entry = ?1 AND action = 0 ORDER BY id DESC LIMIT 1";
        let reader = lock(&self.reader);
        let mut find = reader.prepare_cached(sql)?;
        let found = find.query_row(params![entry.0, fingerprint], |row| row.get(0));
        Ok(found.optional()?.unwrap_or(false))
    }

    /// Returns the newest results of one entry, the newest first.
    pub(crate) fn entry_history(
        &self,
        entry: EntryId,
        limit: usize,
    ) -> Result<Vec<Past>, ProcessingError> {
        let sql = format!(
            "SELECT {PAST_COLUMNS} FROM history WHERE entry = ?1 ORDER BY id DESC LIMIT ?2"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let reader = lock(&self.reader);
        let mut find = reader.prepare_cached(&sql)?;
        let rows = find.query_map(params![entry.0, limit], read_past)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn read_past(row: &Row<'_>) -> rusqlite::Result<Past> {
    Ok(Past {
        number: row.get(0)?,
        entry: EntryId(row.get(1)?),
        folder: row.get(2)?,
        path: row.get(3)?,
        action: action_from(row.get(4)?),
        processor: row.get(5)?,
        error: row.get(6)?,
        exit_status: row.get(7)?,
        duration_ms: row.get::<_, i64>(8)?.cast_unsigned(),
        output: row.get(9)?,
        at: row.get(10)?,
        job: row.get::<_, Option<i64>>(11)?.map(JobId),
        fingerprint: row.get(12)?,
    })
}
