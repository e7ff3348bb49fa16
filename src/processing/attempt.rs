//! An **attempt**: one try of an item by a worker, as seen by whatever takes time in it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Shelf;
use crate::library::EntryId;
use crate::library::work::Report;

/// An item that is done sooner is never shown as `processing`: that spares the index two writes
/// for each small file, and nobody could have seen it.
const SHOWN_AFTER: Duration = Duration::from_millis(50);

/// Something that can be called off by another thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn raise(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// What a long step asks now and then.
pub(crate) struct Attempt<'a> {
    shelf: &'a dyn Shelf,
    id: EntryId,
    began: Instant,
    /// Whether it is to be shown at all.
    shows: bool,
    shown: Cell<bool>,
    /// The service stops, or the item's job was cancelled.
    flags: [&'a Flag; 2],
}

impl<'a> Attempt<'a> {
    pub(crate) fn begin(
        shelf: &'a dyn Shelf,
        id: EntryId,
        shows: bool,
        flags: [&'a Flag; 2],
    ) -> Attempt<'a> {
        Attempt {
            shelf,
            id,
            began: Instant::now(),
            shows,
            shown: Cell::new(false),
            flags,
        }
    }

    /// Tells whether to go on; to be asked about every 50 ms. Makes the entry `processing` for
    /// everybody once it has lasted long enough.
    pub(crate) fn goes_on(&self) -> bool {
        if self.shows && !self.shown.get() && self.began.elapsed() >= SHOWN_AFTER {
            self.shown.set(true);
            self.shelf.report(Report::Started(self.id));
        }
        !self.flags.iter().any(|flag| flag.is_up())
    }

    /// Returns how long it has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Tells whether the entry is shown as `processing`.
    pub(crate) fn is_shown(&self) -> bool {
        self.shown.get()
    }
}
