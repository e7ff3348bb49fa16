//! Entries in **doubt**: their file changed under a command that failed, and nobody can tell whether
//! the command or somebody else changed it. They are tried a second time, and that counts. Pure.
//!
//! The doubt belongs to the entry and not to its wait, which ends early when the library hears of
//! the very edit that is doubted.

use std::collections::{HashSet, VecDeque};

use crate::library::EntryId;

/// Entries remembered; past it the oldest is forgotten, and may be tried once more than it should.
const MOST: usize = 4096;

/// Entries whose next attempt is their second.
#[derive(Debug, Default)]
pub(crate) struct Doubted {
    ids: HashSet<EntryId>,
    /// The same ids, the oldest first.
    order: VecDeque<EntryId>,
}

impl Doubted {
    /// Notes that an attempt left it open whose edit it was.
    pub(crate) fn note(&mut self, id: EntryId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
            while self.order.len() > MOST {
                self.order
                    .pop_front()
                    .map(|oldest| self.ids.remove(&oldest));
            }
        }
    }

    /// Tells whether the next attempt is the second.
    pub(crate) fn contains(&self, id: EntryId) -> bool {
        self.ids.contains(&id)
    }

    /// Notes that an attempt came to its end, or that the entry is gone.
    pub(crate) fn forget(&mut self, id: EntryId) {
        if self.ids.remove(&id) {
            // Few are ever in doubt at once, so this is a short search.
            self.order.retain(|other| *other != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_in_doubt_until_an_attempt_ends() {
        let mut doubted = Doubted::default();
        doubted.note(EntryId(1));
        doubted.note(EntryId(1));
        assert!(doubted.contains(EntryId(1)) && !doubted.contains(EntryId(2)));
        doubted.forget(EntryId(1));
        doubted.forget(EntryId(2));
        assert!(!doubted.contains(EntryId(1)) && doubted.order.is_empty());
    }

    #[test]
    fn their_number_is_bounded() {
        let mut doubted = Doubted::default();
        let most = i64::try_from(MOST).unwrap();
        for id in 0..=most {
            doubted.note(EntryId(id));
        }
        assert!(!doubted.contains(EntryId(0)) && doubted.contains(EntryId(most)));
        assert_eq!((doubted.ids.len(), doubted.order.len()), (MOST, MOST));
    }
}
