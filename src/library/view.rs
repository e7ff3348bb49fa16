//! What the library's thread shares with those who ask: directories, counts, states.
//!
//! The library's thread alone changes the view, under its lock and only for a few lines. A query
//! holds the lock for reading while it runs, so that names and rows belong together.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::index::{self, EntryRow, IndexError};
use super::reconcile::EntryId;
use super::tree::{DirId, Tree};
use crate::events::Broadcaster;
use crate::events::types::{Entry, Status, WatchState, WatcherStatus};

/// Numbers of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In all.
    pub all: u64,
    /// Not processed yet, or changed since.
    pub unprocessed: u64,
    /// A worker has them.
    pub processing: u64,
    /// Done.
    pub processed: u64,
    /// The last attempt failed.
    pub failed: u64,
    /// Another entry with a lower id has the same content.
    pub duplicate: u64,
}

impl Counts {
    /// Counts one entry in.
    pub(crate) fn add(&mut self, status: Status, duplicate: bool) {
        self.all += 1;
        *self.of(status) += 1;
        self.duplicate += u64::from(duplicate);
    }

    /// Counts one entry out.
    pub(crate) fn subtract(&mut self, status: Status, duplicate: bool) {
        self.all = self.all.saturating_sub(1);
        let of = self.of(status);
        *of = of.saturating_sub(1);
        self.duplicate = self.duplicate.saturating_sub(u64::from(duplicate));
    }

    /// Adds another count.
    pub(crate) fn merge(&mut self, other: &Counts) {
        self.all += other.all;
        self.unprocessed += other.unprocessed;
        self.processing += other.processing;
        self.processed += other.processed;
        self.failed += other.failed;
        self.duplicate += other.duplicate;
    }

    fn of(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::Unprocessed => &mut self.unprocessed,
            Status::Processing => &mut self.processing,
            Status::Processed => &mut self.processed,
            Status::Failed => &mut self.failed,
        }
    }
}

/// One folder as others see it.
#[derive(Debug)]
pub(crate) struct FolderView {
    pub(crate) name: String,
    pub(crate) root: DirId,
    pub(crate) path: Arc<PathBuf>,
    pub(crate) counts: Counts,
    pub(crate) bytes: u64,
    pub(crate) online: bool,
}

/// The last complete crawl.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrawlStats {
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Entries that it saw.
    pub files: u64,
}

/// All that is shared.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) tree: Tree,
    pub(crate) folders: Vec<FolderView>,
    /// Version that the last `cache_updated` carried.
    pub(crate) version: u64,
    /// The tree is ahead of the rows that a reader sees: a directory has moved or gone, and the commit
    /// that says so is still to come.
    pub(crate) unpublished: bool,
    pub(crate) crawling: bool,
    pub(crate) last_crawl: Option<CrawlStats>,
    /// Times that the kernel lost notices.
    pub(crate) overflows: u64,
    pub(crate) status: WatcherStatus,
    /// Why the index cannot be written, while that is so.
    pub(crate) storage_failure: Option<String>,
    /// Automatic work is on.
    pub(crate) enabled: bool,
    /// Why entries wait, where it is not just their turn.
    pub(crate) waiting: HashMap<EntryId, String>,
    /// Entries whose writer was seen to finish, and that are not processed yet.
    pub(crate) finished: HashSet<EntryId>,
}

impl View {
    pub(crate) fn new(enabled: bool) -> View {
        View {
            tree: Tree::default(),
            folders: Vec::new(),
            version: 0,
            unpublished: false,
            crawling: false,
            last_crawl: None,
            overflows: 0,
            status: WatcherStatus {
                running: false,
                enabled,
                state: WatchState::Crawling,
                directories: 0,
                watched: 0,
                polled: 0,
                folders: Vec::new(),
            },
            storage_failure: None,
            enabled,
            waiting: HashMap::new(),
            finished: HashSet::new(),
        }
    }

