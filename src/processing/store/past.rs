//! The history in the store: what was done with each entry, the newest results of all.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::jobs::action_from;
use super::{Store, lock};
use crate::library::EntryId;
use crate::processing::ProcessingError;
use crate::processing::history::Past;
use crate::processing::job::JobId;

/// Results kept (contract section 4).
const HISTORY_KEPT: i64 = 10_000;
/// The history is cut back once in so many results; deleting by ones would double the writing.
const CUT_EVERY: i64 = 256;

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

/// Adds results, as part of the open transaction.
pub(super) fn add(transaction: &Connection, results: &[Past]) -> rusqlite::Result<()> {
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
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processing::store::tests::past;

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
    fn only_the_newest_results_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
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
}
