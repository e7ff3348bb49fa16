//! A **tally**: how many of something each client address has, for limits by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by address and in all.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One that is counted, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    tally: Arc<Tally>,
    address: IpAddr,
}

impl Tally {
    /// Counts one more of `address`, unless `limit` are counted already or `per_address` of it.
    pub(super) fn take(
        self: &Arc<Tally>,
        address: IpAddr,
        limit: usize,
        per_address: usize,
    ) -> Option<Seat> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= limit || of_address >= per_address {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, of_address + 1);
        Some(Seat {
            tally: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let counts = &self.tally.counts;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_given_back_when_it_is_dropped() {
        let tally = Arc::new(Tally::default());
        let here: IpAddr = [127, 0, 0, 1].into();
        let there: IpAddr = [127, 0, 0, 2].into();
        let first = tally.take(here, 2, 1).unwrap();
        assert!(tally.take(here, 2, 1).is_none(), "one for each address");
        let second = tally.take(there, 2, 1).unwrap();
        assert!(
            tally.take([10, 0, 0, 1].into(), 2, 1).is_none(),
            "two in all"
        );
        drop((first, second));
        assert!(tally.take(here, 2, 1).is_some());
        assert!(tally.counts.lock().unwrap().by_address.is_empty());
    }
}
