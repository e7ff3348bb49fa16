//! The **streams**: every open event stream, served by one thread.
//!
//! A stream is a socket that never blocks and a [`Queue`]. What was published since the last look
//! is joined into one buffer for all clients with the same filter, and goes out with one system
//! call for each of them. Where a socket takes no more, the rest waits in the client's queue until
//! the kernel says that there is room; the others are not concerned. The thread wakes for an
//! event, for a socket, and for heartbeats, which are due on whole seconds so that a thousand of
//! them are one wake-up a second and not a thousand.
//!
//! A thread for each client was measured beside this: p99 of one event to 1,000 clients 14 ms
//! against 8, a burst of 50 36 ms against 19, memory 16 KiB a client against 3, CPU for a delivery
//! 20 µs against 5 (two cores, loopback; docs/EVENT_BROADCASTING_SYSTEM.md).

use super::server::Shared;
use super::socket::{Connection, Poller, Ready};
use super::sse::{self, Framing, NO_ENVELOPE, random_between};
use super::stream::{Ending, Stream};
use super::tally::Seat;
use crate::events::{Feed, Filter, Joined, Joining, News, Opening, Queue, Record};
use crossbeam_channel::{Receiver, Sender};
use rustix::event::epoll::EventFlags;
use rustix::net::sockopt;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the kernel may hold for one client beyond our queue; it counts twice this. Enough for a
/// burst of 100 events, little enough that 50 clients that stall cost a few megabytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What the streams are told.
pub(super) enum Message {
    Join(Box<Join>),
    /// Asks for a sign of life.
    Ping(Sender<()>),
    /// End every stream, and be done by then.
    Stop(Instant),
}

/// A connection that becomes a stream.
pub(super) struct Join {
    connection: Connection,
    joining: Joining,
    framing: Framing,
    seat: Seat,
}

/// Makes a stream of `connection`, or tells the client that it is one too many.
pub(super) fn join(
    mut connection: Connection,
    joining: Joining,
    framing: Framing,
    shared: &Arc<Shared>,
) {
    let settings = &shared.settings;
    let (all, per_address) = (settings.clients, settings.clients_per_address);
    let Some(seat) = shared.stream_tally.take(connection.peer, all, per_address) else {
        let figures = shared.parts.events.figures();
        figures.rejected.increment();
        log::debug!("refused an event stream peer={}", connection.peer);
        let answer = sse::too_many_clients(framing);
        if connection
            .write_all(&answer, settings.write_timeout)
            .is_ok()
        {
            connection.close_gently();
        }
        return;
    };
    let join = Join {
        connection,
        joining,
        framing,
        seat,
    };
    // The streams end only when everything does, and the connection with them.
    drop(shared.streams.send(Message::Join(Box::new(join))));
}

pub(super) struct Streams {
    shared: Arc<Shared>,
    messages: Receiver<Message>,
    poller: Poller,
    feed: Feed,
    streams: HashMap<u64, Stream>,
    /// When each stream wants to be looked at; never later than it really does.
    timers: BTreeSet<(Instant, u64)>,
    next_key: u64,
    /// Whole seconds are counted from here.
    started: Instant,
    /// Everything must have ended by then.
    stopping_by: Option<Instant>,
    /// Latencies of this round.
    took: Vec<Duration>,
}

/// The buffers of one round, made once for each filter and framing that somebody has.
type Round = HashMap<(Filter, Framing), Vec<Arc<Joined>>>;

impl Streams {
    pub(super) fn new(
        shared: Arc<Shared>,
        messages: Receiver<Message>,
        feed: Feed,
    ) -> io::Result<Streams> {
        Ok(Streams {
            poller: Poller::new(Arc::clone(&shared.streams.waker))?,
            shared,
            messages,
            feed,
            streams: HashMap::new(),
            timers: BTreeSet::new(),
            next_key: 0,
            started: Instant::now(),
            stopping_by: None,
            took: Vec::new(),
        })
    }

