//! The **history** of results: what was done with an entry, when, and how it went.

use super::job::{Action, JobId};
use crate::library::EntryId;

/// One attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its place in the history: grows with every result, never reused. 0 until it is kept.
    pub number: i64,
    /// The entry.
    pub entry: EntryId,
    /// Name of its folder.
    pub folder: String,
    /// Path of the entry at that time, starting with the folder's name.
    pub path: String,
    /// What was done.
    pub action: Action,
    /// The processor that failed, or the last that ran.
    pub processor: String,
    /// Why it failed; none is success.
    pub error: Option<String>,
    /// Exit status of the processor's command, where it has one.
    pub exit_status: Option<i32>,
    /// Time that all processors took.
    pub duration_ms: u64,
    /// The end of what the command said, where it failed.
    pub output: Option<String>,
    /// When it ended, nanoseconds since 1970.
    pub at: i64,
    /// The job that asked for it.
    pub job: Option<JobId>,
    /// BLAKE3 of the content afterwards, where it is known.
    pub fingerprint: Option<[u8; 32]>,
}
