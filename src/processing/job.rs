//! A **job**: a batch that somebody asked for, and how far it is. Pure.
//!
//! A job goes through the entries in the order of their ids, so that a single number (the cursor)
//! says where it is, however many there are. Workers finish out of order; what is done above the
//! cursor is remembered one by one, up to a bound.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::events::types::{JobStatus, JobUpdated, Progress};
use crate::library::EntryId;

/// Items that may be done above the cursor. Past it the job waits for its slowest item, so that
/// what must be remembered stays small.
pub(crate) const MOST_AHEAD: usize = 1024;

/// Names a job; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for JobId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<JobId, Self::Err> {
        // No sign, no leading zeros: one job has one name.
        match text.parse() {
            Ok(number) if i64::to_string(&number) == text => Ok(JobId(number)),
            Ok(_) => "not canonical".parse().map(JobId),
            Err(error) => Err(error),
        }
    }
}

/// What a job does with each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Fingerprint and every processor, whether the content is known or not.
    Process,
    /// Read the content again and compare it with its fingerprint.
    Verify,
}

impl Action {
    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Action::Process => "process",
            Action::Verify => "verify",
        }
    }
}

/// Which entries a job is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These.
    Files(Vec<EntryId>),
    /// Those that fit.
    Scope {
        /// By status.
        scope: JobScope,
        /// Only in this folder.
        folder: Option<String>,
        /// Only in this directory and below; starts with the folder's name.
        directory: Option<String>,
    },
}

/// Which entries of a scope a job is for, by status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobScope {
    /// Every entry.
    All,
    /// The unprocessed ones.
    Unprocessed,
    /// The failed ones.
    Failed,
}

/// A job as it was at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it does.
    pub action: Action,
    /// The one folder that it concerns, if it does not concern all.
    pub folder: Option<String>,
    /// Where it stands.
    pub status: JobStatus,
    /// How far it is.
    pub progress: Progress,
    /// The path it works on.
    pub current_file: Option<String>,
    /// Estimated time left.
    pub eta: Option<Duration>,
    /// When it was asked for, nanoseconds since 1970.
    pub created: i64,
    /// When its first item began.
    pub started: Option<i64>,
    /// When it ended.
    pub ended: Option<i64>,
    /// Why it could not go on.
    pub error: Option<String>,
}

impl Job {
    /// Returns the data of `job_updated`.
    #[must_use]
    pub fn event(&self) -> JobUpdated {
        JobUpdated {
            job_id: self.id.to_string(),
            action: self.action.name().to_owned(),
            status: self.status,
            progress: self.progress,
            current_file: self.current_file.clone(),
            eta_s: self
                .eta
                .map(|eta| eta.as_secs() + u64::from(eta.subsec_millis() >= 500)),
        }
    }
}

/// Returns a progress whose percentage is 100 only when all is done.
pub(crate) fn progress(current: u64, total: u64, failed: u64) -> Progress {
    let percent = match total {
        0 => 100,
        total => u128::from(current.min(total)) * 100 / u128::from(total),
    };
    Progress {
        current,
        total,
        percent: u8::try_from(percent).unwrap_or(100),
        failed,
    }
}

/// Where a job is in the order of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Every item up to this id is done.
    cursor: i64,
    /// Done above the cursor.
    ahead: BTreeSet<i64>,
    /// Handed out and not done.
    under_way: BTreeSet<i64>,
    /// The highest id that was handed out or skipped.
    reached: i64,
}

impl Position {
    /// Goes on where a job was left; whatever was under way then is handed out again.
    pub(crate) fn resume(cursor: i64, ahead: &[u8]) -> Position {
        let ids = ahead.chunks_exact(8).map(|id| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(id);
            i64::from_le_bytes(bytes)
        });
        Position {
            cursor,
            ahead: ids.filter(|id| *id > cursor).collect(),
            under_way: BTreeSet::new(),
            reached: cursor,
        }
    }

    /// Returns the id after which the next item is looked for.
    pub(crate) fn reached(&self) -> EntryId {
        EntryId(self.reached)
    }

    /// Tells whether another item may be handed out.
    pub(crate) fn has_room(&self) -> bool {
        self.ahead.len() + self.under_way.len() < MOST_AHEAD
    }

    /// Hands out `id`, the next in order; false if it was done before a restart.
    pub(crate) fn hand_out(&mut self, id: EntryId) -> bool {
        debug_assert!(id.0 > self.reached);
        self.reached = id.0;
        if self.ahead.contains(&id.0) {
            return false;
        }
        self.under_way.insert(id.0);
        true
    }

    /// Takes back an id that was handed out: it is done.
    pub(crate) fn done(&mut self, id: EntryId) {
        self.under_way.remove(&id.0);
        self.ahead.insert(id.0);
        // All that lies below the first one under way is done.
        let limit = self.under_way.first().copied().unwrap_or(i64::MAX);
        while let Some(first) = self.ahead.first().copied().filter(|first| *first < limit) {
            // What was done before a restart and is not reached again yet must stay remembered.
            if first > self.reached {
                break;
            }
            self.ahead.pop_first();
            self.cursor = first;
        }
    }

    /// Tells whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Returns what to remember for [`Position::resume`].
    pub(crate) fn save(&self) -> (i64, Vec<u8>) {
        let ahead = self.ahead.iter().flat_map(|id| id.to_le_bytes()).collect();
        (self.cursor, ahead)
    }
}

