//! What the library and processing say to each other: items to work on, and reports back.
//!
//! The state of an entry (`status`, fingerprint) is the library's; the queue is what the index has
//! as unprocessed. Processing asks for items when it has time, and reports what became of them.

use std::path::PathBuf;
use std::sync::Arc;

use super::reconcile::EntryId;
use crate::events::types::{FileProcessed, Status};

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Length in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified: i64,
    /// Inode number, 0 where these do not last.
    pub ino: u64,
}

/// An entry that can be worked on.
#[derive(Clone, Debug)]
pub struct Item {
    /// The entry.
    pub id: EntryId,
    /// Name of its folder.
    pub folder: String,
    /// Absolute path of the folder.
    pub root: Arc<PathBuf>,
    /// Path below the folder: raw bytes, no slash at its ends, never `..`.
    pub relative: Vec<u8>,
    /// Path for people: the folder's name first, U+FFFD for what is not UTF-8.
    pub path: String,
    /// What the index knows of the file; a file with another stamp is not the one meant.
    pub stamp: Stamp,
    /// Where it stands.
    pub status: Status,
    /// BLAKE3 of the content with this stamp, if it was computed.
    pub fingerprint: Option<[u8; 32]>,
    /// BLAKE3 of the content that all processors have been through.
    pub done: Option<[u8; 32]>,
    /// A writer closed it, or it was moved in, and nothing was written since: it is complete unless
    /// a writer has it open again. Otherwise it must be seen to stand still (contract section 5).
    pub finished: bool,
}

/// What processing tells the library.
#[derive(Clone, Debug)]
pub enum Report {
    /// A worker has had the entry for so long that people should see it as `processing`.
    Started(EntryId),
    /// A worker gave the entry back untouched (cancelled, stopped): its status is as before.
    Released(EntryId),
    /// A worker is done with the entry.
    Finished(Finished),
    /// Why entries are not processed yet, in words; an entry without one is `queued`. Replaces what
    /// was said of this entry before.
    Waiting(EntryId, Option<String>),
}

/// What became of an entry.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The entry.
    pub id: EntryId,
    /// The file as it is after the work, the processors' own changes included. Where the disk says
    /// something else by the time the report arrives, the entry is unprocessed again.
    pub stamp: Stamp,
    /// BLAKE3 of that content, where it is known.
    pub fingerprint: Option<[u8; 32]>,
    /// The error of the attempt; none is success.
    pub error: Option<String>,
    /// When it ended, nanoseconds since 1970.
    pub at: i64,
    /// The event to publish once the result is committed, if any (a `verify` that found nothing
    /// publishes none).
    pub event: Option<FileProcessed>,
}

/// Which entries are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every entry.
    All,
    /// Those with this status.
    Status(Status),
}

/// A question for entries in the order of their ids, so that it can be continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Which.
    pub scope: Scope,
    /// Only of this folder.
    pub folder: Option<String>,
    /// Only of this directory and below; starts with the folder's name, as in `path`.
    pub directory: Option<String>,
    /// Only with a greater id.
    pub after: EntryId,
    /// At most so many.
    pub limit: usize,
}
