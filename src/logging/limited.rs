//! **Limited** lines: what a client can provoke must not fill the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one line of a kind through in a while, and counts those that it leaves out.
///
/// ```
/// # use shelfcast::logging::Limited;
/// static REFUSED: Limited = Limited::once_a_minute();
/// if let Some(left_out) = REFUSED.pass() {
///     log::warn!("request refused peer=192.0.2.7 left_out={left_out}");
/// }
/// ```
#[derive(Debug)]
pub struct Limited {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Limited {
    /// Returns a limit of one line a minute.
    #[must_use]
    pub const fn once_a_minute() -> Limited {
        Limited::new(Duration::from_secs(60))
    }

    /// Returns a limit of one line in `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Limited {
        let state = State {
            last: None,
            left_out: 0,
        };
        Limited {
            interval,
            state: Mutex::new(state),
        }
    }

    /// Returns how many lines were left out since the last, if this one may be written.
    #[must_use]
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    /// The same at a given time, which a test may choose.
    #[must_use]
    pub fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |last: Instant| now.saturating_duration_since(last) < self.interval;
        if state.last.is_some_and(waits) {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_and_the_rest_are_counted() {
        let limited = Limited::once_a_minute();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limited.pass_at(at(0)), Some(0));
        assert_eq!(limited.pass_at(at(1)), None);
        assert_eq!(limited.pass_at(at(59)), None);
        assert_eq!(limited.pass_at(at(60)), Some(2));
        assert_eq!(limited.pass_at(at(61)), None);
        assert_eq!(limited.pass_at(at(300)), Some(1));
    }
}