    pub(super) fn run(mut self) {
        let mut ready = Vec::new();
        loop {
            let timer = self.timers.first().map(|(at, _)| *at);
            let deadline = [timer, self.stopping_by].into_iter().flatten().min();
            self.poller.wait(deadline, &mut ready);
            let mut joins = Vec::new();
            let mut stop_by = None;
            while let Ok(message) = self.messages.try_recv() {
                match message {
                    Message::Join(join) => joins.push(*join),
                    // Whoever asked may have stopped waiting for the answer.
                    Message::Ping(reply) => drop(reply.try_send(())),
                    Message::Stop(by) => stop_by = Some(by),
                }
            }
            for Ready { key, flags } in &ready {
                self.hear(*key, *flags);
            }
            self.step(joins);
            if let Some(by) = stop_by {
                self.end_all(by);
            }
            let now = Instant::now();
            self.look_at_timers(now);
            self.shared
                .parts
                .events
                .figures()
                .count_deliveries(&self.took);
            self.took.clear();
            if let Some(by) = self.stopping_by
                && (self.streams.is_empty() || now >= by)
            {
                let left: Vec<u64> = self.streams.keys().copied().collect();
                for key in left {
                    self.remove(key, Ending::Shutdown);
                }
                return;
            }
        }
    }

    /// Takes what was published, gives it to everybody, and opens the streams that join.
    fn step(&mut self, joins: Vec<Join>) {
        let joining: Vec<Joining> = joins.iter().map(|join| join.joining.clone()).collect();
        let step = self.feed.step(&joining);
        match step.news {
            News::Records(records) if records.is_empty() => {}
            News::Records(records) => self.fan_out(&records),
            News::Lost => {
                for key in self.keys() {
                    self.end(key, Ending::Behind);
                }
            }
        }
        for (join, opening) in joins.into_iter().zip(step.openings) {
            if self.stopping_by.is_none() {
                self.open(join, opening);
            }
        }
    }

    fn fan_out(&mut self, records: &[Arc<Record>]) {
        let mut round = Round::new();
        for key in self.keys() {
            let Some(stream) = self.streams.get_mut(&key) else {
                continue;
            };
            if stream.ending.is_some() {
                continue;
            }
            let kind = (stream.filter.clone(), stream.framing);
            let buffers = round.entry(kind).or_insert_with_key(|(filter, framing)| {
                Joined::of_records(records, filter, framing.envelope())
            });
            for joined in &*buffers {
                stream.push(joined);
            }
            if !buffers.is_empty() {
                self.flush(key);
            }
        }
    }

    fn open(&mut self, join: Join, opening: Opening) {
        let Join {
            connection,
            joining,
            framing,
            seat,
        } = join;
        let settings = &self.shared.settings;
        let figures = self.shared.parts.events.figures();
        // Where this fails the kernel holds more for this client, which it bounds too.
        sockopt::set_socket_send_buffer_size(&connection.socket, SEND_BUFFER_BYTES).ok();
        let key = self.next_key;
        self.next_key += 1;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = self.poller.add(&connection.socket, key, flags) {
            log::warn!("cannot serve an event stream, closed it error={error}");
            return;
        }
        let mut messages = sse::retry(settings.retry).into_bytes();
        messages.extend(opening.reset.unwrap_or_default());
        let mut first = framing.head().as_bytes().to_vec();
        first.extend(framing.framed(&messages));
        let mut queue = Queue::new(framing.envelope());
        queue.push(&Joined::of_bytes(&first, NO_ENVELOPE));
        if opening.replays {
            figures.replayed.add(opening.records.len() as u64);
        }
        queue.push_replay(opening.records);
        let (shortest, longest) = settings.lifetime;
        let ends_at = Instant::now() + random_between(shortest, longest);
        let stream = Stream::new(connection, seat, joining.filter, framing, queue, ends_at);
        self.timers.insert((stream.timer, key));
        self.streams.insert(key, stream);
        figures.opened.increment();
        let total = figures.clients.add(1);
        log::info!("Client subscribed to events (total: {total})");
        self.flush(key);
        self.set_timer(key);
    }

