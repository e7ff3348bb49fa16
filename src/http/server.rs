//! The **server**: its settings, its threads, and their start and stop.

use super::door::{self, Door};
use super::figures::HttpFigures;
use super::request::{Gate, Routes};
use super::socket::{self, Waker};
use super::streams::{self, Streams};
use super::tally::Tally;
use super::workers::Workers;
use crate::events::Broadcaster;
use crate::metrics::Registry;
use crate::thread::{self, Handle};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Bounds and times; the defaults are those of the contract, tests shorten them.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Open event streams.
    pub clients: usize,
    /// Open event streams of one address.
    pub clients_per_address: usize,
    /// Connections that do not stream: silent, kept alive, or being answered.
    pub other_connections: usize,
    /// Requests that are answered at the same moment; the next one gets 503.
    pub workers: usize,
    /// Of these, requests of one address.
    pub workers_per_address: usize,
    /// Time for a request line and headers, from the first connection or byte.
    pub head_timeout: Duration,
    /// Time for a body.
    pub body_timeout: Duration,
    /// Time for a client to take an answer, without any progress.
    pub write_timeout: Duration,
    /// Time for which an idle connection is kept for the next request.
    pub keep_alive: Duration,
    /// Silence on a stream after which a heartbeat is sent.
    pub heartbeat: Duration,
    /// Time for which a stream's client may take nothing although something waits for it.
    pub stall: Duration,
    /// Time for which what was sent may stay unacknowledged (`TCP_USER_TIMEOUT`).
    pub unacknowledged: Duration,
    /// A stream lives a random time between these.
    pub lifetime: (Duration, Duration),
    /// What clients wait before they come back.
    pub retry: Duration,
    /// Time that stopping gives streams and answers to end by themselves.
    pub drain: Duration,
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        ServerSettings {
            clients: 1_000,
            clients_per_address: 64,
            other_connections: 1_024,
            workers: 256,
            workers_per_address: 128,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            heartbeat: Duration::from_secs(15),
            stall: Duration::from_secs(20),
            // A client that vanishes right after a heartbeat is found by the next: 15 + 10 s.
            unacknowledged: Duration::from_secs(10),
            lifetime: (Duration::from_secs(50 * 60), Duration::from_secs(60 * 60)),
            retry: Duration::from_secs(5),
            drain: Duration::from_millis(1_500),
        }
    }
}

/// The neighbours of the server.
#[derive(Clone)]
pub struct Parts {
    /// What the streams carry.
    pub events: Broadcaster,
    /// Who answers everything that is not about events.
    pub routes: Arc<dyn Routes>,
    /// Who decides what is let in, before anything else is looked at.
    pub gate: Arc<dyn Gate>,
    /// Tells whether a folder of that name exists.
    pub folders: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Whose figures `/metrics` shows; the server adds its own and those of the events.
    pub metrics: Arc<Registry>,
}

/// A running server. [`Server::stop`] drains it; dropping it does the same.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    // Stopped in this order: no new connections, then the streams end, then the answers.
    door: Option<Handle>,
    streams: Option<Handle>,
}

/// What the threads of the server have in common.
pub(super) struct Shared {
    pub(super) settings: ServerSettings,
    pub(super) parts: Parts,
    pub(super) figures: Arc<HttpFigures>,
    pub(super) stream_tally: Arc<Tally>,
    pub(super) door: Mailbox<door::Message>,
    pub(super) streams: Mailbox<streams::Message>,
    pub(super) workers: Workers,
    pub(super) stopping: AtomicBool,
}

/// A bounded channel to a loop that waits for descriptors.
pub(super) struct Mailbox<T> {
    sender: Sender<T>,
    pub(super) waker: Arc<Waker>,
}

impl<T> Mailbox<T> {
    /// When the channel is full the sender waits: the loops never wait for whoever sends to them.
    fn new() -> io::Result<(Mailbox<T>, Receiver<T>)> {
        let (sender, receiver) = bounded(1_024);
        let waker = Arc::new(Waker::new()?);
        Ok((Mailbox { sender, waker }, receiver))
    }

