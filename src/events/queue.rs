//! The **queue** of a client: what was published and is not yet written to it.
//!
//! Pure: it holds references to shared buffers, counts the events in them, and says when the
//! client is *behind*. A hundred events may wait; events of priority have a reserve of 16 of their
//! own and count against the hundred only when that is used up, so that memory stays bounded and
//! yet it is practically never a priority event that ends a client. What is replayed from the
//! history does not count: a client that comes back for a thousand events is not behind for it.

use super::joined::{Envelope, Joined, Mark};
use super::record::Record;
use std::collections::VecDeque;
use std::sync::Arc;

/// Events that may wait for one client (contract section 3).
const LIMIT: usize = 100;
/// Further room for events of priority alone.
const RESERVE: usize = 16;

/// What waits for one client.
#[derive(Debug)]
pub struct Queue {
    envelope: Envelope,
    waiting: VecDeque<Part>,
    front: Option<Front>,
    plain: usize,
    priority: usize,
}

/// One event that went out as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// The event.
    pub mark: Mark,
    /// It came live, not from the history.
    pub live: bool,
}

#[derive(Debug)]
enum Part {
    Live(Arc<Joined>),
    /// Records of the history, joined piece by piece when their turn comes: a thousand clients
    /// that come back at the same moment must not hold a thousand copies of the history.
    Replay(VecDeque<Arc<Record>>),
}

#[derive(Debug)]
struct Front {
    joined: Arc<Joined>,
    written: usize,
    marks_done: usize,
    live: bool,
}

impl Queue {
    /// Returns an empty queue for a transport that puts `envelope` around what is written.
    #[must_use]
    pub fn new(envelope: Envelope) -> Queue {
        Queue {
            envelope,
            waiting: VecDeque::new(),
            front: None,
            plain: 0,
            priority: 0,
        }
    }

    /// Adds a buffer of live events, or one without events.
    pub fn push(&mut self, joined: &Arc<Joined>) {
        let priority = joined.marks().iter().filter(|mark| mark.priority).count();
        self.priority += priority;
        self.plain += joined.marks().len() - priority;
        self.waiting.push_back(Part::Live(Arc::clone(joined)));
    }

    /// Adds records of the history.
    pub fn push_replay(&mut self, records: Vec<Arc<Record>>) {
        if !records.is_empty() {
            self.waiting.push_back(Part::Replay(records.into()));
        }
    }

    /// Returns what is to be written next, if anything is.
    pub fn front(&mut self) -> Option<&[u8]> {
        if self.front.is_none() {
            let (joined, live) = self.next_joined()?;
            self.front = Some(Front {
                joined,
                written: 0,
                marks_done: 0,
                live,
            });
        }
        let front = self.front.as_ref()?;
        Some(&front.joined.bytes()[front.written..])
    }

    fn next_joined(&mut self) -> Option<(Arc<Joined>, bool)> {
        loop {
            match self.waiting.pop_front()? {
                Part::Live(joined) => return Some((joined, true)),
                Part::Replay(mut records) => {
                    let joined = Joined::take_from(&mut records.iter(), self.envelope);
                    let Some(joined) = joined else { continue };
                    records.drain(..joined.marks().len());
                    self.waiting.push_front(Part::Replay(records));
                    return Some((joined, false));
                }
            }
        }
    }

    /// Notes that so many bytes of [`Queue::front`] were written, and tells of each event that
    /// thereby went out as a whole.
    pub fn written(&mut self, bytes: usize, mut delivered: impl FnMut(Delivered)) {
        let Some(front) = &mut self.front else { return };
        front.written += bytes;
        debug_assert!(front.written <= front.joined.bytes().len());
        while let Some(mark) = front.joined.marks().get(front.marks_done) {
            if mark.end > front.written {
                break;
            }
            front.marks_done += 1;
            if front.live && mark.priority {
                self.priority -= 1;
            } else if front.live {
                self.plain -= 1;
            }
            delivered(Delivered {
                mark: *mark,
                live: front.live,
            });
        }
        if front.written == front.joined.bytes().len() {
            self.front = None;
        }
    }

    /// Tells whether more live events wait than may.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.plain + self.priority.saturating_sub(RESERVE) > LIMIT
    }

    /// Returns how many live events wait.
    #[must_use]
    pub fn lag(&self) -> usize {
        self.plain + self.priority
    }

    /// Tells whether everything was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.front.is_none() && self.waiting.is_empty()
    }

    /// Forgets what was not begun, so that the next thing written is the last: a stream that ends
    /// must not end in the middle of a buffer.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Returns what the transport puts around each buffer.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        self.envelope
    }
}