/// How fast a job goes, for an estimate that neither jumps nor promises.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    /// One sample a second, the oldest first.
    samples: VecDeque<(Instant, u64)>,
}

/// The estimate looks back so far.
const LOOK_BACK: usize = 60;
/// There is no estimate before so much was seen.
const SEEN_ENOUGH: Duration = Duration::from_secs(3);

impl Pace {
    /// Notes that `current` items were done at `now`.
    pub(crate) fn note(&mut self, now: Instant, current: u64) {
        let due = self
            .samples
            .back()
            .is_none_or(|(last, _)| now.saturating_duration_since(*last) >= Duration::from_secs(1));
        if due {
            self.samples.push_back((now, current));
            if self.samples.len() > LOOK_BACK {
                self.samples.pop_front();
            }
        }
    }

    /// Returns the time that `left` items will take, if enough was seen to tell.
    pub(crate) fn estimate(&self, now: Instant, current: u64, left: u64) -> Option<Duration> {
        if left == 0 {
            return Some(Duration::ZERO);
        }
        let (since, before) = *self.samples.front()?;
        let took = now.saturating_duration_since(since);
        let done = current.saturating_sub(before);
        if took < SEEN_ENOUGH || done == 0 {
            return None;
        }
        let seconds = took.as_secs_f64() / done as f64 * left as f64;
        // Whatever takes longer than ten years is not worth a number.
        (seconds < 3.2e8).then(|| Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_job_has_one_name() {
        assert_eq!("12".parse(), Ok(JobId(12)));
        for text in ["", "012", "+12", " 12", "x", "99999999999999999999", "1e3"] {
            assert!(text.parse::<JobId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_a_finished_job_is_at_100_percent() {
        assert_eq!(progress(0, 0, 0).percent, 100);
        assert_eq!(progress(999_999, 1_000_000, 0).percent, 99);
        assert_eq!(progress(1_000_000, 1_000_000, 5).percent, 100);
        assert_eq!(progress(u64::MAX, 3, 0).percent, 100);
    }

    #[test]
    fn the_estimate_waits_until_it_can_be_sober() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pace.estimate(start, 0, 10), None);
        for second in 0..=2 {
            pace.note(at(second), second * 10);
            assert_eq!(pace.estimate(at(second), second * 10, 10), None);
        }
        pace.note(at(10), 100);
        assert_eq!(pace.estimate(at(10), 100, 50), Some(Duration::from_secs(5)));
        assert_eq!(pace.estimate(at(10), 100, 0), Some(Duration::ZERO));
        let stuck = Pace {
            samples: [(start, 7)].into(),
        };
        assert_eq!(stuck.estimate(at(99), 7, 5), None);
    }

    proptest! {
        /// Kill a job at any moment: what was done is not done again, what was not is.
        #[test]
        fn a_restart_repeats_only_what_was_under_way(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
            kills in prop::collection::vec(0usize..200, 0..4),
        ) {
            let items: Vec<i64> = (1..=60).map(|item| item * 3).collect();
            let mut position = Position::default();
            let (mut done, mut under_way) = (BTreeSet::new(), Vec::new());
            for (number, (hands_out, which)) in steps.into_iter().enumerate() {
                if kills.contains(&number) {
                    let (cursor, ahead) = position.save();
                    position = Position::resume(cursor, &ahead);
                    under_way.clear();
                }
                let next = items.iter().find(|item| **item > position.reached().0);
                match (hands_out, next) {
                    (true, Some(next)) => {
                        let is_new = position.hand_out(EntryId(*next));
                        prop_assert_eq!(is_new, !done.contains(next));
                        if is_new { under_way.push(*next); }
                    }
                    _ if !under_way.is_empty() => {
                        let id = under_way.swap_remove(which.index(under_way.len()));
                        position.done(EntryId(id));
                        prop_assert!(done.insert(id));
                    }
                    _ => {}
                }
                prop_assert_eq!(position.is_idle(), under_way.is_empty());
            }
        }
    }
}
