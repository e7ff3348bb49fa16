//! To **crawl**: reading directories from disk, one after another, on a thread of its own.
//!
//! The order for a directory is fixed: open, check that it is the one meant, watch, list. Watching
//! first means that whatever changes after the listing is told by the watch.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::io::Errno;

use super::apart::{Apart, LeftBehind, Pulse, Stillness};
use super::disk::{self, DirMeta, Listing};
use super::tree::{Coverage, DirId, Identity};
use crate::glob::Selection;
use crate::watch::{Watch, WatchError};

/// Directories asked for and not yet taken back. Both channels have this bound, and the owner asks
/// for no more, so that neither side ever waits to send.
pub(crate) const IN_FLIGHT: usize = 32;

/// A directory to read.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) dir: DirId,
    /// Comes back with the answer.
    pub(crate) serial: u64,
    pub(crate) root: Arc<PathBuf>,
    pub(crate) names: Vec<Box<[u8]>>,
    pub(crate) selection: Arc<Selection>,
    /// The directory must be this one, where that is known.
    pub(crate) expected: Expected,
    /// Skip the listing if the directory's change time is still this.
    pub(crate) unless_changed: Option<i64>,
    /// Ask the kernel to tell of changes; else the directory is polled.
    pub(crate) watch: bool,
}

/// What is known of a directory before it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) identity: Identity,
    pub(crate) device: Option<u64>,
}

impl Expected {
    /// Tells whether an opened directory is the expected one, as far as can be known.
    pub(crate) fn admits(self, found: &DirMeta) -> bool {
        let same = self.identity.ino == found.identity.ino
            && (self.identity.born == found.identity.born
                || self.identity.born == 0
                || found.identity.born == 0);
        (!self.identity.is_known() || same)
            && self.device.is_none_or(|device| device == found.device)
    }
}

/// A directory as it was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) dir: DirId,
    pub(crate) serial: u64,
    pub(crate) outcome: Outcome,
}

/// What became of a [`Request`].
#[derive(Debug)]
pub(crate) enum Outcome {
    Listed {
        meta: DirMeta,
        covered: Covered,
        listing: Listing,
    },
    /// Its change time is the one given.
    Unchanged { covered: Covered },
    /// Something else is at its path now.
    Another,
    /// It cannot be opened.
    Failed(Errno),
}

/// How changes of a directory will be found from now on.
#[derive(Debug)]
pub(crate) struct Covered {
    pub(crate) coverage: Coverage,
    /// Why it is not watched, where it should be.
    pub(crate) refused: Option<WatchError>,
    /// The same directory at another place, whose watch this one has now.
    pub(crate) displaced: Option<DirId>,
}

/// The crawling thread.
#[derive(Debug)]
pub(crate) struct Crawler {
    watch: Arc<Watch>,
    apart: Apart,
    stillness: Stillness,
    outbox: Sender<Read>,
    results: Receiver<Read>,
}

impl Crawler {
    pub(crate) fn start(watch: Arc<Watch>) -> std::io::Result<Crawler> {
        // The list buffer is 32 KiB of the stack.
        let apart = Apart::start("crawl", 192 * 1024, IN_FLIGHT)?;
        let (outbox, results) = bounded(IN_FLIGHT);
        Ok(Crawler {
            watch,
            stillness: apart.stillness(),
            apart,
            outbox,
            results,
        })
    }

    /// Asks for a directory; at most [`IN_FLIGHT`] may be under way.
    pub(crate) fn ask(&self, request: Request) -> bool {
        let (watch, outbox) = (Arc::clone(&self.watch), self.outbox.clone());
        self.apart.begin(move |pulse| {
            let answer = Read {
                dir: request.dir,
                serial: request.serial,
                outcome: read(&request, &watch, pulse),
            };
            // There is room for all that are under way; the owner may have gone.
            if outbox.try_send(answer).is_err() {
                log::debug!("nobody waits for a directory any more");
            }
        })
    }

    pub(crate) fn results(&self) -> &Receiver<Read> {
        &self.results
    }

    /// Returns since when the disk that is being read has not answered, where something is being read.
    pub(crate) fn still_since(&mut self) -> Instant {
        self.stillness.since()
    }

    /// Leaves behind what is being read; nothing that was asked for will be answered.
    ///
    /// # Errors
    /// The kernel has no thread to go on with.
    pub(crate) fn leave(&mut self) -> std::io::Result<LeftBehind> {
        let left = self.apart.leave()?;
        (self.outbox, self.results) = bounded(IN_FLIGHT);
        self.stillness = self.apart.stillness();
        Ok(left)
    }
}

fn read(request: &Request, watch: &Watch, pulse: &Pulse) -> Outcome {
    let names: Vec<&[u8]> = request.names.iter().map(|name| &**name).collect();
    let fd = match disk::open_directory(&request.root, &names) {
        Ok(fd) => fd,
        Err(error) => return Outcome::Failed(error),
    };
    let meta = match disk::look_at_directory(fd.as_fd()) {
        Ok(meta) => meta,
        Err(error) => return Outcome::Failed(error),
    };
    if !request.expected.admits(&meta) {
        return Outcome::Another;
    }
    let covered = cover(request, watch, fd.as_fd());
    if request.unless_changed == Some(meta.changed) {
        return Outcome::Unchanged { covered };
    }
    let mut path = names.join(&b'/');
    if !path.is_empty() {
        path.push(b'/');
    }
    let stem = path.len();
    let path = std::cell::RefCell::new(path);
    let listing = disk::list(fd.as_fd(), |name, directory| {
        pulse.beat();
        let mut path = path.borrow_mut();
        path.truncate(stem);
        path.extend_from_slice(name);
        if directory {
            request.selection.enters(&path)
        } else {
            request.selection.is_entry(&path)
        }
    });
    // `meta` is older than the listing: what changed in between is listed, and the change time that
    // is kept makes the next look list once more.
    Outcome::Listed {
        meta,
        covered,
        listing,
    }
}

fn cover(request: &Request, watch: &Watch, fd: BorrowedFd<'_>) -> Covered {
    let mut covered = Covered {
        coverage: Coverage::Polled,
        refused: None,
        displaced: None,
    };
    if request.watch {
        match watch.add(request.dir.into(), fd) {
            Ok(displaced) => {
                covered.coverage = Coverage::Watched;
                covered.displaced = displaced.map(|place| DirId(place.0));
            }
            Err(error) => covered.refused = Some(error),
        }
    }
    covered
}
