//! To **settle**: merging the notices of one name until it is worth a look. Pure: notices and the
//! time in, due changes out.
//!
//! A finished file is due at once: its writer closed it, or it was moved in. A name that was only
//! created waits a moment, since its writer will most often close it within it; a file being
//! written is looked at once a second. Whatever waits is due as soon as a barrier arrives.
//!
//! Memory is bounded: past 65,536 waiting names, names become "the whole directory".

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

pub use super::inotify::What;
pub use super::tree::Located;
use super::{BARRIER, Place};

/// How long a created name, or the first half of a rename, waits for what belongs to it. Both
/// arrive within microseconds as a rule; the rest is for a writer that closes soon.
const HOLD: Duration = Duration::from_millis(50);
/// How often a file that is being written is looked at.
const GROWING: Duration = Duration::from_secs(1);
/// Waiting names at most; a guess at what 10 MB hold.
const MOST_NAMES: usize = 65_536;

/// What the notices of a name say about it; the disk decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// Something about it changed.
    #[default]
    Touched,
    /// A writer closed it, or it was moved here: it may be complete.
    Finished,
    /// It was deleted: if nothing is there, it is gone, and not just moved elsewhere.
    Deleted,
}

/// A reason to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Look at one name.
    Name {
        /// Its directory.
        place: Place,
        /// The name.
        name: Box<[u8]>,
        /// What is known of it.
        told: Told,
    },
    /// Look at both names: the first was renamed to the second.
    Moved {
        /// Directory and name before.
        from: (Place, Box<[u8]>),
        /// Directory and name after.
        to: (Place, Box<[u8]>),
    },
    /// Look at all names of a directory.
    Directory(Place),
    /// The directory itself was moved, deleted or unmounted.
    Itself(Place),
    /// Notices were lost: look everywhere.
    Lost,
    /// Something was mounted or unmounted, anywhere.
    Mounts,
    /// Everything that was noticed before the barrier of this number has been taken.
    Barrier(u64),
}

type Key = (Place, Box<[u8]>);

/// Names that wait, and those that are due.
#[derive(Debug, Default)]
pub struct Settle {
    names: HashMap<Key, Waiting>,
    /// Due names, oldest first; entries whose name is no longer `Due` are stale and skipped.
    due: VecDeque<Key>,
    /// Held names by the time they are due, one queue a duration so that each is sorted.
    held: VecDeque<(Instant, Key)>,
    growing: VecDeque<(Instant, Key)>,
    /// First halves of renames by cookie; there are rarely more than one.
    halves: Vec<(u32, Instant, Key)>,
    moves: VecDeque<(Key, Key)>,
    directories: HashSet<Place>,
    themselves: HashSet<Place>,
    lost: bool,
    mounts: bool,
    /// Barriers that wait for what was noticed before them.
    barriers: Vec<Barrier>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    until: Option<Instant>, // none: due
    told: Told,
}

#[derive(Clone, Copy, Debug)]
struct Barrier {
    number: u64,
    /// The first halves of renames that came before it have found their second or ripened by then.
    not_before: Instant,
}

impl Settle {
    /// Takes in one notice that was read at `now`.
    pub fn notice(&mut self, at: Located<'_>, now: Instant) {
        if at.place == BARRIER {
            if at.what == What::Deleted
                && let Some(number) = barrier_number(at.name)
            {
                self.ripen_names(None);
                // The other half of a rename may come right after the barrier: it is waited for.
                let halves = self.halves.iter().map(|(_, until, _)| *until);
                self.barriers.push(Barrier {
                    number,
                    not_before: halves.max().unwrap_or(now),
                });
            }
            return;
        }
        match at.what {
            What::Overflow => self.lost = true,
            What::Ended => {}
            What::Itself => {
                self.themselves.insert(at.place);
            }
            _ if at.name.is_empty() => {} // attributes of the directory itself: its parent tells too
            What::Created if !at.directory => self.hold(at.key(), now),
            What::Modified => self.grow(at.key(), now),
            What::Created | What::Attributes => self.ready(at.key(), Told::Touched),
            What::Deleted => self.ready(at.key(), Told::Deleted),
            What::Closed => self.ready(at.key(), Told::Finished),
            What::MovedFrom => self.halves.push((at.cookie, now + HOLD, at.key())),
            What::MovedTo => {
                let half = self
                    .halves
                    .iter()
                    .position(|(cookie, ..)| *cookie == at.cookie);
                if let Some(half) = half {
                    let (_, _, from) = self.halves.swap_remove(half);
                    self.names.remove(&from);
                    let to = at.key();
                    self.names.remove(&to);
                    self.moves.push_back((from, to));
                } else {
                    self.ready(at.key(), Told::Finished);
                }
            }
        }
        if self.names.len() + self.moves.len() > MOST_NAMES {
            self.condense();
        }
    }

