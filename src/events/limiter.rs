//! A **rate limit** as a pure token bucket: how bursts are coalesced before they are published.
//!
//! Whoever publishes asks [`RateLimit::try_take`]; where it refuses, the newest state is kept and
//! published at the moment that the refusal names. With a burst of 3 and 7 a second there are
//! never more than 10 in any second, and the first change after a quiet time waits for nothing.

use std::time::{Duration, Instant};

/// A bucket of `burst` tokens that is filled at a steady rate. Its clock is the caller's.
#[derive(Clone, Debug)]
pub struct RateLimit {
    burst: u32,
    /// Time in which one token drips in.
    interval: Duration,
    /// When the bucket is (or was) full; each token taken moves it on by one interval.
    full_at: Option<Instant>,
}

impl RateLimit {
    /// Returns a full bucket; both numbers count as at least 1.
    #[must_use]
    pub fn new(burst: u32, per_second: u32) -> RateLimit {
        RateLimit {
            burst: burst.max(1),
            interval: Duration::from_secs(1) / per_second.max(1),
            full_at: None,
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The bucket is empty; the instant is when to come back.
    pub fn try_take(&mut self, now: Instant) -> Result<(), Instant> {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + self.interval;
        let room = self.interval * self.burst;
        if full_at <= now + room {
            self.full_at = Some(full_at);
            return Ok(());
        }
        // `full_at > now + room` here, and `room` lies between two instants of the process.
        Err(now + (full_at - now - room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_at_once_and_the_next_is_told_when() {
        let mut limit = RateLimit::new(3, 10);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limit.try_take(start), Ok(()));
        }
        let again = start + Duration::from_millis(100);
        assert_eq!(limit.try_take(start), Err(again));
        assert_eq!(limit.try_take(again), Ok(()));
    }

    proptest! {
        /// However it is asked, no window of one second sees more than burst + rate, and the
        /// moment that a refusal names is one at which it grants.
        #[test]
        fn no_second_sees_more_than_ten(gaps in prop::collection::vec(0u64..400, 1..200)) {
            let mut limit = RateLimit::new(3, 7);
            let mut now = Instant::now();
            let mut granted = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                match limit.try_take(now) {
                    Ok(()) => granted.push(now),
                    Err(at) => {
                        prop_assert!(at > now);
                        prop_assert!(limit.clone().try_take(at).is_ok());
                    }
                }
            }
            for (first, start) in granted.iter().enumerate() {
                let end = *start + Duration::from_secs(1);
                let inside = granted[first..].iter().take_while(|at| **at < end).count();
                prop_assert!(inside <= 10, "{inside} in one second");
            }
        }
    }
}
