//! What an **event** says: the wire types of contract section 3.
//!
//! These are types of the outside: names and shapes are relied upon by pages and scripts, so they
//! belong to nobody inside and are filled in by whoever publishes.

use serde::Serialize;

/// One published message, before it has an id.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// Entries were added, changed or removed, or a rebuild began or ended.
    CacheUpdated(CacheUpdated),
    /// The state of the watcher or of a folder changed.
    WatcherStatus(WatcherStatus),
    /// An entry was processed.
    FileProcessed(FileProcessed),
    /// A job moved on.
    JobUpdated(JobUpdated),
    /// Something that an owner must act on.
    Error(ErrorEvent),
}

/// The name of an event's type on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// `cache_updated`
    CacheUpdated,
    /// `watcher_status`
    WatcherStatus,
    /// `file_processed`
    FileProcessed,
    /// `job_updated`
    JobUpdated,
    /// `error`
    Error,
    /// `reset`
    Reset,
}

impl Event {
    /// Returns the type that names this event on the wire.
    #[must_use]
    pub fn kind(&self) -> EventType {
        match self {
            Event::CacheUpdated(_) => EventType::CacheUpdated,
            Event::WatcherStatus(_) => EventType::WatcherStatus,
            Event::FileProcessed(_) => EventType::FileProcessed,
            Event::JobUpdated(_) => EventType::JobUpdated,
            Event::Error(_) => EventType::Error,
        }
    }

    /// Tells whether the event bypasses the limit of a client's queue: it is about the service
    /// itself, or the last word on a job.
    #[must_use]
    pub fn is_priority(&self) -> bool {
        match self {
            Event::WatcherStatus(_) | Event::Error(_) => true,
            Event::JobUpdated(job) => job.status.has_ended(),
            Event::CacheUpdated(_) | Event::FileProcessed(_) => false,
        }
    }
}

impl EventType {
    /// Every type, in the order of the contract.
    pub const ALL: [EventType; 6] = [
        EventType::CacheUpdated,
        EventType::WatcherStatus,
        EventType::FileProcessed,
        EventType::JobUpdated,
        EventType::Error,
        EventType::Reset,
    ];

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EventType::CacheUpdated => "cache_updated",
            EventType::WatcherStatus => "watcher_status",
            EventType::FileProcessed => "file_processed",
            EventType::JobUpdated => "job_updated",
            EventType::Error => "error",
            EventType::Reset => "reset",
        }
    }

    /// Returns the type called `name` on the wire.
    #[must_use]
    pub fn from_name(name: &str) -> Option<EventType> {
        EventType::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl JobStatus {
    /// Tells whether nothing more will happen to the job.
    #[must_use]
    pub fn has_ended(self) -> bool {
        match self {
            JobStatus::Queued | JobStatus::Running => false,
            JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => true,
        }
    }
}

/// An entry as the outside sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Names the entry; survives renames, never reused.
    pub id: i64,
    /// Starts with the folder's name; bytes that are not UTF-8 show as U+FFFD.
    pub path: String,
    /// Last component of the path.
    pub name: String,
    /// Name of the folder.
    pub folder: String,
    /// Length in bytes.
    pub size: u64,
    /// Modification time, Unix seconds.
    pub modified: f64,
    /// Where it stands in processing.
    pub status: Status,
    /// Why it failed.
    pub error: Option<String>,
    /// BLAKE3 of the content, hexadecimal.
    pub fingerprint: Option<String>,
    /// The entry with the lowest id that has the same content.
    pub duplicate_of: Option<i64>,
    /// When it was processed, Unix seconds.
    pub processed_at: Option<f64>,
    /// Why it is not processed yet, in words.
    pub waiting: Option<String>,
}

/// Where an entry stands in processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not yet, or changed since.
    Unprocessed,
    /// A worker has it.
    Processing,
    /// Done.
    Processed,
    /// The last attempt failed.
    Failed,
}

/// Data of `cache_updated`. At most 50 entries in the three lists together; beyond that the lists
/// are empty and `truncated` is true.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CacheUpdated {
    /// False only on the event that opens a rebuild.
    pub rebuild_complete: bool,
    /// What happened, in words.
    pub message: String,
    /// Version of the index after this change.
    pub version: u64,
    /// Entries in the index after this change.
    pub total: u64,
    /// Entries that are new.
    pub added: Vec<Entry>,
    /// Entries that differ.
    pub changed: Vec<Entry>,
    /// Ids of entries that are gone.
    pub removed: Vec<i64>,
    /// The lists would have been too long: read the snapshot again.
    pub truncated: bool,
}

/// Data of `watcher_status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WatcherStatus {
    /// The watcher's thread is alive.
    pub running: bool,
    /// Automatic work is on.
    pub enabled: bool,
    /// The worst state of a folder, or `paused`.
    pub state: WatchState,
    /// Known directories.
    pub directories: u64,
    /// Of these, watched by the kernel.
    pub watched: u64,
    /// Of these, polled.
    pub polled: u64,
    /// Each folder.
    pub folders: Vec<FolderStatus>,
}

/// How a folder's changes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchState {
    /// Being read from disk.
    Crawling,
    /// The kernel tells of every change.
    Watching,
    /// Some directories are polled or could not be read.
    Degraded,
    /// Automatic work is off.
    Paused,
    /// The folder is away; its entries are kept.
    Offline,
}

/// One folder in `watcher_status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FolderStatus {
    /// The folder's name.
    pub name: String,
    /// How its changes are found.
    pub state: WatchState,
    /// Known directories.
    pub directories: u64,
    /// Of these, watched.
    pub watched: u64,
    /// Of these, polled.
    pub polled: u64,
    /// What is wrong and what to do, if anything is.
    pub message: Option<String>,
}

/// Data of `file_processed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileProcessed {
    /// The entry.
    pub file: i64,
    /// Its path, starting with the folder's name.
    pub filepath: String,
    /// Its name.
    pub filename: String,
    /// Whether every processor succeeded.
    pub success: bool,
    /// Why not.
    pub error: Option<String>,
    /// The processor that failed, or the last that ran.
    pub processor: String,
    /// Time that all processors took.
    pub duration_ms: u64,
}

/// Data of `job_updated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobUpdated {
    /// The job.
    pub job_id: String,
    /// `process` or `verify`.
    pub action: String,
    /// Where the job stands.
    pub status: JobStatus,
    /// How far it is.
    pub progress: Progress,
    /// The path it works on.
    pub current_file: Option<String>,
    /// Estimated time left, seconds.
    pub eta_s: Option<u64>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Waits for a worker.
    Queued,
    /// Works.
    Running,
    /// Went through all items.
    Completed,
    /// Could not go on.
    Failed,
    /// Was cancelled.
    Cancelled,
}

impl JobStatus {
    /// Returns the word that stands for it on the wire and in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            JobStatus::Queued => "queued",
            JobStatus::Running => "running",
            JobStatus::Completed => "completed",
            JobStatus::Failed => "failed",
            JobStatus::Cancelled => "cancelled",
        }
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Items done, failures included.
    pub current: u64,
    /// Items in all.
    pub total: u64,
    /// 0 to 100.
    pub percent: u8,
    /// Items that failed.
    pub failed: u64,
}

/// Data of `error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorEvent {
    /// A word for scripts, such as `watch_limit`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The folder concerned.
    pub folder: Option<String>,
}
