//! The **library**: the index of all folders' entries, kept equal to the disk.
//!
//! One thread (`library`) owns the index; see `keeper` for its promises. [`Library`] is the handle
//! for everybody else: queries read the index on connections of their own, all else is a command.

mod apart;
mod crawl;
mod delta;
mod disk;
mod figures;
mod folder;
mod index;
mod items;
mod keeper;
mod mounts;
pub mod query;
mod reconcile;
mod search;
mod tree;
mod view;
mod walk;
pub mod work;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

pub use self::index::IndexError;
use self::index::{Found, Index};
use self::keeper::{Command, Keeper, KeptFolder, Parts};
pub use self::reconcile::EntryId;
use self::tree::DirId;
pub use self::view::{Counts, CrawlStats};
use self::view::{Shared, View};
use crate::config::FolderConfig;
use crate::events::Broadcaster;
use crate::events::types::WatcherStatus;
use crate::glob::Selection;
use crate::thread;
use crate::watch::Watch;

/// Commands under way; who asks waits while it is full.
const COMMANDS: usize = 256;

/// What the library needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The state directory.
    pub state: PathBuf,
    /// The folders, checked.
    pub folders: Vec<FolderConfig>,
    /// Longest time between two looks at a directory that is polled.
    pub poll: Duration,
    /// Automatic work is on, unless it was switched while the service ran.
    pub automatic: bool,
}

/// Why the library could not be started.
#[derive(Debug)]
pub enum LibraryError {
    /// The index cannot be used.
    Index(IndexError),
    /// No thread or descriptor could be had.
    System(std::io::Error),
}

impl std::fmt::Display for LibraryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LibraryError::Index(error) => error.fmt(f),
            LibraryError::System(error) => write!(f, "the library could not be started: {error}"),
        }
    }
}

impl std::error::Error for LibraryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LibraryError::Index(error) => Some(error),
            LibraryError::System(error) => Some(error),
        }
    }
}

impl From<IndexError> for LibraryError {
    fn from(error: IndexError) -> LibraryError {
        LibraryError::Index(error)
    }
}

impl From<std::io::Error> for LibraryError {
    fn from(error: std::io::Error) -> LibraryError {
        LibraryError::System(error)
    }
}

/// Figures of `GET /api/cache/stats`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Version of the index.
    pub version: u64,
    /// Entries.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes of all entries.
    pub bytes: u64,
    /// The last complete crawl of this life of the service.
    pub last_crawl: Option<CrawlStats>,
    /// A crawl runs.
    pub crawling: bool,
}

/// The handle of the library; dropping it stops it.
#[derive(Debug)]
pub struct Library {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    /// Taken by whoever stops the library.
    thread: Mutex<Option<thread::Handle>>,
}

impl Library {
    /// Opens the index and starts the crawl in the background; what the index has can be asked for
    /// at once. The receiver has a token whenever there may be new work for processing.
    ///
    /// # Errors
    /// The index cannot be used, or the system has no thread for it.
    pub fn start(
        settings: Settings,
        events: Broadcaster,
    ) -> Result<(Library, Receiver<()>), LibraryError> {
        let (index, found) = Index::open(&settings.state)?;
        let barrier_directory = barrier_directory(&settings.state)?;
        let enabled = index
            .meta("enabled")?
            .map_or(settings.automatic, |value| value != 0);
        let shared = Arc::new(Shared::new(
            View::new(enabled),
            settings.state,
            events.clone(),
        ));
        let watch = Arc::new(Watch::start()?);
        let crawler = crawl::Crawler::start(Arc::clone(&watch))?;
        let disks = apart::Apart::start("disk", 128 * 1024, 1)?;
        let (commands, inbox) = bounded(COMMANDS);
        let (work, work_told) = bounded(1);
        let mut keeper = Keeper::new(Parts {
            index,
            shared: Arc::clone(&shared),
            watch,
            crawler,
            disks,
            commands: inbox,
            work,
            barrier_directory,
            poll: settings.poll,
            folders: settings.folders.into_iter().map(kept).collect(),
        });
        keeper.load()?;
        if let Found::SetAside(aside) = found {
            keeper.tell_set_aside(&aside);
        }
        // SQLite's deepest calls need about 100 KiB; sorting for an index somewhat more.
        let thread = thread::spawn("library", 1024 * 1024, move || keeper.run())?;
        let library = Library {
            shared,
            commands,
            thread: Mutex::new(Some(thread)),
        };
        Ok((library, work_told))
    }

