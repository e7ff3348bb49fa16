//! The **index** on disk: SQLite in WAL mode, one writer (this), readers on connections of their own.
//!
//! Every change is part of a transaction that the caller ends with [`Index::commit`]; until then
//! readers see the state before. A damaged index is set aside under another name and made anew, an
//! index of a newer version is refused.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::disk::FileMeta;
use super::reconcile::EntryId;
use super::search::{BLOCK, Block, DUPLICATE};
use super::tree::{DirId, Identity};
use crate::events::types::Status;

/// Version of the schema, in `PRAGMA user_version`.
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = include_str!("schema/1.sql");
const SORTED: &str = include_str!("schema/sorted.sql");

/// Name of the database in the state directory.
pub(crate) const FILE_NAME: &str = "index.db";

/// Why the index cannot be used.
#[derive(Debug)]
pub enum IndexError {
    /// Another process has it.
    InUse(PathBuf),
    /// It was written by a newer Shelfcast.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// The state directory cannot be used.
    State {
        /// The directory or a file in it.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IndexError::InUse(path) => {
                write!(
                    f,
                    "the state directory {} is in use by another shelfcast",
                    path.display()
                )
            }
            IndexError::Newer { path, version } => write!(
                f,
                "the index {} has version {version}, this shelfcast knows {SCHEMA_VERSION}",
                path.display()
            ),
            IndexError::State { path, error } => {
                write!(
                    f,
                    "the state directory cannot be used: {}: {error}",
                    path.display()
                )
            }
            IndexError::Sqlite(error) => write!(f, "the index cannot be used: {error}"),
        }
    }
}

impl std::error::Error for IndexError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IndexError::State { error, .. } => Some(error),
            IndexError::Sqlite(error) => Some(error),
            IndexError::InUse(_) | IndexError::Newer { .. } => None,
        }
    }
}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> IndexError {
        IndexError::Sqlite(error)
    }
}

impl IndexError {
    /// Says what to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            IndexError::InUse(_) => "stop the other one, or give this one its own --state DIR",
            IndexError::Newer { .. } => {
                "install that version again, or move the index away: it is rebuilt from disk, with new ids"
            }
            IndexError::State { .. } => {
                "make the directory writable for this user, or choose another with --state DIR"
            }
            IndexError::Sqlite(_) => "check that its disk is not full and can be written",
        }
    }

    /// Tells whether two entries were to have one name.
    pub(crate) fn is_conflict(&self) -> bool {
        let IndexError::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else {
            return false;
        };
        error.code == ErrorCode::ConstraintViolation
    }

    /// Tells whether the database itself is broken.
    pub(crate) fn is_damage(&self) -> bool {
        let IndexError::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else {
            return false;
        };
        matches!(
            error.code,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
        )
    }
}

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

fn read_identity(row: &Row<'_>, at: usize) -> rusqlite::Result<Identity> {
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

/// The writer.
#[derive(Debug)]
pub(crate) struct Index {
    connection: Connection,
    directory: PathBuf,
    next_entry: i64,
    next_dir: u32,
    /// Blocks that the open transaction changed.
    blocks: HashMap<i64, Block>,
    in_transaction: bool,
    /// Held while we live: a second process gets [`IndexError::InUse`].
    _lock: File,
}

/// How the index was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// As it was left, or empty at the first start.
    Usable,
    /// Damaged, kept aside at this path, begun anew.
    SetAside(PathBuf),
}

