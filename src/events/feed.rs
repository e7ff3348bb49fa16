//! A **feed**: everything that is published, taken in steps by the one who serves the streams.
//!
//! Taking what is new and opening the streams that join are one step under the lock: a client
//! that joins in a step gets what was published before it from the history, and everything after
//! it live with the others.

use super::broadcaster::{Broadcaster, Wake};
use super::filter::Filter;
use super::id::EventId;
use super::record::{Record, reset_message};
use std::sync::Arc;

/// A reader of everything that is published; dropping it ends the wake-ups.
pub struct Feed {
    broadcaster: Broadcaster,
    wake: Wake,
    /// Sequence of the last event that was taken.
    cursor: u64,
}

/// A client that wants to join.
#[derive(Clone, Debug)]
pub struct Joining {
    /// What it asks for.
    pub filter: Filter,
    /// The id of the last event that it has, as it was sent.
    pub after: Option<String>,
}

/// What one step brings.
#[derive(Debug)]
pub struct Step {
    /// For those who joined earlier.
    pub news: News,
    /// For those who joined in this step, in their order.
    pub openings: Vec<Opening>,
}

/// What was published since the last step.
#[derive(Debug)]
pub enum News {
    /// These, in order.
    Records(Vec<Arc<Record>>),
    /// More than the history holds: everybody is behind, and has to come back.
    Lost,
}

/// How the stream of a new client begins.
#[derive(Debug)]
pub struct Opening {
    /// The message of a `reset`, where the history cannot help.
    pub reset: Option<Vec<u8>>,
    /// What follows: the replay, or the last event of each type.
    pub records: Vec<Arc<Record>>,
    /// The records are a replay.
    pub replays: bool,
}

/// Why a client must read the snapshot again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// Its id is of another life of the service.
    Restart,
    /// What it missed is no longer in the history.
    HistoryGap,
    /// Its id is from the future, or no id at all.
    UnknownId,
}

impl ResetReason {
    /// Every reason.
    pub const ALL: [ResetReason; 3] = [
        ResetReason::Restart,
        ResetReason::HistoryGap,
        ResetReason::UnknownId,
    ];

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ResetReason::Restart => "restart",
            ResetReason::HistoryGap => "history_gap",
            ResetReason::UnknownId => "unknown_id",
        }
    }

    pub(super) fn place(self) -> usize {
        match self {
            ResetReason::Restart => 0,
            ResetReason::HistoryGap => 1,
            ResetReason::UnknownId => 2,
        }
    }
}

impl Feed {
    pub(super) fn new(broadcaster: Broadcaster, cursor: u64, wake: Wake) -> Feed {
        Feed {
            broadcaster,
            wake,
            cursor,
        }
    }

    /// Returns the broadcaster that is read.
    #[must_use]
    pub fn broadcaster(&self) -> &Broadcaster {
        &self.broadcaster
    }

    /// Takes what is new, and opens the streams of those who join.
    pub fn step(&mut self, joining: &[Joining]) -> Step {
        let state = self.broadcaster.lock();
        let news = match state.history.since(self.cursor, state.last) {
            Some(records) => News::Records(records.map(Arc::clone).collect()),
            None => News::Lost,
        };
        self.cursor = state.last;
        let openings = joining
            .iter()
            .map(|client| match client.after.as_deref() {
                None => Opening {
                    reset: None,
                    records: state.latest.matching(&client.filter),
                    replays: false,
                },
                Some(text) => match state.resume(text) {
                    Ok(sequence) => Opening {
                        reset: None,
                        records: state
                            .history
                            .since(sequence, state.last)
                            .into_iter()
                            .flatten()
                            .filter(|record| client.filter.passes(record))
                            .map(Arc::clone)
                            .collect(),
                        replays: true,
                    },
                    Err(reason) => {
                        self.broadcaster.shared.figures.count_reset(reason);
                        let records = state.latest.matching(&client.filter);
                        let id = reset_id(&records, state.last_id());
                        Opening {
                            reset: Some(reset_message(id, reason.name())),
                            records,
                            replays: false,
                        }
                    }
                },
            })
            .collect();
        Step { news, openings }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut state = self.broadcaster.lock();
        state.feeds.retain(|wake| !Arc::ptr_eq(wake, &self.wake));
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

/// Returns the id of a `reset`: the place right before what follows it. It replaces the useless id
/// that the client came with, and ids still only grow on the connection.
fn reset_id(following: &[Arc<Record>], last: EventId) -> EventId {
    match following.first() {
        Some(first) => EventId {
            sequence: first.id().sequence - 1,
            ..last
        },
        None => last,
    }
}