    /// Takes up to about `limit` changes that are due at `now`.
    ///
    /// A barrier is given only when nothing noticed before it is left.
    pub fn take(&mut self, now: Instant, limit: usize) -> Vec<Change> {
        self.ripen_names(Some(now));
        self.ripen_halves(now);
        let mut changes = Vec::new();
        if std::mem::take(&mut self.mounts) {
            changes.push(Change::Mounts);
        }
        if std::mem::take(&mut self.lost) {
            changes.push(Change::Lost);
        }
        changes.extend(self.themselves.drain().map(Change::Itself));
        changes.extend(self.directories.drain().map(Change::Directory));
        while changes.len() < limit
            && let Some((from, to)) = self.moves.pop_front()
        {
            changes.push(Change::Moved { from, to });
        }
        while changes.len() < limit
            && let Some(key) = self.due.pop_front()
        {
            let Some(Waiting { until: None, .. }) = self.names.get(&key) else {
                continue;
            };
            let Some((key, waiting)) = self.names.remove_entry(&key) else {
                continue;
            };
            changes.push(Change::Name {
                place: key.0,
                name: key.1,
                told: waiting.told,
            });
        }
        if self.moves.is_empty() && self.due.is_empty() {
            let passed = self
                .barriers
                .extract_if(.., |barrier| barrier.not_before <= now);
            changes.extend(passed.map(|barrier| Change::Barrier(barrier.number)));
        }
        changes
    }

    /// Tells whether [`take`](Settle::take) would give something at `now`.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.lost
            || !self.themselves.is_empty()
            || !self.directories.is_empty()
            || !self.moves.is_empty()
            || !self.due.is_empty()
            || self.mounts
            || self.next_due().is_some_and(|due| due <= now)
    }

    /// Returns when the first of what is held is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let queues = [&self.held, &self.growing].map(|queue| queue.front().map(|(at, _)| *at));
        let halves = self.halves.iter().map(|(_, at, _)| *at).min();
        let barriers = self.barriers.iter().map(|barrier| barrier.not_before).min();
        queues.into_iter().chain([halves, barriers]).flatten().min()
    }

    /// Takes in that the mounts of the system changed.
    pub fn mounts_changed(&mut self) {
        self.mounts = true;
    }

    /// Forgets what waits in `place`.
    pub fn forget(&mut self, place: Place) {
        // Only directories that are gone are forgotten; their names have been looked at by then, or
        // are stale in the queues, which `take` skips.
        self.directories.remove(&place);
        self.themselves.remove(&place);
    }

    fn hold(&mut self, key: Key, now: Instant) {
        if self.names.contains_key(&key) {
            return; // it is held or due already
        }
        self.wait_until(key, now + HOLD, Queue::Held);
    }

    fn grow(&mut self, key: Key, now: Instant) {
        match self.names.get(&key) {
            Some(_) => {} // a created name that is written at once, or one that is due anyway
            None => self.wait_until(key, now + GROWING, Queue::Growing),
        }
    }

    fn wait_until(&mut self, key: Key, until: Instant, queue: Queue) {
        let waiting = Waiting {
            until: Some(until),
            told: Told::Touched,
        };
        self.names.insert(key.clone(), waiting);
        match queue {
            Queue::Held => self.held.push_back((until, key)),
            Queue::Growing => self.growing.push_back((until, key)),
        }
    }

    fn ready(&mut self, key: Key, told: Told) {
        if let Some(waiting) = self.names.get_mut(&key) {
            if told != Told::Touched {
                waiting.told = told;
            }
            if waiting.until.take().is_some() {
                self.due.push_back(key);
            }
        } else {
            let waiting = Waiting { until: None, told };
            self.names.insert(key.clone(), waiting);
            self.due.push_back(key);
        }
    }

    /// Makes due what was held until `now`, or all of it.
    fn ripen_names(&mut self, now: Option<Instant>) {
        let ripe = |at: Instant| now.is_none_or(|now| at <= now);
        for queue in [&mut self.held, &mut self.growing] {
            while queue.front().is_some_and(|(at, _)| ripe(*at)) {
                let Some((at, key)) = queue.pop_front() else {
                    break;
                };
                if let Some(waiting) = self.names.get_mut(&key)
                    && waiting.until == Some(at)
                {
                    waiting.until = None;
                    self.due.push_back(key);
                }
            }
        }
    }

    /// Gives up waiting for the second halves of old renames: what they moved has left.
    fn ripen_halves(&mut self, now: Instant) {
        let ripe: Vec<_> = self.halves.extract_if(.., |half| half.1 <= now).collect();
        for (_, _, key) in ripe {
            self.ready(key, Told::Touched);
        }
    }

    /// Replaces all waiting names by their directories.
    fn condense(&mut self) {
        let moved = self.moves.drain(..).flat_map(|(from, to)| [from.0, to.0]);
        self.directories.extend(moved);
        self.directories
            .extend(self.names.drain().map(|((place, _), _)| place));
        self.due.clear();
        self.held.clear();
        self.growing.clear();
    }
}

