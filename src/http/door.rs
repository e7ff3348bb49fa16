//! The **door**: accepts connections, and keeps them until a whole request head is there.
//!
//! One thread for all of them. A connection that says nothing, says it slowly, or waits for its
//! next request is a descriptor, a few bytes and a deadline here; it becomes a worker's business
//! with the last byte of its head. Accepting goes on whatever happens: when descriptors, memory or
//! the limit of connections run out, whoever has waited longest is closed to make room.

use super::head::{self, Version};
use super::request::{ApiError, Response};
use super::router;
use super::server::Shared;
use super::socket::{Connection, Poller, Ready};
use super::workers::{Job, Refused};
use crossbeam_channel::{Receiver, Sender};
use rustix::event::epoll::EventFlags;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long accepting rests when there is no room and nobody to close.
const REST: Duration = Duration::from_millis(100);
/// Connections accepted in a row before the others have their turn.
const ROUND: usize = 64;

/// What the door is told.
pub(super) enum Message {
    /// A connection that was answered waits for its next request.
    Back(Connection),
    /// Asks for a sign of life.
    Ping(Sender<()>),
    /// Accept no more and close what waits.
    Stop,
}

pub(super) struct Door {
    shared: Arc<Shared>,
    messages: Receiver<Message>,
    poller: Poller,
    /// Their keys are their places.
    listeners: Vec<TcpListener>,
    /// When accepting goes on, while it rests.
    resting_until: Option<Instant>,
    waiting: HashMap<u64, Waiting>,
    /// Of those who wait, soonest first: also the order in which they are closed to make room.
    deadlines: BTreeSet<(Instant, u64)>,
    next_key: u64,
    last_complaint: Option<Instant>,
}

struct Waiting {
    connection: Connection,
    deadline: Instant,
}

impl Door {
    pub(super) fn new(
        shared: Arc<Shared>,
        messages: Receiver<Message>,
        listeners: Vec<TcpListener>,
    ) -> io::Result<Door> {
        let poller = Poller::new(Arc::clone(&shared.door.waker))?;
        for (key, listener) in (0..).zip(&listeners) {
            poller.add(listener, key, EventFlags::IN)?;
        }
        Ok(Door {
            shared,
            messages,
            poller,
            next_key: listeners.len() as u64,
            listeners,
            resting_until: None,
            waiting: HashMap::new(),
            deadlines: BTreeSet::new(),
            last_complaint: None,
        })
    }

    pub(super) fn run(mut self) {
        let mut ready = Vec::new();
        loop {
            let deadline = self.deadlines.first().map(|(at, _)| *at);
            let next = [deadline, self.resting_until].into_iter().flatten().min();
            self.poller.wait(next, &mut ready);
            while let Ok(message) = self.messages.try_recv() {
                match message {
                    Message::Back(connection) => {
                        let settings = &self.shared.settings;
                        // Part of the next request may have come with the last one.
                        let patience = match connection.unread.is_empty() {
                            true => settings.keep_alive,
                            false => settings.head_timeout,
                        };
                        self.wait_for_head(connection, patience);
                    }
                    // Whoever asked may have stopped waiting for the answer.
                    Message::Ping(reply) => drop(reply.try_send(())),
                    Message::Stop => return,
                }
            }
            for Ready { key, .. } in &ready {
                match usize::try_from(*key) {
                    Ok(place) if place < self.listeners.len() => self.accept(place),
                    _ => self.read(*key),
                }
            }
            let now = Instant::now();
            if self.resting_until.is_some_and(|until| until <= now) {
                self.resting_until = None;
                for place in 0..self.listeners.len() {
                    let flags = EventFlags::IN;
                    let listener = &self.listeners[place];
                    if let Err(error) = self.poller.add(listener, place as u64, flags) {
                        self.rest(&error); // no memory for it now: again later
                        break;
                    }
                }
            }
            self.close_overdue(now);
        }
    }