    /// Returns the numbers of all folders together.
    pub(crate) fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for folder in &self.folders {
            all.merge(&folder.counts);
        }
        all
    }

    pub(crate) fn folder(&self, name: &str) -> Option<&FolderView> {
        self.folders.iter().find(|folder| folder.name == name)
    }

    /// Returns `row` as the outside sees it; `None` if its directory has just gone.
    pub(crate) fn entry(&self, row: &EntryRow) -> Option<Entry> {
        let dir = self.tree.get(row.dir)?;
        let mut path = self.tree.full_path(row.dir);
        path.extend_from_slice(&row.name);
        Some(Entry {
            id: row.id.0,
            path: String::from_utf8_lossy(&path).into_owned(),
            name: String::from_utf8_lossy(&row.name).into_owned(),
            folder: self.folders.get(dir.folder)?.name.clone(),
            size: row.meta.size,
            modified: seconds(row.meta.modified),
            status: row.status,
            error: row.error.clone(),
            fingerprint: row.fingerprint.map(|hash| hex(&hash)),
            duplicate_of: row.duplicate_of.map(|id| id.0),
            processed_at: row.processed_at.map(seconds),
            waiting: self.waiting_of(row, dir.folder),
        })
    }

    fn waiting_of(&self, row: &EntryRow, folder: usize) -> Option<String> {
        if row.status != Status::Unprocessed {
            return None;
        }
        let online = self.folders.get(folder).is_some_and(|folder| folder.online);
        let reason = match self.waiting.get(&row.id) {
            _ if !online => "the folder is offline",
            _ if !self.enabled => "watcher is off",
            Some(reason) => reason,
            None => "queued",
        };
        Some(reason.to_owned())
    }
}

/// Unix seconds of a time in nanoseconds. Microseconds are kept for any date of this century.
pub(crate) fn seconds(nanoseconds: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "JSON numbers are doubles")]
    let micros = (nanoseconds / 1000) as f64;
    micros / 1e6
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The view, the connections of those who ask, and the events that changes become.
#[derive(Debug)]
pub(crate) struct Shared {
    view: RwLock<View>,
    /// Signalled when `View::unpublished` becomes false.
    published: (Mutex<()>, Condvar),
    /// Those who wait for that: nothing more is committed before its event while there are any.
    waiting: AtomicUsize,
    readers: Mutex<Readers>,
    directory: PathBuf,
    pub(crate) events: Broadcaster,
}

/// Idle connections; those of an older generation belong to an index that was replaced.
#[derive(Debug, Default)]
struct Readers {
    generation: u64,
    idle: Vec<Connection>,
}

/// Connections kept open between requests: 1 MiB of page cache each at most.
const IDLE_READERS: usize = 4;
/// Time between two looks whether everything belongs together, and their number: 5 s in all.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const MOST_LOOKS: usize = 250;

impl Shared {
    pub(crate) fn new(view: View, directory: PathBuf, events: Broadcaster) -> Shared {
        Shared {
            view: RwLock::new(view),
            published: (Mutex::new(()), Condvar::new()),
            waiting: AtomicUsize::new(0),
            readers: Mutex::default(),
            directory,
            events,
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the library's thread alone.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the view at a moment when tree, rows and the id of the last event belong together. That
    /// is nearly always; it waits for the next event where changes come faster than events may, and
    /// gives up only where none comes although it should: the deltas put right what is then amiss.
    pub(crate) fn read_published(&self) -> RwLockReadGuard<'_, View> {
        let mut view = self.read();
        if !view.unpublished {
            return view;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // Counted, not timed: a process that was halted has not waited.
        for _ in 0..MOST_LOOKS {
            drop(view);
            let (lock, signal) = &self.published;
            let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
            // The bound is for a signal that came between: the next round looks again.
            drop(signal.wait_timeout(guard, LOOK_AGAIN));
            view = self.read();
            if !view.unpublished {
                break;
            }
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        view
    }

    /// Tells whether somebody waits for what is committed to be published.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn signal_published(&self) {
        self.published.1.notify_all();
    }

    /// Runs `query` on a connection for reading.
    pub(crate) fn query<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let (generation, connection) = {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            (readers.generation, readers.idle.pop())
        };
        let connection = match connection {
            Some(connection) => connection,
            None => index::open_reader(&self.directory)?,
        };
        let result = query(&connection);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_ok() && readers.generation == generation && readers.idle.len() < IDLE_READERS {
            readers.idle.push(connection);
        }
        result
    }

    /// Forgets the connections to an index that was replaced.
    pub(crate) fn forget_readers(&self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.generation += 1;
        readers.idle.clear();
    }
}