enum Queue {
    Held,
    Growing,
}

impl Located<'_> {
    fn key(&self) -> Key {
        (self.place, self.name.into())
    }
}

fn barrier_number(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name.strip_prefix(b"barrier-")?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(what: What, name: &str) -> Located<'_> {
        Located {
            place: Place(1),
            what,
            directory: false,
            cookie: 0,
            name: name.as_bytes(),
        }
    }

    fn names(changes: &[Change]) -> Vec<(String, Told)> {
        changes
            .iter()
            .map(|change| match change {
                Change::Name { name, told, .. } => {
                    (String::from_utf8_lossy(name).into_owned(), *told)
                }
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_closed_file_is_due_at_once_and_once() {
        let (mut settle, now) = (Settle::default(), Instant::now());
        for what in [What::Created, What::Modified, What::Modified, What::Closed] {
            settle.notice(at(what, "a"), now);
        }
        assert_eq!(
            names(&settle.take(now, 10)),
            [("a".to_owned(), Told::Finished)]
        );
        assert_eq!(settle.take(now + GROWING * 2, 10), []);
    }

    #[test]
    fn a_created_name_waits_a_moment_and_a_growing_file_longer() {
        let (mut settle, now) = (Settle::default(), Instant::now());
        settle.notice(at(What::Created, "made"), now);
        settle.notice(at(What::Modified, "grows"), now);
        assert!(!settle.is_due(now));
        assert_eq!(settle.next_due(), Some(now + HOLD));
        assert_eq!(
            names(&settle.take(now + HOLD, 10)),
            [("made".to_owned(), Told::Touched)]
        );
        assert_eq!(
            names(&settle.take(now + GROWING, 10)),
            [("grows".to_owned(), Told::Touched)]
        );
    }

    #[test]
    fn both_halves_of_a_rename_come_together() {
        let (mut settle, now) = (Settle::default(), Instant::now());
        let half = |what, name: &'static str, cookie| Located {
            cookie,
            ..at(what, name)
        };
        settle.notice(half(What::MovedFrom, "a", 7), now);
        assert_eq!(settle.take(now, 10), []);
        settle.notice(half(What::MovedFrom, "c", 8), now);
        settle.notice(half(What::MovedTo, "b", 7), now);
        let key = |name: &str| (Place(1), Box::from(name.as_bytes()));
        let moved = Change::Moved {
            from: key("a"),
            to: key("b"),
        };
        assert_eq!(settle.take(now, 10), [moved]);
        // The other half never came: it was moved out.
        assert_eq!(
            names(&settle.take(now + HOLD, 10)),
            [("c".to_owned(), Told::Touched)]
        );
    }

    #[test]
    fn a_barrier_comes_last_and_lets_nothing_wait() {
        let (mut settle, now) = (Settle::default(), Instant::now());
        settle.notice(at(What::Modified, "grows"), now);
        settle.notice(at(What::Created, "made"), now);
        let barrier = Located {
            place: BARRIER,
            ..at(What::Deleted, "barrier-5")
        };
        settle.notice(barrier, now);
        assert_eq!(
            names(&settle.take(now, 1)),
            [("made".to_owned(), Told::Touched)]
        );
        let rest = settle.take(now, 1);
        assert_eq!(names(&rest[..1]), [("grows".to_owned(), Told::Touched)]);
        assert_eq!(rest[1..], [Change::Barrier(5)]);
    }

    #[test]
    fn a_barrier_waits_for_the_other_half_of_a_rename() {
        let (mut settle, now) = (Settle::default(), Instant::now());
        let half = |what, name: &'static str| Located {
            cookie: 7,
            ..at(what, name)
        };
        settle.notice(half(What::MovedFrom, "a"), now);
        let barrier = Located {
            place: BARRIER,
            ..at(What::Deleted, "barrier-5")
        };
        settle.notice(barrier, now);
        assert_eq!(settle.take(now, 10), []);
        settle.notice(half(What::MovedTo, "b"), now);
        let changes = settle.take(now + HOLD, 10);
        assert!(matches!(
            changes[..],
            [Change::Moved { .. }, Change::Barrier(5)]
        ));
    }

    #[test]
    fn too_many_names_become_their_directory() {
        let (mut settle, now) = (Settle::default(), Instant::now());
        for number in 0..=MOST_NAMES {
            settle.notice(at(What::Closed, &number.to_string()), now);
        }
        assert_eq!(settle.take(now, 10), [Change::Directory(Place(1))]);
    }
}