    fn accept(&mut self, place: usize) {
        for _ in 0..ROUND {
            let accepted = self.listeners[place].accept();
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The client went away before it was accepted, or a signal came.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(error) => {
                    self.shared.figures.accept_errors.increment();
                    if !self.make_room() {
                        self.rest(&error);
                        return;
                    }
                    continue;
                }
            };
            self.shared.figures.accepted.increment();
            let connection = Connection::new(socket, peer, Arc::clone(&self.shared.figures));
            let Ok(connection) = connection else { continue };
            let settings = &self.shared.settings;
            let limit = settings.clients.saturating_add(settings.other_connections);
            let open = usize::try_from(self.shared.figures.connections.get()).unwrap_or(0);
            if open > limit && !self.make_room() {
                continue; // everybody is being answered: the newcomer is closed
            }
            let patience = self.shared.settings.head_timeout;
            self.wait_for_head(connection, patience);
        }
    }

    /// Closes whoever has waited longest; tells whether there was somebody.
    fn make_room(&mut self) -> bool {
        let Some((_, key)) = self.deadlines.first().copied() else {
            return false;
        };
        self.shared.figures.evicted.increment();
        drop(self.take(key));
        true
    }

    /// Stops accepting for a moment, so that a listener that cannot be served does not spin.
    fn rest(&mut self, error: &io::Error) {
        let now = Instant::now();
        let silent = Duration::from_secs(60);
        if self.last_complaint.is_none_or(|at| now >= at + silent) {
            self.last_complaint = Some(now);
            log::warn!("cannot accept a connection, trying again error={error}");
        }
        for listener in &self.listeners {
            self.poller.remove(listener).ok(); // it may be out already
        }
        self.resting_until = Some(now + REST);
    }

    fn wait_for_head(&mut self, connection: Connection, patience: Duration) {
        let key = self.next_key;
        self.next_key += 1;
        let flags = EventFlags::IN | EventFlags::RDHUP;
        if self.poller.add(&connection.socket, key, flags).is_err() {
            return; // out of memory: it is closed, and comes again
        }
        let deadline = Instant::now() + patience;
        self.deadlines.insert((deadline, key));
        let waiting = Waiting {
            connection,
            deadline,
        };
        self.waiting.insert(key, waiting);
    }

    fn take(&mut self, key: u64) -> Option<Connection> {
        let waiting = self.waiting.remove(&key)?;
        self.deadlines.remove(&(waiting.deadline, key));
        // Only a descriptor that is not in the set fails, and this one is.
        self.poller.remove(&waiting.connection.socket).ok();
        Some(waiting.connection)
    }

    fn read(&mut self, key: u64) {
        let Some(waiting) = self.waiting.get_mut(&key) else {
            return; // closed earlier in this round
        };
        let connection = &mut waiting.connection;
        let had = connection.unread.len();
        match connection.fill(head::MAX_BYTES + 1) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(0) | Err(_) => {
                drop(self.take(key));
                return;
            }
        }
        if !connection.unread.first().copied().is_some_and(head::begins) {
            // TLS, most likely: a browser that tries HTTPS first comes back without it, once this ends.
            drop(self.take(key));
            return;
        }
        if had == 0 {
            // The first byte of a request: from here on the clock of the head runs.
            self.deadlines.remove(&(waiting.deadline, key));
            waiting.deadline = Instant::now() + self.shared.settings.head_timeout;
            self.deadlines.insert((waiting.deadline, key));
        }
        let connection = &waiting.connection;
        let complete = head::end(&connection.unread, had).is_some();
        if complete || connection.unread.len() > head::MAX_BYTES {
            self.hand_over(key);
        }
    }

    fn hand_over(&mut self, key: u64) {
        let Some(connection) = self.take(key) else {
            return;
        };
        let job = Job {
            connection,
            since: Instant::now(),
        };
        if let Err(Refused { job, reason }) = self.shared.workers.give(job, &self.shared) {
            self.shared.figures.overloaded.increment();
            log::debug!("refused a request reason={reason}");
            let message = "too many requests at once, try again in a second";
            let refusal = Response::from(ApiError::new(503, "overloaded", message));
            last_word(&job.connection.socket, refusal.with("Retry-After", "1"));
        }
    }

    fn close_overdue(&mut self, now: Instant) {
        while let Some((deadline, key)) = self.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            let Some(connection) = self.take(key) else {
                return;
            };
            if !connection.unread.is_empty() {
                self.shared.figures.timed_out.increment();
                let message = "the request line and headers did not come in time";
                let refusal = ApiError::new(408, "too_slow", message);
                last_word(&connection.socket, refusal.into());
            }
        }
    }
}

/// Writes an answer that fits the empty send buffer of a new connection; where it does not, the
/// client has not read earlier answers and will not read this one.
fn last_word(mut socket: &TcpStream, answer: Response) {
    let bytes = router::written(answer, Version::Http11, false, false);
    socket.write_all(&bytes).ok();
}
