//! Entries that **wait**: open for writing, not standing still, or changed since the index was
//! read. Bounded: past the bound an entry is forgotten and found again by the next sweep. Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::library::EntryId;
use crate::library::work::{Item, Stamp};

/// Entries that may wait at once, about 100 bytes each.
const MOST: usize = 4096;

/// Why and how long an entry has waited.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wait {
    /// What the index said of it; something else makes it worth a new look at once.
    pub(crate) stamp: Stamp,
    pub(crate) finished: bool,
    /// What is on the disk, and since when it was seen to stand still.
    pub(crate) still: Option<(Stamp, Instant)>,
    /// When it began to wait.
    pub(crate) since: Instant,
    /// How often in a row it was found open.
    pub(crate) open: u32,
    /// How often in a row its file was not as the index says.
    pub(crate) missed: u32,
    /// What people were told.
    pub(crate) words: Option<&'static str>,
}

impl Wait {
    /// Begins the wait of an entry.
    pub(crate) fn new(item: &Item, now: Instant) -> Wait {
        Wait {
            stamp: item.stamp,
            finished: item.finished,
            still: None,
            since: now,
            open: 0,
            missed: 0,
            words: None,
        }
    }
}

/// All that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    waits: HashMap<EntryId, Wait>,
    due: BTreeSet<(Instant, EntryId)>,
    due_of: HashMap<EntryId, Instant>,
}

impl Waiting {
    /// Lets an entry wait until `due`; false if there is no room.
    pub(crate) fn insert(&mut self, id: EntryId, wait: Wait, due: Instant) -> bool {
        self.remove(id);
        if self.waits.len() >= MOST {
            return false;
        }
        self.waits.insert(id, wait);
        self.due.insert((due, id));
        self.due_of.insert(id, due);
        true
    }

    /// Tells whether the entry waits as the index describes it now.
    pub(crate) fn covers(&self, item: &Item) -> bool {
        self.waits
            .get(&item.id)
            .is_some_and(|wait| wait.stamp == item.stamp && wait.finished == item.finished)
    }

    /// Ends an entry's wait.
    pub(crate) fn remove(&mut self, id: EntryId) -> Option<Wait> {
        if let Some(due) = self.due_of.remove(&id) {
            self.due.remove(&(due, id));
        }
        self.waits.remove(&id)
    }

    /// Ends the wait of one entry that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(EntryId, Wait)> {
        let (due, id) = *self.due.first()?;
        if due > now {
            return None;
        }
        self.remove(id).map(|wait| (id, wait))
    }

    /// Returns when the next one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }
}

/// Returns when to look again at an entry whose file is not as the index says: the library will
/// have noticed by then, or there is nothing to notice.
pub(crate) fn after_change(times: u32) -> Duration {
    Duration::from_millis(100)
        .saturating_mul(1 << times.min(5))
        .min(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait() -> Wait {
        Wait {
            stamp: Stamp {
                size: 1,
                modified: 2,
                ino: 3,
            },
            finished: false,
            still: None,
            since: Instant::now(),
            open: 0,
            missed: 0,
            words: None,
        }
    }

    #[test]
    fn those_that_are_due_come_in_order_and_once() {
        let mut waiting = Waiting::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        waiting.insert(EntryId(1), wait(), at(3));
        waiting.insert(EntryId(2), wait(), at(2));
        waiting.insert(EntryId(1), wait(), at(1));
        waiting.insert(EntryId(3), wait(), at(0));
        waiting.remove(EntryId(3));
        assert_eq!(waiting.next_due(), Some(at(1)));
        assert!(waiting.take_due(start).is_none());
        assert_eq!(waiting.take_due(at(9)).map(|(id, _)| id), Some(EntryId(1)));
        assert_eq!(waiting.take_due(at(9)).map(|(id, _)| id), Some(EntryId(2)));
        assert!(waiting.take_due(at(9)).is_none());
        assert!(waiting.due_of.is_empty() && waiting.waits.is_empty());
    }

    #[test]
    fn their_number_is_bounded() {
        let mut waiting = Waiting::default();
        for id in 0..=i64::try_from(MOST).unwrap() {
            let kept = waiting.insert(EntryId(id), wait(), Instant::now());
            assert_eq!(kept, id < i64::try_from(MOST).unwrap());
        }
    }
}