    /// Hands in a message; gives it back when the loop has ended.
    pub(super) fn send(&self, message: T) -> Result<(), T> {
        let sent = self.sender.send(message).map_err(|refused| refused.0);
        self.waker.wake();
        sent
    }
}

/// Why a server did not start.
#[derive(Debug)]
pub struct ServerError {
    what: &'static str,
    source: io::Error,
}

impl Server {
    /// Starts serving on `listeners` (see [`socket::bind`]).
    ///
    /// # Errors
    /// The kernel refuses a descriptor, an option or a thread.
    pub fn start(
        settings: ServerSettings,
        listeners: Vec<TcpListener>,
        parts: Parts,
    ) -> Result<Server, ServerError> {
        let failed = |what| move |source| ServerError { what, source };
        let mut addresses = Vec::new();
        for listener in &listeners {
            socket::prepare(listener, settings.unacknowledged)
                .map_err(failed("set options of the listening socket"))?;
            addresses.push(
                listener
                    .local_addr()
                    .map_err(failed("read the address of the listening socket"))?,
            );
        }
        let figures = Arc::new(HttpFigures::new());
        parts.metrics.add(Arc::new(parts.events.clone()));
        parts.metrics.add(Arc::clone(&figures) as _);
        let (door_mailbox, door_messages) = Mailbox::new().map_err(failed("make an eventfd"))?;
        let (streams_mailbox, streams_messages) =
            Mailbox::new().map_err(failed("make an eventfd"))?;
        let workers = Workers::new(settings.workers, settings.workers_per_address);
        let shared = Arc::new(Shared {
            settings,
            parts,
            figures,
            stream_tally: Arc::default(),
            door: door_mailbox,
            streams: streams_mailbox,
            workers,
            stopping: AtomicBool::new(false),
        });
        let waker = Arc::clone(&shared.streams.waker);
        let feed = shared.parts.events.feed(move || waker.wake());
        let streams = Streams::new(Arc::clone(&shared), streams_messages, feed)
            .map_err(failed("make an epoll instance"))?;
        let door = Door::new(Arc::clone(&shared), door_messages, listeners)
            .map_err(failed("make an epoll instance"))?;
        let streams = thread::spawn("streams", 256 * 1024, move || streams.run())
            .map_err(failed("start a thread"))?;
        // From here on dropping the server stops what was started.
        let mut server = Server {
            addresses,
            shared,
            door: None,
            streams: Some(streams),
        };
        let door = thread::spawn("accept", 256 * 1024, move || door.run())
            .map_err(failed("start a thread"))?;
        server.door = Some(door);
        Ok(server)
    }

    /// Returns the addresses that are listened to, in the order of the listeners.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Tells whether the threads that must never die answer within `within`: for a watchdog.
    #[must_use]
    pub fn answers(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let (reply, replies) = bounded(2);
        let asked = self
            .shared
            .door
            .send(door::Message::Ping(reply.clone()))
            .is_ok()
            && self
                .shared
                .streams
                .send(streams::Message::Ping(reply))
                .is_ok();
        asked && (0..2).all(|_| replies.recv_deadline(deadline).is_ok())
    }

    /// Takes no more connections, ends every stream with a `retry`, finishes the answers at hand,
    /// and joins the threads; at most 2 s.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let deadline = Instant::now() + self.shared.settings.drain;
        self.shared.stopping.store(true, SeqCst);
        // A loop that has ended by itself needs no telling.
        drop(self.shared.door.send(door::Message::Stop));
        drop(self.shared.streams.send(streams::Message::Stop(deadline)));
        self.shared.parts.events.stop(); // those who poll are answered now
        drop(self.door.take());
        drop(self.streams.take());
        self.shared.workers.stop(deadline);
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} for the HTTP server", self.what)
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}
