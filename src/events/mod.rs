//! **Events**: types, ids, the broadcaster, subscriptions, history, latency figures.

pub mod types;
