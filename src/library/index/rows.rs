//! Rows as they are read.

use rusqlite::Row;

use crate::events::types::Status;
use crate::library::disk::FileMeta;
use crate::library::reconcile::EntryId;
use crate::library::search::DUPLICATE;
use crate::library::tree::{DirId, Identity};

/// A row of `entry`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EntryRow {
    pub(crate) id: EntryId,
    pub(crate) dir: DirId,
    pub(crate) name: Box<[u8]>,
    pub(crate) meta: FileMeta,
    pub(crate) status: Status,
    pub(crate) error: Option<String>,
    pub(crate) fingerprint: Option<[u8; 32]>,
    /// Fingerprint of the content that was last processed.
    pub(crate) done: Option<[u8; 32]>,
    pub(crate) duplicate_of: Option<EntryId>,
    pub(crate) processed_at: Option<i64>,
}

/// Columns of `entry` in the order that [`EntryRow::read`] wants.
pub(crate) const COLUMNS: &str = "id, dir, name, size, modified, ino, born, status, error, \
     fingerprint, done, duplicate_of, processed_at";

impl EntryRow {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<EntryRow> {
        Ok(EntryRow {
            id: EntryId(row.get(0)?),
            dir: DirId(row.get(1)?),
            name: row.get_ref(2)?.as_blob()?.into(),
            meta: FileMeta {
                size: row.get::<_, i64>(3)?.cast_unsigned(),
                modified: row.get(4)?,
                identity: read_identity(row, 5)?,
                links: 1,
            },
            status: status_from(row.get(7)?),
            error: row.get(8)?,
            fingerprint: row.get(9)?,
            done: row.get(10)?,
            duplicate_of: row.get::<_, Option<i64>>(11)?.map(EntryId),
            processed_at: row.get(12)?,
        })
    }

    /// The byte that a search keeps of it.
    pub(crate) fn flags(&self) -> u8 {
        status_to(self.status)
            | if self.duplicate_of.is_some() {
                DUPLICATE
            } else {
                0
            }
    }
}

pub(super) fn read_identity(row: &Row<'_>, at: usize) -> rusqlite::Result<Identity> {
    Ok(Identity {
        ino: row.get::<_, i64>(at)?.cast_unsigned(),
        born: row.get(at + 1)?,
    })
}

/// The number that stands for a status in the index.
pub(crate) fn status_to(status: Status) -> u8 {
    match status {
        Status::Unprocessed => 0,
        Status::Processing => 1,
        Status::Processed => 2,
        Status::Failed => 3,
    }
}

/// The status that a number of the index stands for.
pub(crate) fn status_from(number: u8) -> Status {
    match number & !DUPLICATE {
        1 => Status::Processing,
        2 => Status::Processed,
        3 => Status::Failed,
        _ => Status::Unprocessed,
    }
}
