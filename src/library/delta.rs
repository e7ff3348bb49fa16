//! A **delta**: what really changed in the index since the last `cache_updated`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::reconcile::EntryId;

/// Entries that one event names at most (contract section 3).
pub(crate) const MOST_ENTRIES: usize = 50;

/// How an entry differs from what was last published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    Added,
    Changed,
    Removed,
}

/// Merges differences; past [`MOST_ENTRIES`] it only counts.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    entries: BTreeMap<EntryId, Difference>,
    truncated: bool,
    /// Differences of each kind that are no longer named.
    counted: [u64; 3],
    /// Indexes of the folders concerned.
    pub(crate) folders: BTreeSet<usize>,
    /// Something to say apart from entries: its message, and whether a rebuild begins with it.
    note: Option<(String, bool)>,
}

impl Delta {
    /// Notes that `id` differs.
    pub(crate) fn note(&mut self, id: EntryId, now: Difference, folder: usize) {
        use Difference::{Added, Removed};
        self.folders.insert(folder);
        if self.truncated {
            self.counted[now as usize] += 1;
            return;
        }
        match (self.entries.get(&id), now) {
            (Some(Added), Removed) => {
                self.entries.remove(&id); // nobody has heard of it
            }
            (Some(Added), _) => {}
            (Some(_) | None, now) => {
                self.entries.insert(id, now);
            }
        }
        if self.entries.len() > MOST_ENTRIES {
            self.truncate();
        }
    }

    /// Notes that so many entries of a folder changed at once.
    pub(crate) fn note_many(&mut self, number: u64, folder: usize) {
        self.folders.insert(folder);
        self.truncate();
        self.counted[Difference::Changed as usize] += number;
    }

    /// Says something with the next event, even if no entry differs.
    pub(crate) fn say(&mut self, message: String, rebuild_begins: bool) {
        self.note = Some((message, rebuild_begins));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.truncated && self.note.is_none()
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated
    }

    pub(crate) fn begins_rebuild(&self) -> bool {
        self.note.as_ref().is_some_and(|(_, begins)| *begins)
    }

    /// Returns the entries that differ as asked.
    pub(crate) fn entries(&self, as_asked: Difference) -> impl Iterator<Item = EntryId> {
        self.entries
            .iter()
            .filter(move |(_, difference)| **difference == as_asked)
            .map(|(id, _)| *id)
    }

    /// Says in words what happened.
    pub(crate) fn message(&self) -> String {
        if let Some((message, _)) = &self.note {
            return message.clone();
        }
        let words = [
            (Difference::Added, "added"),
            (Difference::Changed, "changed"),
            (Difference::Removed, "removed"),
        ];
        let parts = words.map(|(difference, word)| {
            let named = self.entries(difference).count() as u64;
            match named + self.counted[difference as usize] {
                0 => String::new(),
                number => format!("{number} {word}"),
            }
        });
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn truncate(&mut self) {
        self.truncated = true;
        for (_, difference) in std::mem::take(&mut self.entries) {
            self.counted[difference as usize] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_is_not_told() {
        let mut delta = Delta::default();
        delta.note(EntryId(1), Difference::Added, 0);
        delta.note(EntryId(1), Difference::Changed, 0);
        assert_eq!(
            delta.entries(Difference::Added).collect::<Vec<_>>(),
            [EntryId(1)]
        );
        delta.note(EntryId(1), Difference::Removed, 0);
        assert!(delta.is_empty());
    }

    #[test]
    fn more_than_fifty_are_only_counted() {
        let mut delta = Delta::default();
        for id in 0..50 {
            delta.note(EntryId(id), Difference::Added, 0);
        }
        assert!(!delta.is_truncated());
        delta.note(EntryId(50), Difference::Removed, 0);
        assert!(delta.is_truncated());
        assert_eq!(delta.message(), "50 added, 1 removed");
    }
}
