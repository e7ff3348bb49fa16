//! A **record**: one published event with its id, serialised once for everybody.

use super::filter::Scope;
use super::id::EventId;
use super::types::{Event, EventType};
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

/// A published event. Its bytes are shared by the history and every client.
#[derive(Debug)]
pub struct Record {
    id: EventId,
    kind: EventType,
    priority: bool,
    scope: Scope,
    published: Instant,
    /// `id: …\ndata: {…}\n\n`
    message: Box<[u8]>,
    /// Where in `message` the JSON is.
    json: Range<usize>,
}

/// The part of a record that needs no id, made outside of the lock.
pub(super) struct Draft {
    kind: EventType,
    priority: bool,
    scope: Scope,
    data: String,
}

impl Draft {
    pub(super) fn new(event: &Event, scope: Scope) -> Draft {
        Draft {
            kind: event.kind(),
            priority: event.is_priority(),
            scope,
            // serde_json escapes every control character, so that this is one line whatever the
            // names and messages in it hold, and serde's strings are UTF-8 by their type.
            data: serde_json::to_string(event).expect("our event types serialise"),
        }
    }

    /// Gives the draft its id and time.
    pub(super) fn record(self, id: EventId) -> Record {
        let head = format!("id: {id}\ndata: ");
        let json = json_text(self.kind, &self.data, now_since_1970());
        let message = format!("{head}{json}\n\n");
        Record {
            id,
            kind: self.kind,
            priority: self.priority,
            scope: self.scope,
            published: Instant::now(),
            json: head.len()..head.len() + json.len(),
            message: message.into_bytes().into_boxed_slice(),
        }
    }
}

impl Record {
    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Returns the type.
    #[must_use]
    pub fn kind(&self) -> EventType {
        self.kind
    }

    /// Tells whether it bypasses the limit of a client's queue.
    #[must_use]
    pub fn is_priority(&self) -> bool {
        self.priority
    }

    /// Returns whom it concerns.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the moment at which it was published.
    #[must_use]
    pub fn published(&self) -> Instant {
        self.published
    }

    /// Returns the message of the event stream, its closing empty line included.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Returns `{"type":…,"data":…,"timestamp":…}`.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.message[self.json.clone()]
    }
}

/// Returns the message of a `reset` that asks to read the snapshot again.
pub(super) fn reset_message(id: EventId, reason: &str) -> Vec<u8> {
    let json = json_text(
        EventType::Reset,
        &format!("{{\"reason\":\"{reason}\"}}"),
        now_since_1970(),
    );
    format!("id: {id}\ndata: {json}\n\n").into_bytes()
}

/// Returns an event that was not published and so has no id, such as the refusal of one client.
#[must_use]
pub(crate) fn message_without_id(event: &Event) -> Vec<u8> {
    let data = serde_json::to_string(event).expect("our event types serialise");
    let json = json_text(event.kind(), &data, now_since_1970());
    format!("data: {json}\n\n").into_bytes()
}

fn json_text(kind: EventType, data: &str, now: Duration) -> String {
    format!(
        "{{\"type\":\"{}\",\"data\":{data},\"timestamp\":{}.{:06}}}",
        kind.name(),
        now.as_secs(),
        now.subsec_micros()
    )
}

/// A clock before 1970 (a board that has not found the time yet) counts as 1970.
fn now_since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
