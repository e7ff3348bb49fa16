//! The **id** of an event: `<epoch>-<sequence>`.
//!
//! The epoch names one life of the service, the sequence a place in it. A client that comes back
//! with an id of another life, or from the future, is told so (`reset`) instead of being left
//! deaf, which a bare number could not do.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;

/// The place of an event: ids of one epoch are ordered by sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// One life of the service.
    pub epoch: u32,
    /// Number within it, from 1; 0 is the place before the first event.
    pub sequence: u64,
}

/// The text is not an id of any epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError;

/// Returns an epoch that differs from that of any other start.
///
/// Random, not the clock: a board without a battery-backed clock starts at the same second at
/// every boot. The standard library seeds its hashers from the kernel's random source.
pub(super) fn new_epoch() -> u32 {
    let seed = RandomState::new().build_hasher().finish();
    u32::try_from(seed >> 32).expect("the upper half of 64 bits is 32 bits")
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.epoch, self.sequence)
    }
}

impl FromStr for EventId {
    type Err = ParseIdError;

    /// Accepts exactly what `Display` writes: anything else was not given out by us.
    fn from_str(text: &str) -> Result<EventId, ParseIdError> {
        let (epoch, sequence) = text.split_once('-').ok_or(ParseIdError)?;
        let id = EventId {
            epoch: u32::from_str_radix(epoch, 16).map_err(|_| ParseIdError)?,
            sequence: sequence.parse().map_err(|_| ParseIdError)?,
        };
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(ParseIdError) // signs, leading zeros, upper case
        }
    }
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an event id")
    }
}

impl std::error::Error for ParseIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = EventId {
            epoch: 0x00ab_cdef,
            sequence: 1247,
        };
        assert_eq!(id.to_string(), "00abcdef-1247");
        assert_eq!("00abcdef-1247".parse(), Ok(id));
    }

    #[test]
    fn what_was_not_given_out_is_refused() {
        for text in [
            "",
            "-",
            "1",
            "abc",
            "00abcdef",
            "00abcdef-",
            "00abcdef-01",
            "00abcdef-+1",
            "+0abcdef-1",
            "00ABCDEF-1",
            "00abcdef--1",
            "00abcdef-1 ",
            " 00abcdef-1",
            "00abcdef-18446744073709551616",
            "100abcdef-1",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(ParseIdError), "{text:?}");
        }
    }
}
