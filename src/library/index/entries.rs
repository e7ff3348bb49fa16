//! Entries in the index.

use rusqlite::{OptionalExtension, params};

use super::rows::read_identity;
use super::{COLUMNS, EntryRow, Index, IndexError, status_to};
use crate::library::disk::FileMeta;
use crate::library::reconcile::EntryId;
use crate::library::tree::{DirId, Identity};

impl Index {
    pub(crate) fn entry(&self, id: EntryId) -> Result<Option<EntryRow>, IndexError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE id = ?1");
        let mut find = self.connection.prepare_cached(&sql)?;
        Ok(find.query_row(params![id.0], EntryRow::read).optional()?)
    }

    pub(crate) fn entry_at(&self, dir: DirId, name: &[u8]) -> Result<Option<EntryRow>, IndexError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE dir = ?1 AND name = ?2");
        let mut find = self.connection.prepare_cached(&sql)?;
        Ok(find
            .query_row(params![dir.0, name], EntryRow::read)
            .optional()?)
    }

    pub(crate) fn entries_by_identity(
        &self,
        identity: Identity,
    ) -> Result<Vec<EntryRow>, IndexError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE ino = ?1 AND born = ?2");
        let mut find = self.connection.prepare_cached(&sql)?;
        let rows = find.query_map(
            params![identity.ino.cast_signed(), identity.born],
            EntryRow::read,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Hands name, id and what is known of each file in `dir` to `take`, in the order of the names.
    pub(crate) fn each_in(
        &self,
        dir: DirId,
        mut take: impl FnMut(&[u8], EntryId, FileMeta),
    ) -> Result<(), IndexError> {
        let sql =
            "SELECT name, id, size, modified, ino, born FROM entry WHERE dir = ?1 ORDER BY name";
        let mut find = self.connection.prepare_cached(sql)?;
        let mut rows = find.query(params![dir.0])?;
        while let Some(row) = rows.next()? {
            let meta = FileMeta {
                size: row.get::<_, i64>(2)?.cast_unsigned(),
                modified: row.get(3)?,
                identity: read_identity(row, 4)?,
                links: 1,
            };
            take(
                row.get_ref(0)?.as_blob().unwrap_or(b""),
                EntryId(row.get(1)?),
                meta,
            );
        }
        Ok(())
    }

    /// Returns some of the entries in `dir`; none if there is none.
    pub(crate) fn some_in(&self, dir: DirId) -> Result<Vec<EntryId>, IndexError> {
        let sql = "SELECT id FROM entry WHERE dir = ?1 LIMIT 64";
        let mut find = self.connection.prepare_cached(sql)?;
        let ids = find.query_map(params![dir.0], |row| Ok(EntryId(row.get(0)?)))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Returns the id that the next new entry gets.
    pub(crate) fn next_entry(&self) -> EntryId {
        EntryId(self.next_entry)
    }

    pub(crate) fn add_entry(
        &mut self,
        dir: DirId,
        name: &[u8],
        meta: &FileMeta,
    ) -> Result<EntryId, IndexError> {
        self.begin()?;
        let id = self.next_entry;
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO entry (id, dir, name, size, modified, ino, born, status)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)",
        )?;
        insert.execute(params![
            id,
            dir.0,
            name,
            meta.size.cast_signed(),
            meta.modified,
            meta.identity.ino.cast_signed(),
            meta.identity.born
        ])?;
        drop(insert);
        self.next_entry += 1;
        self.block(id)?.put(id, dir, name, 0);
        Ok(EntryId(id))
    }

    /// Writes everything but id and place of `row`.
    pub(crate) fn update_entry(&mut self, row: &EntryRow) -> Result<(), IndexError> {
        self.begin()?;
        let mut update = self.connection.prepare_cached(
            "UPDATE entry SET size = ?2, modified = ?3, ino = ?4, born = ?5, status = ?6, error = ?7,
             fingerprint = ?8, done = ?9, duplicate_of = ?10, processed_at = ?11 WHERE id = ?1",
        )?;
        update.execute(params![
            row.id.0,
            row.meta.size.cast_signed(),
            row.meta.modified,
            row.meta.identity.ino.cast_signed(),
            row.meta.identity.born,
            status_to(row.status),
            row.error,
            row.fingerprint,
            row.done,
            row.duplicate_of.map(|id| id.0),
            row.processed_at
        ])?;
        drop(update);
        let flags = row.flags();
        self.block(row.id.0)?.set_flags(row.id.0, flags);
        Ok(())
    }

    pub(crate) fn place_entry(
        &mut self,
        row: &EntryRow,
        dir: DirId,
        name: &[u8],
    ) -> Result<(), IndexError> {
        self.begin()?;
        let sql = "UPDATE entry SET dir = ?2, name = ?3 WHERE id = ?1";
        self.connection
            .prepare_cached(sql)?
            .execute(params![row.id.0, dir.0, name])?;
        let flags = row.flags();
        self.block(row.id.0)?.put(row.id.0, dir, name, flags);
        Ok(())
    }

    /// Takes an entry out of its place, so that another can have it before this one gets a new.
    pub(crate) fn park_entry(&mut self, id: EntryId) -> Result<(), IndexError> {
        self.begin()?;
        let sql = "UPDATE entry SET dir = 0, name = ?2 WHERE id = ?1";
        let name = id.0.to_be_bytes();
        self.connection
            .prepare_cached(sql)?
            .execute(params![id.0, &name[..]])?;
        Ok(())
    }

    pub(crate) fn remove_entry(&mut self, id: EntryId) -> Result<(), IndexError> {
        self.begin()?;
        self.connection
            .prepare_cached("DELETE FROM entry WHERE id = ?1")?
            .execute(params![id.0])?;
        self.block(id.0)?.remove(id.0);
        Ok(())
    }

    /// Returns the lowest entry other than `id` that has `fingerprint`.
    pub(crate) fn lowest_other(
        &self,
        fingerprint: &[u8; 32],
        id: EntryId,
    ) -> Result<Option<EntryId>, IndexError> {
        let sql = "SELECT id FROM entry WHERE fingerprint = ?1 AND id <> ?2 ORDER BY id LIMIT 1";
        let mut find = self.connection.prepare_cached(sql)?;
        let lowest = find.query_row(params![fingerprint, id.0], |row| Ok(EntryId(row.get(0)?)));
        Ok(lowest.optional()?)
    }

    /// Returns the lowest entry that has `fingerprint`.
    pub(crate) fn lowest_of(&self, fingerprint: &[u8; 32]) -> Result<Option<EntryRow>, IndexError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE fingerprint = ?1 ORDER BY id LIMIT 1");
        let mut find = self.connection.prepare_cached(&sql)?;
        Ok(find
            .query_row(params![fingerprint], EntryRow::read)
            .optional()?)
    }

    /// Returns the entries other than `lowest` that have `fingerprint` and are no duplicates; there
    /// are never many.
    pub(crate) fn originals_of(
        &self,
        fingerprint: &[u8; 32],
        lowest: EntryId,
    ) -> Result<Vec<EntryRow>, IndexError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM entry
             WHERE fingerprint = ?1 AND duplicate_of IS NULL AND id <> ?2"
        );
        let mut find = self.connection.prepare_cached(&sql)?;
        let rows = find.query_map(params![fingerprint, lowest.0], EntryRow::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Makes all duplicates of a content those of `lowest`; returns their number, and the first
    /// `most` of them.
    pub(crate) fn lead_to(
        &mut self,
        fingerprint: &[u8; 32],
        lowest: EntryId,
        most: usize,
    ) -> Result<(Vec<EntryId>, u64), IndexError> {
        const ELSEWHERE: &str = "fingerprint = ?1 AND duplicate_of <> ?2 AND id <> ?2";
        self.begin()?;
        let sql = format!("SELECT id FROM entry WHERE {ELSEWHERE} LIMIT {most}");
        let mut find = self.connection.prepare_cached(&sql)?;
        let ids = find.query_map(params![fingerprint, lowest.0], |row| {
            Ok(EntryId(row.get(0)?))
        })?;
        let ids = ids.collect::<Result<_, _>>()?;
        let sql = format!("UPDATE entry SET duplicate_of = ?2 WHERE {ELSEWHERE}");
        let mut update = self.connection.prepare_cached(&sql)?;
        let number = update.execute(params![fingerprint, lowest.0])?;
        Ok((ids, number as u64))
    }
}
