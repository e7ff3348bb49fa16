//! The **index** on disk: SQLite in WAL mode, one writer (this), readers on connections of their own.
//!
//! Every change is part of a transaction that the caller ends with [`Index::commit`]; until then
//! readers see the state before. A damaged index is set aside under another name and made anew, an
//! index of a newer version is refused.

mod dirs;
mod entries;
mod error;
mod opening;
mod rows;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::after;
use rusqlite::{Connection, OptionalExtension, params};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

pub use self::error::IndexError;
pub(crate) use self::opening::open_reader;
use self::opening::{connect, first_id_after_damage, meta};
pub(crate) use self::rows::{COLUMNS, EntryRow, status_from, status_to};
use super::search::{BLOCK, Block};
use crate::sqlite::set_aside;

/// Version of the schema, in `PRAGMA user_version`.
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = include_str!("../schema/1.sql");
/// The log is moved over once it is this large: a first crawl of a million files writes 15 times as
/// much.
pub(crate) const LARGEST_LOG_BYTES: u64 = 16 * 1024 * 1024;
const SORTED: &str = include_str!("../schema/sorted.sql");

/// Name of the database in the state directory.
pub(crate) const FILE_NAME: &str = "index.db";

/// Ids that are reserved at once; each reservation waits for the disk. After a kill the rest is lost.
const RESERVE: i64 = 16_384;

/// The writer.
#[derive(Debug)]
pub(crate) struct Index {
    connection: Connection,
    directory: PathBuf,
    next_entry: i64,
    /// Ids below this are on the disk as given.
    reserved: i64,
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
        take_lock(&lock).map_err(|error| match error {
            Errno::WOULDBLOCK => IndexError::InUse(directory.to_path_buf()),
            other => state(&lock_path, other.into()),
        })?;
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
        let next_entry = meta(&connection, "next_entry")?.unwrap_or(1);
        let index = Index {
            next_entry: next_entry.max(after_highest),
            reserved: next_entry,
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
        self.reserved = 0;
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
        let reserves = self.next_entry > self.reserved;
        let reserved = self.next_entry + RESERVE;
        if reserves {
            self.set_meta("next_entry", reserved)?;
        }
        self.set_meta("version", version.cast_signed())?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.in_transaction = false;
        if reserves {
            self.reserved = reserved;
            self.sync_log()?;
        }
        Ok(true)
    }

    /// Returns the ids that were reserved and not given, at a clean end.
    pub(crate) fn give_back_ids(&mut self) -> Result<(), IndexError> {
        if self.next_entry < self.reserved {
            self.begin()?;
            self.reserved = self.next_entry;
            self.set_meta("next_entry", self.reserved)?;
        }
        Ok(())
    }

    /// Waits until the log is on the disk. A power cut may take the last commits, which is harmless,
    /// but not the knowledge which ids were given: those are told as soon as they are committed.
    fn sync_log(&self) -> Result<(), IndexError> {
        let path = self.directory.join(format!("{FILE_NAME}-wal"));
        let synced = File::open(&path).and_then(|log| log.sync_data());
        synced.map_err(|error| IndexError::State { path, error })
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
        // Sorting happens in `cache_size` of memory and temporary files. One by one, so that the log
        // holds one of them at a time.
        for statement in SORTED.lines().filter(|line| line.starts_with("CREATE")) {
            self.connection.execute_batch(statement)?;
            if self.log_bytes() > LARGEST_LOG_BYTES {
                self.checkpoint()?;
            }
        }
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

/// Locks the state directory for this process (flock(2)).
///
/// Waits a moment for a service that was killed: the kernel may still be taking it apart, or it was
/// just starting a processor, which has the file open until it becomes that program.
fn take_lock(lock: &File) -> Result<(), Errno> {
    const TRIES: usize = 40;
    let lock = || rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive);
    for _ in 1..TRIES {
        match lock() {
            Err(Errno::WOULDBLOCK) => drop(after(Duration::from_millis(50)).recv()),
            other => return other,
        }
    }
    lock()
}