    /// Writes what waits for one client, as far as its socket takes it.
    fn flush(&mut self, key: u64) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let Ok(bytes) = stream.flush(&mut self.took) else {
            return self.remove(key, Ending::Gone);
        };
        self.shared.parts.events.figures().bytes.add(bytes);
        if stream.is_behind() {
            self.end(key, Ending::Behind);
        } else {
            self.settle(key, Instant::now());
        }
    }

    /// Removes a stream that is over; else makes sure that it is looked at in time.
    fn settle(&mut self, key: u64, now: Instant) {
        let settings = &self.shared.settings;
        let Some(stream) = self.streams.get(&key) else {
            return;
        };
        if let Some(ending) = stream.over(now, settings.stall) {
            return self.remove(key, ending);
        }
        // Its timer may be earlier than needed, and then finds nothing to do; later it must not be.
        if stream.due(settings.heartbeat, settings.stall, self.started) < stream.timer {
            self.set_timer(key);
        }
    }

    /// Reacts to what epoll tells of one socket.
    fn hear(&mut self, key: u64, flags: EventFlags) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return; // removed earlier in this round
        };
        let cut = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let says = flags.intersects(EventFlags::IN | EventFlags::RDHUP);
        if cut || (says && stream.hear().is_err()) {
            return self.remove(key, Ending::Gone);
        }
        if flags.contains(EventFlags::OUT) && stream.unblock() {
            self.flush(key);
        }
    }

    fn look_at_timers(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().copied() {
            if at > now {
                return;
            }
            self.timers.remove(&(at, key));
            self.look_at(key, now);
        }
    }

    /// Does what is due for one stream, and sets its timer anew.
    fn look_at(&mut self, key: u64, now: Instant) {
        let settings = &self.shared.settings;
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        if let Some(ending) = stream.over(now, settings.stall) {
            return self.remove(key, ending);
        }
        let heartbeat = stream.heartbeat_due(settings.heartbeat, self.started);
        if stream.ending.is_none() && now >= stream.ends_at {
            self.end(key, Ending::Lifetime);
        } else if heartbeat.is_some_and(|due| now >= due) {
            stream.push_heartbeat();
            self.shared.parts.events.figures().heartbeats.increment();
            self.flush(key);
        }
        self.set_timer(key);
    }

    fn set_timer(&mut self, key: u64) {
        let settings = &self.shared.settings;
        let Some(stream) = self.streams.get_mut(&key) else {
            return; // removed meanwhile
        };
        let due = stream.due(settings.heartbeat, settings.stall, self.started);
        // Never again in this same instant, whatever the settings are.
        let at = due.max(Instant::now() + Duration::from_millis(1));
        self.timers.remove(&(stream.timer, key));
        stream.timer = at;
        self.timers.insert((at, key));
    }

    /// Lets a stream end cleanly.
    fn end(&mut self, key: u64, ending: Ending) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        if stream.ending.is_none() {
            stream.end(ending);
            self.count(ending);
            self.flush(key);
        }
    }

    fn end_all(&mut self, by: Instant) {
        self.stopping_by = Some(by);
        for key in self.keys() {
            self.end(key, Ending::Shutdown);
        }
    }

    fn remove(&mut self, key: u64, ending: Ending) {
        let Some(stream) = self.streams.remove(&key) else {
            return;
        };
        self.timers.remove(&(stream.timer, key));
        if stream.ending.is_none() {
            self.count(ending);
        }
        stream.close();
        let remaining = self.shared.parts.events.figures().clients.add(-1);
        log::info!("Client unsubscribed from events (remaining: {remaining})");
    }

    /// Counts an ending once, when it is decided.
    fn count(&self, ending: Ending) {
        let figures = self.shared.parts.events.figures();
        match ending {
            Ending::Behind => figures.ended_behind.increment(),
            Ending::Stalled => figures.ended_stalled.increment(),
            Ending::Gone => figures.ended_gone.increment(),
            Ending::Lifetime => figures.ended_lifetime.increment(),
            Ending::Shutdown => {}
        }
    }

    fn keys(&self) -> Vec<u64> {
        self.streams.keys().copied().collect()
    }
}
