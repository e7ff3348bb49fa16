//! **Events**: types, ids, the broadcaster, subscriptions, history, latency figures.
//!
//! An event is *published* once ([`Broadcaster::publish`]): it gets its id, is serialised, and is
//! recorded in the history under one short lock. Everybody else reads: a [`Feed`] takes what is
//! new for all open streams together, [`Broadcaster::poll`] waits for one client. Reading the
//! history and joining are one step under the same lock, so that no event falls between them and
//! none comes twice. Nobody who publishes ever waits for a client.

mod broadcaster;
mod feed;
mod figures;
mod filter;
mod history;
mod id;
mod joined;
mod latest;
pub mod limiter;
mod queue;
mod record;
pub mod types;

pub use broadcaster::{Broadcaster, Polled, Settings};
pub use feed::{Feed, Joining, News, Opening, ResetReason, Step};
pub use figures::{Figures, Latency, Stats};
pub use filter::{Filter, Scope, TypeSet};
pub use id::{EventId, ParseIdError};
pub use joined::{Envelope, Joined, Mark};
pub use queue::{Delivered, Queue};
pub use record::Record;
pub(crate) use record::message_without_id;
