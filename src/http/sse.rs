//! **Server-sent events** on the wire: heads, framing, and the messages that are not events.
//!
//! WHATWG HTML section 9.2 for the stream, RFC 9112 section 7.1 for the chunks.

use crate::events::Envelope;
use crate::events::types::{ErrorEvent, Event};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How a client sees the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// HTTP/1.1: every write is a chunk, and an empty chunk is the end.
    Chunked,
    /// HTTP/1.0: the end of the connection is the end.
    UntilClose,
}

/// Script sees this where it would not see a comment; it has no id, so the client's own stays.
pub(super) const HEARTBEAT: &str = "event: heartbeat\ndata: {}\n\n";

impl Framing {
    /// Returns the head of the answer. No cache keeps it, no proxy holds it back (nginx honours
    /// `X-Accel-Buffering`) or compresses it.
    pub(super) fn head(self) -> &'static str {
        match self {
            Framing::Chunked => concat!(
                "HTTP/1.1 200 OK\r\n",
                "Content-Type: text/event-stream\r\n",
                "Cache-Control: no-cache, no-store, no-transform\r\n",
                "X-Accel-Buffering: no\r\n",
                "X-Content-Type-Options: nosniff\r\n",
                "Server: shelfcast\r\n",
                "Transfer-Encoding: chunked\r\n",
                "Connection: close\r\n\r\n",
            ),
            Framing::UntilClose => concat!(
                "HTTP/1.0 200 OK\r\n",
                "Content-Type: text/event-stream\r\n",
                "Cache-Control: no-cache, no-store, no-transform\r\n",
                "X-Accel-Buffering: no\r\n",
                "X-Content-Type-Options: nosniff\r\n",
                "Server: shelfcast\r\n",
                "Connection: close\r\n\r\n",
            ),
        }
    }

    /// Returns what is put around each buffer of messages.
    pub(super) fn envelope(self) -> Envelope {
        match self {
            Framing::Chunked => Envelope {
                before: |length| format!("{length:x}\r\n"),
                after: "\r\n",
            },
            Framing::UntilClose => NO_ENVELOPE,
        }
    }

    /// Returns what ends the body.
    pub(super) fn end(self) -> &'static str {
        match self {
            Framing::Chunked => "0\r\n\r\n",
            Framing::UntilClose => "",
        }
    }

    /// Returns `messages` as one piece of the body.
    pub(super) fn framed(self, messages: &[u8]) -> Vec<u8> {
        let envelope = self.envelope();
        let mut framed = (envelope.before)(messages.len()).into_bytes();
        framed.extend_from_slice(messages);
        framed.extend_from_slice(envelope.after.as_bytes());
        framed
    }
}

/// For what is framed already.
pub(super) const NO_ENVELOPE: Envelope = Envelope {
    before: |_| String::new(),
    after: "",
};

/// Returns the message that tells a client how long to wait before it comes back.
pub(super) fn retry(wait: Duration) -> String {
    format!("retry: {}\n\n", wait.as_millis())
}

/// Returns the whole answer to a client that is one too many.
///
/// It is a 200, since anything else makes a browser give up for good; and the times at which the
/// refused come back are spread, since otherwise they would all come at once.
pub(super) fn too_many_clients(framing: Framing) -> Vec<u8> {
    let wait = random_between(Duration::from_secs(20), Duration::from_secs(40));
    let error = Event::Error(ErrorEvent {
        code: "too_many_clients".to_owned(),
        message: "too many event streams are open, trying again later".to_owned(),
        hint: Some(
            "raise clients or clients_per_address in [limits], or close some pages".to_owned(),
        ),
        folder: None,
    });
    let mut messages = retry(wait).into_bytes();
    messages.extend(crate::events::message_without_id(&error));
    let mut answer = framing.head().as_bytes().to_vec();
    answer.extend(framing.framed(&messages));
    answer.extend_from_slice(framing.end().as_bytes());
    answer
}

/// Returns a random duration from `shortest` to `longest`, in milliseconds.
///
/// To spread clients over time, not to keep secrets: the standard library's hasher is random
/// enough, and each one is keyed anew.
pub(super) fn random_between(shortest: Duration, longest: Duration) -> Duration {
    let span_ms = longest.saturating_sub(shortest).as_millis();
    let span_ms = u64::try_from(span_ms).unwrap_or(u64::MAX).saturating_add(1);
    let random = RandomState::new().build_hasher().finish();
    shortest + Duration::from_millis(random % span_ms)
}