    /// Crawls everything again, in the background.
    pub fn rebuild(&self) {
        self.send(Command::Rebuild);
    }

    /// Waits until every change made on the disk before this call is in the index and its events
    /// are published; returns the version of the index and the id of the last event, or `None`
    /// after `timeout`.
    #[must_use]
    pub fn sync(&self, timeout: Duration) -> Option<(u64, String)> {
        let (reply, answer) = bounded(1);
        self.send(Command::Sync(reply));
        answer.recv_timeout(timeout).ok()?;
        let view = self.shared.read();
        Some((view.version, self.shared.events.last_event_id().to_string()))
    }

    /// Lets everybody who waits in [`sync`](Library::sync) go without an answer.
    pub fn give_up_syncs(&self) {
        self.send(Command::GiveUpSyncs);
    }

    /// Switches automatic work; returns when that will survive a restart.
    pub fn set_enabled(&self, enabled: bool) {
        let (reply, answer) = bounded(1);
        self.send(Command::SetEnabled(enabled, reply));
        if answer.recv().is_err() {
            log::warn!("automatic work could not be switched: the index cannot be written");
        }
    }

    /// Says why the index cannot be written, while that is so.
    #[must_use]
    pub fn storage_failure(&self) -> Option<String> {
        self.shared.read().storage_failure.clone()
    }

    /// Tells whether automatic work is on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.shared.read().enabled
    }

    /// Takes the disk that is at the folder's path for its own; false if there is no such folder.
    #[must_use]
    pub fn accept(&self, folder: &str) -> bool {
        let (reply, answer) = bounded(1);
        self.send(Command::Accept(folder.to_owned(), reply));
        answer.recv().unwrap_or(false)
    }

    /// Returns the state of the watcher.
    #[must_use]
    pub fn watcher_status(&self) -> WatcherStatus {
        self.shared.read().status.clone()
    }

    /// Tells whether there is a folder of this name.
    #[must_use]
    pub fn has_folder(&self, name: &str) -> bool {
        self.shared.read().folder(name).is_some()
    }

    /// Returns the figures of the index.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let view = self.shared.read();
        Stats {
            version: view.version,
            files: view.counts().all,
            directories: view.tree.len() as u64,
            bytes: view.folders.iter().map(|folder| folder.bytes).sum(),
            last_crawl: view.last_crawl,
            crawling: view.crawling,
        }
    }

    /// Tells whether the library's thread answers within `timeout`.
    #[must_use]
    pub fn is_alive(&self, timeout: Duration) -> bool {
        let (reply, answer) = bounded(1);
        self.commands
            .send_timeout(Command::Ping(reply), timeout)
            .is_ok()
            && answer.recv_timeout(timeout).is_ok()
    }

    /// Ends the threads and writes what is still to be written; returns when that is done. Commands
    /// that come later are lost.
    pub fn stop(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            self.send(Command::Stop);
            drop(thread);
        }
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            log::warn!("the library has stopped, a command is lost");
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.stop();
    }
}

fn kept(folder: FolderConfig) -> KeptFolder {
    // The configuration has been checked, so its globs parse.
    let selection = Selection::new(&folder.include, &folder.ignore).unwrap_or_default();
    KeptFolder {
        name: folder.name,
        path: Arc::new(folder.path),
        selection: Arc::new(selection),
        root: DirId(0), // set when the index is loaded
        disk: None,
        root_info: None,
        away: None,
        left_behind: Vec::new(),
        polled_because: None,
        unreadable: std::collections::BTreeMap::new(),
        unmounted: std::collections::BTreeMap::new(),
    }
}

/// Where files are made and removed at once to order notices: in memory where systemd gives a
/// runtime directory, so that nothing is written to a flash card.
fn barrier_directory(state: &std::path::Path) -> Result<PathBuf, IndexError> {
    let base = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    let directory = base
        .filter(|base| base.is_dir())
        .unwrap_or_else(|| state.to_path_buf());
    let directory = directory.join("barrier");
    std::fs::create_dir_all(&directory).map_err(|error| IndexError::State {
        path: directory.clone(),
        error,
    })?;
    Ok(directory)
}
