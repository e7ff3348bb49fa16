//! **HTTP**: accepting, limits, routing, and the streams of events.
//!
//! The promise: a client costs what it asks for and nothing more. One that has sent nothing, sends
//! slowly, or keeps its connection for later is a descriptor in `door`; a complete request gets a
//! thread of `workers` for as long as it is answered; an open event stream is a descriptor and a
//! queue in `streams`. So nobody who waits can take a thread from those who work.
//!
//! ```text
//! listener ─▶ door ──complete head──▶ worker ──▶ gate ──▶ router ──▶ answer
//!              ▲  (16 KiB, 10 s)        │  │
//!              └──────keep-alive────────┘  └──event stream──▶ streams ◀─feed─ events
//! ```
//!
//! Of tiny_http we take its vocabulary and its writing of answers, not its server: that one reads
//! heads of any length for any time, ends its accept thread at the first error, never joins its
//! threads, gives out no socket, and may let a request wait for the connection of somebody else.

pub mod access;
pub mod api;
pub mod body;
mod door;
mod figures;
pub mod head;
pub mod request;
mod router;
pub mod routes;
mod server;
pub mod socket;
pub mod sse;
mod stream;
mod streams;
mod tally;
mod workers;

pub use server::{Parts, Server, ServerError, ServerSettings};
pub use socket::bind;