impl Index {
    /// Opens the index in `directory`, which is made if need be.
    pub(crate) fn open(directory: &Path) -> Result<(Index, Found), IndexError> {
        let state = |path: &Path, error| IndexError::State {
            path: path.to_path_buf(),
            error,
        };
        std::fs::create_dir_all(directory).map_err(|error| state(directory, error))?;
        let lock_path = directory.join("lock");
        let lock = File::options().create(true).append(true).open(&lock_path);
        let lock = lock.map_err(|error| state(&lock_path, error))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(IndexError::InUse(directory.to_path_buf()));
            }
            // A file system without locks: SQLite would say the same, more darkly.
            Err(error) => log::warn!("cannot lock {}: {error}", lock_path.display()),
        }
        Index::open_locked(directory, lock)
    }

    fn open_locked(directory: &Path, lock: File) -> Result<(Index, Found), IndexError> {
        let path = directory.join(FILE_NAME);
        let (connection, found) = match connect(&path) {
            Ok(connection) => (connection, Found::Usable),
            Err(error) if error.is_damage() => {
                let aside = set_aside(&path).map_err(|error| IndexError::State {
                    path: path.clone(),
                    error,
                })?;
                let connection = connect(&path)?;
                connection.execute(
                    "INSERT OR REPLACE INTO meta VALUES ('next_entry', ?1)",
                    params![first_id_after_damage()],
                )?;
                (connection, Found::SetAside(aside))
            }
            Err(error) => return Err(error),
        };
        let highest = "SELECT coalesce(max(id), 0) + 1 FROM ";
        let after_highest: i64 =
            connection.query_row(&format!("{highest} entry"), [], |row| row.get(0))?;
        let next_dir = connection.query_row(&format!("{highest} dir"), [], |row| row.get(0))?;
        let index = Index {
            next_entry: meta(&connection, "next_entry")?
                .unwrap_or(1)
                .max(after_highest),
            next_dir,
            connection,
            directory: directory.to_path_buf(),
            blocks: HashMap::new(),
            in_transaction: false,
            _lock: lock,
        };
        Ok((index, found))
    }

    /// Keeps a damaged index aside and begins a new one; returns where the old one is.
    pub(crate) fn replace(&mut self) -> Result<PathBuf, IndexError> {
        let path = self.directory.join(FILE_NAME);
        // Nothing may hold the files while they are renamed.
        self.connection = Connection::open_in_memory()?;
        let aside = set_aside(&path).map_err(|error| IndexError::State {
            path: path.clone(),
            error,
        })?;
        self.connection = connect(&path)?;
        self.in_transaction = false;
        self.blocks.clear();
        self.next_dir = 1;
        self.next_entry = self.next_entry.max(first_id_after_damage());
        Ok(aside)
    }

    /// Begins a transaction unless one is open.
    pub(crate) fn begin(&mut self) -> Result<(), IndexError> {
        if !self.in_transaction {
            self.connection
                .prepare_cached("BEGIN IMMEDIATE")?
                .execute([])?;
            self.in_transaction = true;
        }
        Ok(())
    }

    /// Tells whether a transaction is open.
    pub(crate) fn is_changed(&self) -> bool {
        self.in_transaction
    }

    /// Ends the open transaction, and with it writes the `version` of the index; tells whether there
    /// was one.
    pub(crate) fn commit(&mut self, version: u64) -> Result<bool, IndexError> {
        if !self.in_transaction {
            return Ok(false);
        }
        for (number, block) in self.blocks.drain() {
            if block.is_empty() {
                let mut delete = self
                    .connection
                    .prepare_cached("DELETE FROM block WHERE id = ?1")?;
                delete.execute(params![number])?;
            } else {
                let mut put = self
                    .connection
                    .prepare_cached("INSERT OR REPLACE INTO block VALUES (?1, ?2)")?;
                put.execute(params![number, block.encode()])?;
            }
        }
        self.set_meta("next_entry", self.next_entry)?;
        self.set_meta("version", version.cast_signed())?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.in_transaction = false;
        Ok(true)
    }

    /// Undoes the open transaction.
    pub(crate) fn rollback(&mut self) {
        self.blocks.clear();
        if std::mem::take(&mut self.in_transaction)
            && !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            log::warn!("the index could not roll back: {error}");
        }
    }

    pub(crate) fn meta(&self, key: &str) -> Result<Option<i64>, IndexError> {
        Ok(meta(&self.connection, key)?)
    }

    /// Sets a value within the open transaction.
    pub(crate) fn set_meta(&self, key: &str, value: i64) -> Result<(), IndexError> {
        let mut put = self
            .connection
            .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
        put.execute(params![key, value])?;
        Ok(())
    }

    /// Tells whether there is no entry at all.
    pub(crate) fn is_empty(&self) -> Result<bool, IndexError> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM entry)";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Drops the indexes that are quicker made at once; only while the index is empty.
    pub(crate) fn prepare_bulk(&mut self) -> Result<(), IndexError> {
        self.begin()?;
        for line in SORTED.lines() {
            if let Some(name) = line
                .split(' ')
                .nth(5)
                .filter(|_| line.starts_with("CREATE"))
            {
                self.connection
                    .execute_batch(&format!("DROP INDEX IF EXISTS {name}"))?;
            }
        }
        Ok(())
    }

    /// Makes the indexes that [`prepare_bulk`](Self::prepare_bulk) dropped; cheap if they are there.
    pub(crate) fn finish_bulk(&mut self) -> Result<(), IndexError> {
        // Sorting happens in `cache_size` of memory and temporary files.
        self.connection.execute_batch(SORTED)?;
        Ok(())
    }

    /// Moves what was committed from the log into the database, so that the log does not grow.
    pub(crate) fn checkpoint(&self) -> Result<(), IndexError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Returns the size of the log. Once all of it was moved over, the next commit begins it anew and
    /// cuts it to `journal_size_limit`.
    pub(crate) fn log_bytes(&self) -> u64 {
        let mut path = self.directory.join(FILE_NAME).into_os_string();
        path.push("-wal");
        std::fs::metadata(path).map_or(0, |log| log.len())
    }

    // Folders and directories.

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

    // Entries.

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

    /// Returns the entries that have `fingerprint`, lowest id first.
    pub(crate) fn entries_by_fingerprint(
        &self,
        fingerprint: &[u8; 32],
    ) -> Result<Vec<EntryRow>, IndexError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE fingerprint = ?1 ORDER BY id");
        let mut find = self.connection.prepare_cached(&sql)?;
        let rows = find.query_map(params![fingerprint], EntryRow::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn block(&mut self, id: i64) -> Result<&mut Block, IndexError> {
        let number = id.div_euclid(BLOCK);
        match self.blocks.entry(number) {
            std::collections::hash_map::Entry::Occupied(block) => Ok(block.into_mut()),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let mut find = self
                    .connection
                    .prepare_cached("SELECT entries FROM block WHERE id = ?1")?;
                let stored = find
                    .query_row(params![number], |row| {
                        Ok(row
                            .get_ref(0)?
                            .as_blob()
                            .map(Block::decode)
                            .unwrap_or_default())
                    })
                    .optional()?;
                Ok(vacant.insert(stored.unwrap_or_default()))
            }
        }
    }
}

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

fn connect(path: &Path) -> Result<Connection, IndexError> {
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

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row(params![key], |row| row.get(0))
        .optional()
}

/// Renames a damaged database and what belongs to it; returns where it is now.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
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
fn first_id_after_damage() -> i64 {
    now_s().saturating_mul(1000)
}

fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
