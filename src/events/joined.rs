//! **Joined** events: the messages of one burst as one buffer that all clients share.
//!
//! A burst of 50 events is one write for each client, not 50. Marks tell where each event ends,
//! so that a queue can still count events, and a figure can tell when each was delivered.

use super::filter::Filter;
use super::record::Record;
use std::sync::Arc;
use std::time::Instant;

/// A buffer is closed once it holds this much: enough that the cost of a write does not count,
/// and little enough that a client which is cut off has at most this much to give back.
const ENOUGH_BYTES: usize = 64 * 1024;

/// What the transport puts around each buffer (HTTP: the framing of a chunk).
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// Returns what precedes so many bytes.
    pub before: fn(usize) -> String,
    /// What follows them.
    pub after: &'static str,
}

/// Messages in one buffer.
#[derive(Debug)]
pub struct Joined {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

/// The end of one event in a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Number of bytes up to and with this event.
    pub end: usize,
    /// The event bypasses the limit of the queue.
    pub priority: bool,
    /// When it was published.
    pub published: Instant,
}

impl Joined {
    /// Returns a buffer that holds no event, such as a heartbeat.
    #[must_use]
    pub fn of_bytes(bytes: &[u8], envelope: Envelope) -> Arc<Joined> {
        let mut whole = (envelope.before)(bytes.len()).into_bytes();
        whole.extend_from_slice(bytes);
        whole.extend_from_slice(envelope.after.as_bytes());
        Arc::new(Joined {
            bytes: whole,
            marks: Vec::new(),
        })
    }

    /// Returns the records that pass `filter`, in as few buffers as are reasonable.
    #[must_use]
    pub fn of_records(
        records: &[Arc<Record>],
        filter: &Filter,
        envelope: Envelope,
    ) -> Vec<Arc<Joined>> {
        let mut rest = records.iter().filter(|record| filter.passes(record));
        std::iter::from_fn(|| Joined::take_from(&mut rest, envelope)).collect()
    }

    /// Fills one buffer from `records`; nothing when there is none left.
    pub(super) fn take_from<'a>(
        records: &mut impl Iterator<Item = &'a Arc<Record>>,
        envelope: Envelope,
    ) -> Option<Arc<Joined>> {
        let mut messages = Vec::new();
        let mut marks = Vec::new();
        while messages.len() < ENOUGH_BYTES {
            let Some(record) = records.next() else { break };
            messages.extend_from_slice(record.message());
            marks.push(Mark {
                end: messages.len(),
                priority: record.is_priority(),
                published: record.published(),
            });
        }
        let before = (envelope.before)(messages.len());
        for mark in &mut marks {
            mark.end += before.len();
        }
        // What follows the messages belongs to the last of them.
        marks.last_mut()?.end += envelope.after.len();
        let mut bytes = before.into_bytes();
        bytes.append(&mut messages);
        bytes.extend_from_slice(envelope.after.as_bytes());
        Some(Arc::new(Joined { bytes, marks }))
    }

    /// Returns the bytes to write.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns where the events end.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }
}
