//! Folders and directories in the index.

use rusqlite::params;

use super::rows::{read_identity, status_from};
use super::{EntryRow, Index, IndexError};
use crate::events::types::Status;
use crate::library::index::{COLUMNS, status_to};
use crate::library::tree::{DirId, Identity};

impl Index {
    /// Returns the remembered folders: name, root, identity of the disk.
    pub(crate) fn folders(&self) -> Result<Vec<(String, DirId, Option<String>)>, IndexError> {
        let mut all = self
            .connection
            .prepare("SELECT name, root, identity FROM folder")?;
        let rows = all.query_map([], |row| Ok((row.get(0)?, DirId(row.get(1)?), row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn add_folder(&mut self, name: &str) -> Result<DirId, IndexError> {
        self.begin()?;
        let root = self.add_dir(None, name.as_bytes(), Identity::default())?;
        let sql = "INSERT INTO folder (name, root) VALUES (?1, ?2)";
        self.connection.execute(sql, params![name, root.0])?;
        Ok(root)
    }

    pub(crate) fn remove_folder(&mut self, name: &str) -> Result<(), IndexError> {
        self.begin()?;
        self.connection
            .execute("DELETE FROM folder WHERE name = ?1", params![name])?;
        Ok(())
    }

    /// Removes all entries and directories below `root`, and itself. Only before anybody reads.
    pub(crate) fn forget_below(&mut self, root: DirId) -> Result<(), IndexError> {
        self.begin()?;
        let mut dirs = vec![root];
        let mut next = 0;
        while let Some(dir) = dirs.get(next).copied() {
            let mut below = self
                .connection
                .prepare_cached("SELECT id FROM dir WHERE parent = ?1")?;
            let below = below.query_map(params![dir.0], |row| Ok(DirId(row.get(0)?)))?;
            dirs.extend(below.collect::<Result<Vec<_>, _>>()?);
            next += 1;
        }
        for dir in dirs {
            let mut ids = Vec::new();
            self.each_in(dir, |_, id, _| ids.push(id))?;
            for id in ids {
                self.remove_entry(id)?;
            }
            self.remove_dir(dir)?;
        }
        Ok(())
    }

    /// Hands directory, status, "is a duplicate" and size of every entry to `take`.
    pub(crate) fn each_size(
        &self,
        mut take: impl FnMut(DirId, Status, bool, u64),
    ) -> Result<(), IndexError> {
        let sql = "SELECT dir, status, duplicate_of IS NOT NULL, size FROM entry";
        let mut rows = self.connection.prepare(sql)?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let size: i64 = row.get(3)?;
            let status = status_from(row.get(1)?);
            take(
                DirId(row.get(0)?),
                status,
                row.get(2)?,
                size.cast_unsigned(),
            );
        }
        Ok(())
    }

    /// Hands status, "is a duplicate", number and bytes of the entries in `dir` that are alike to `take`.
    pub(crate) fn each_count(
        &self,
        dir: DirId,
        mut take: impl FnMut(Status, bool, u64, u64),
    ) -> Result<(), IndexError> {
        let sql = "SELECT status, duplicate_of IS NOT NULL, count(*), sum(size) FROM entry
                   WHERE dir = ?1 GROUP BY 1, 2";
        let mut rows = self.connection.prepare_cached(sql)?;
        let mut rows = rows.query(params![dir.0])?;
        while let Some(row) = rows.next()? {
            let (number, bytes): (i64, i64) = (row.get(2)?, row.get(3)?);
            take(
                status_from(row.get(0)?),
                row.get(1)?,
                number.cast_unsigned(),
                bytes.cast_unsigned(),
            );
        }
        Ok(())
    }

    /// Returns the entries that have `status`.
    pub(crate) fn entries_by_status(&self, status: Status) -> Result<Vec<EntryRow>, IndexError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE status = ?1");
        let mut find = self.connection.prepare_cached(&sql)?;
        let rows = find.query_map(params![status_to(status)], EntryRow::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn set_folder_identity(
        &mut self,
        name: &str,
        identity: &str,
    ) -> Result<(), IndexError> {
        self.begin()?;
        let sql = "UPDATE folder SET identity = ?2 WHERE name = ?1";
        self.connection.execute(sql, params![name, identity])?;
        Ok(())
    }

    /// Hands each directory to `take`, parents before children.
    pub(crate) fn each_dir(
        &self,
        mut take: impl FnMut(DirId, Option<DirId>, &[u8], Identity, bool),
    ) -> Result<(), IndexError> {
        let mut rows = self.connection.prepare(
            "WITH RECURSIVE below (id, parent, name, ino, born, mount) AS (
                 SELECT id, parent, name, ino, born, mount FROM dir WHERE id IN (SELECT root FROM folder)
                 UNION ALL
                 SELECT dir.id, dir.parent, dir.name, dir.ino, dir.born, dir.mount
                 FROM below JOIN dir ON dir.parent = below.id
             ) SELECT * FROM below",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let parent = row.get::<_, Option<u32>>(1)?.map(DirId);
            take(
                DirId(row.get(0)?),
                parent,
                row.get_ref(2)?.as_blob().unwrap_or(b""),
                read_identity(row, 3)?,
                row.get(5)?,
            );
        }
        Ok(())
    }

    pub(crate) fn add_dir(
        &mut self,
        parent: Option<DirId>,
        name: &[u8],
        identity: Identity,
    ) -> Result<DirId, IndexError> {
        self.begin()?;
        let id = DirId(self.next_dir);
        self.next_dir += 1;
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO dir VALUES (?1, ?2, ?3, ?4, ?5, 0)")?;
        let parent = parent.map(|parent| parent.0);
        insert.execute(params![
            id.0,
            parent,
            name,
            identity.ino.cast_signed(),
            identity.born
        ])?;
        Ok(id)
    }

    pub(crate) fn place_dir(
        &mut self,
        dir: DirId,
        parent: DirId,
        name: &[u8],
    ) -> Result<(), IndexError> {
        self.begin()?;
        let sql = "UPDATE dir SET parent = ?2, name = ?3 WHERE id = ?1";
        self.connection
            .prepare_cached(sql)?
            .execute(params![dir.0, parent.0, name])?;
        Ok(())
    }

    pub(crate) fn set_dir_identity(
        &mut self,
        dir: DirId,
        identity: Identity,
    ) -> Result<(), IndexError> {
        self.begin()?;
        let sql = "UPDATE dir SET ino = ?2, born = ?3 WHERE id = ?1";
        let mut update = self.connection.prepare_cached(sql)?;
        update.execute(params![dir.0, identity.ino.cast_signed(), identity.born])?;
        Ok(())
    }

    pub(crate) fn set_dir_mount(&mut self, dir: DirId, mount: bool) -> Result<(), IndexError> {
        self.begin()?;
        let sql = "UPDATE dir SET mount = ?2 WHERE id = ?1";
        self.connection
            .prepare_cached(sql)?
            .execute(params![dir.0, mount])?;
        Ok(())
    }

    /// Removes the row of one directory; its entries must be gone.
    pub(crate) fn remove_dir(&mut self, dir: DirId) -> Result<(), IndexError> {
        self.begin()?;
        self.connection
            .prepare_cached("DELETE FROM dir WHERE id = ?1")?
            .execute(params![dir.0])?;
        Ok(())
    }

    pub(crate) fn dirs_by_identity(&self, identity: Identity) -> Result<Vec<DirId>, IndexError> {
        let sql = "SELECT id FROM dir WHERE ino = ?1 AND born = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let rows = find.query_map(params![identity.ino.cast_signed(), identity.born], |row| {
            Ok(DirId(row.get(0)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
