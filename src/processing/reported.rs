//! Entries that were **reported** as done and may still be unprocessed in the index, because the
//! library has not committed the report yet. Without this they would be started twice. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::events::types::Status;
use crate::library::EntryId;
use crate::library::work::{Item, Stamp};

/// Reports are looked after in groups of this size, so that it costs one question a group.
const GROUP: usize = 256;
/// A report that is not committed after so long was lost (a disk that was full for the library):
/// rather twice than never.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// Reports that may not be committed yet.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    notes: HashMap<EntryId, Note>,
    open: Vec<EntryId>,
    /// The oldest first.
    groups: VecDeque<Vec<EntryId>>,
    /// How many groups were forgotten.
    forgotten: u64,
}

#[derive(Debug)]
struct Note {
    stamp: Stamp,
    at: Instant,
    /// Reports of this entry that are not known to be committed.
    count: u32,
}

impl Reported {
    /// Notes that an unprocessed entry was reported as done with `stamp`.
    pub(crate) fn note(&mut self, id: EntryId, stamp: Stamp, now: Instant) {
        let note = self.notes.entry(id).or_insert(Note {
            stamp,
            at: now,
            count: 0,
        });
        *note = Note {
            stamp,
            at: now,
            count: note.count + 1,
        };
        self.open.push(id);
        if self.open.len() >= GROUP {
            self.groups.push_back(std::mem::take(&mut self.open));
        }
    }

    /// Tells whether `item` is an unprocessed entry only because its report is under way.
    pub(crate) fn covers(&self, item: &Item, now: Instant) -> bool {
        self.notes.get(&item.id).is_some_and(|note| {
            note.stamp == item.stamp && now.saturating_duration_since(note.at) < LOST_AFTER
        })
    }

    /// Grows whenever something is forgotten: what was read from the library before then may be
    /// older than a report that is not remembered here any more.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets what is committed. `look` asks the library; it commits reports in their order, so
    /// the last of a group speaks for all of it.
    pub(crate) fn forget_committed(
        &mut self,
        now: Instant,
        mut look: impl FnMut(EntryId) -> Option<Item>,
    ) {
        while let Some(last) = self.groups.front().and_then(|group| group.last()) {
            let uncommitted = look(*last).is_some_and(|item| {
                matches!(item.status, Status::Unprocessed | Status::Processing)
                    && self.covers(&item, now)
            });
            if uncommitted {
                return;
            }
            self.forgotten += 1;
            for id in self.groups.pop_front().unwrap_or_default() {
                if let Some(note) = self.notes.get_mut(&id) {
                    note.count -= 1;
                    if note.count == 0 {
                        self.notes.remove(&id);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn item(id: i64, status: Status, modified: i64) -> Item {
        Item {
            id: EntryId(id),
            folder: String::new(),
            root: Arc::default(),
            relative: Vec::new(),
            path: String::new(),
            stamp: Stamp {
                size: 0,
                modified,
                ino: 0,
            },
            status,
            fingerprint: None,
            done: None,
            finished: true,
        }
    }

    #[test]
    fn a_reported_entry_is_covered_until_it_changes_or_is_committed() {
        let now = Instant::now();
        let mut reported = Reported::default();
        let group = i64::try_from(GROUP).unwrap();
        let unprocessed = |id| item(id, Status::Unprocessed, 5);
        for id in 1..=group {
            reported.note(EntryId(id), unprocessed(id).stamp, now);
        }
        reported.forget_committed(now, |id| Some(unprocessed(id.0)));
        assert!(reported.covers(&unprocessed(1), now));
        assert!(
            !reported.covers(&unprocessed(1), now + LOST_AFTER),
            "its report was lost"
        );
        assert!(
            !reported.covers(&item(1, Status::Unprocessed, 6), now),
            "it changed since"
        );
        reported.note(EntryId(1), unprocessed(1).stamp, now);
        reported.forget_committed(now, |id| Some(item(id.0, Status::Processed, 5)));
        assert!(!reported.covers(&unprocessed(2), now));
        assert_eq!(reported.forgotten(), 1);
        assert!(
            reported.covers(&unprocessed(1), now),
            "reported again since"
        );
        assert!(reported.groups.is_empty() && reported.notes.len() == 1);
    }
}
