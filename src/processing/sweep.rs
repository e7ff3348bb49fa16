//! A **sweep** over the unprocessed entries of the index, in the order of their ids. Pure.
//!
//! The index is the queue of automatic work, so nothing can be forgotten: each signal that there is
//! work leads to one more sweep from the first id. Where many entries must wait (open files, an
//! offline folder), sweeping them again and again would cost more than the work, so sweeps keep a
//! distance of four times what the last one spent in vain; what is new is looked for at once all the same.

use std::time::{Duration, Instant};

use crate::library::EntryId;

/// A sweep that took less is no burden.
const CHEAP: Duration = Duration::from_millis(2);

/// Where the sweep is.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// Id that the running sweep looks behind.
    at: Option<EntryId>,
    /// The running sweep only looks for what is newer than everything seen.
    only_new: bool,
    /// A signal came since the last full sweep began.
    again: bool,
    /// A signal came since the last sweep of any kind began.
    unseen: bool,
    /// The highest id ever seen.
    newest: EntryId,
    /// Time that the running sweep spent in vain so far.
    idle: Duration,
    not_before: Option<Instant>,
}

impl Sweep {
    /// Begins with a sweep, since a signal may have been missed before.
    pub(crate) fn new() -> Sweep {
        Sweep {
            at: None,
            only_new: false,
            again: true,
            unseen: true,
            newest: EntryId(0),
            idle: Duration::ZERO,
            not_before: None,
        }
    }

    /// Notes that there is work.
    pub(crate) fn signal(&mut self) {
        self.again = true;
        self.unseen = true;
    }

    /// Returns the id behind which to look for entries now, if that is called for.
    pub(crate) fn next(&mut self, now: Instant) -> Option<EntryId> {
        if self.at.is_none() {
            let early = self.not_before.is_some_and(|at| now < at);
            if self.again && !early {
                self.again = false;
                self.only_new = false;
                self.at = Some(EntryId(0));
            } else if self.unseen {
                self.only_new = true;
                self.at = Some(self.newest);
            }
            self.unseen &= self.at.is_none();
            self.idle = Duration::ZERO;
        }
        self.at
    }

    /// Returns when [`Sweep::next`] will have something, if a signal waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.at.is_none() && self.again)
    }

    /// Takes note of what was found: the last id of a page, whether it was the last page, and the
    /// time that went into entries that could not be begun.
    pub(crate) fn found(
        &mut self,
        last: Option<EntryId>,
        is_end: bool,
        idle: Duration,
        now: Instant,
    ) {
        if let Some(last) = last {
            self.newest = self.newest.max(last);
            self.at = Some(last);
        }
        self.idle += idle;
        if is_end {
            self.at = None;
            if !self.only_new {
                self.not_before = (self.idle > CHEAP).then(|| now + self.idle * 4);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_leads_to_one_sweep() {
        let now = Instant::now();
        let mut sweep = Sweep::new();
        assert_eq!(sweep.next(now), Some(EntryId(0)));
        sweep.found(Some(EntryId(9)), false, Duration::ZERO, now);
        sweep.signal();
        assert_eq!(sweep.next(now), Some(EntryId(9)));
        sweep.found(None, true, Duration::ZERO, now);
        assert_eq!(
            sweep.next(now),
            Some(EntryId(0)),
            "the signal came during the sweep"
        );
        sweep.found(None, true, Duration::ZERO, now);
        assert_eq!(sweep.next(now), None);
    }

    #[test]
    fn a_costly_sweep_waits_but_what_is_new_does_not() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut sweep = Sweep::new();
        assert_eq!(sweep.next(start), Some(EntryId(0)));
        sweep.found(Some(EntryId(50)), true, second, start);
        sweep.signal();
        assert_eq!(sweep.next(start), Some(EntryId(50)));
        sweep.signal();
        sweep.found(Some(EntryId(51)), true, Duration::ZERO, start);
        assert_eq!(
            sweep.next(start),
            Some(EntryId(51)),
            "the signal came while looking"
        );
        sweep.found(None, true, Duration::ZERO, start);
        assert_eq!(sweep.next(start), None);
        assert_eq!(sweep.due(), Some(start + second * 4));
        assert_eq!(sweep.next(start + second * 4), Some(EntryId(0)));
    }
}
