//! One open event **stream**: a socket that never blocks, its queue, and its times.

use super::socket::Connection;
use super::sse::{self, Framing, HEARTBEAT, NO_ENVELOPE, random_between};
use super::tally::Seat;
use crate::events::{Filter, Joined, Queue};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time for a stream that is being ended to take what is left.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A client that sends this much on a stream in one go is not a reader of events.
const MAX_CHATTER_BYTES: usize = 64 * 1024;

pub(super) struct Stream {
    connection: Connection,
    _seat: Seat,
    pub(super) filter: Filter,
    pub(super) framing: Framing,
    queue: Queue,
    /// The socket took no more; epoll tells when it does again.
    blocked: bool,
    /// When the socket last took something.
    progress: Instant,
    pub(super) ends_at: Instant,
    /// Why it is being ended, and until when it may take its last words.
    pub(super) ending: Option<(Ending, Instant)>,
    /// When it is looked at next.
    pub(super) timer: Instant,
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Behind,
    Stalled,
    Gone,
    Lifetime,
    Shutdown,
}

/// The client is not there any more.
#[derive(Debug)]
pub(super) struct Gone;

impl Stream {
    pub(super) fn new(
        connection: Connection,
        seat: Seat,
        filter: Filter,
        framing: Framing,
        queue: Queue,
        ends_at: Instant,
    ) -> Stream {
        let now = Instant::now();
        Stream {
            connection,
            _seat: seat,
            filter,
            framing,
            queue,
            blocked: false,
            progress: now,
            ends_at,
            ending: None,
            timer: now,
        }
    }

    /// Adds a buffer to what waits.
    pub(super) fn push(&mut self, joined: &Arc<Joined>) {
        self.queue.push(joined);
    }

    /// Adds a heartbeat to what waits.
    pub(super) fn push_heartbeat(&mut self) {
        let heartbeat = self.framing.framed(HEARTBEAT.as_bytes());
        self.queue.push(&Joined::of_bytes(&heartbeat, NO_ENVELOPE));
    }

    /// Writes what waits, as far as the socket takes it; returns how many bytes that were, and
    /// adds to `took` how long each live event was on its way.
    pub(super) fn flush(&mut self, took: &mut Vec<Duration>) -> Result<u64, Gone> {
        let mut bytes = 0;
        while !self.blocked {
            let Some(front) = self.queue.front() else {
                break;
            };
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.connection.socket, front, flags) {
                Ok(written) => {
                    let now = Instant::now();
                    self.progress = now;
                    bytes += written as u64;
                    self.queue.written(written, |delivered| {
                        if delivered.live {
                            took.push(now - delivered.mark.published);
                        }
                    });
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.blocked = true;
                    self.progress = Instant::now(); // from here on it takes nothing
                }
                Err(_) => return Err(Gone),
            }
        }
        Ok(bytes)
    }

    /// Notes that the socket has room again; tells whether that was waited for.
    pub(super) fn unblock(&mut self) -> bool {
        std::mem::take(&mut self.blocked)
    }

    /// Reads away what the client says.
    ///
    /// It has nothing more to say, but only who reads sees it go. A connection that is half closed
    /// counts as gone, as with nginx.
    pub(super) fn hear(&mut self) -> Result<(), Gone> {
        let mut chatter = [0u8; 4_096];
        let mut heard = 0;
        loop {
            match rustix::io::read(&self.connection.socket, &mut chatter) {
                Ok(read @ 1..) if heard < MAX_CHATTER_BYTES => heard += read,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return Err(Gone),
            }
        }
    }

    /// Lets it end cleanly: what is begun is finished, then comes the end of the answer.
    pub(super) fn end(&mut self, ending: Ending) {
        let mut last = Vec::new();
        if ending == Ending::Behind {
            // It comes back for these with its last id.
            self.queue.forget_waiting();
        } else {
            // Spread, so that they do not all come back at the same moment.
            let wait = random_between(Duration::from_secs(1), Duration::from_secs(10));
            last.extend(self.framing.framed(sse::retry(wait).as_bytes()));
        }
        last.extend_from_slice(self.framing.end().as_bytes());
        self.queue.push(&Joined::of_bytes(&last, NO_ENVELOPE));
        self.ending = Some((ending, Instant::now() + LAST_WORDS));
    }

    /// Tells why it is over by now, if it is.
    pub(super) fn over(&self, now: Instant, stall: Duration) -> Option<Ending> {
        let waits = !self.queue.is_empty();
        match self.ending {
            Some((ending, until)) if !waits || now >= until => Some(ending),
            Some((ending, _)) if now >= self.progress + stall => Some(ending),
            None if waits && now >= self.progress + stall => Some(Ending::Stalled),
            _ => None,
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.ending.is_none() && self.queue.is_behind()
    }

    /// Returns when the next heartbeat is due; only a stream on which nothing waits needs one.
    pub(super) fn heartbeat_due(&self, heartbeat: Duration, origin: Instant) -> Option<Instant> {
        (self.ending.is_none() && self.queue.is_empty())
            .then(|| whole_second(origin, self.progress + heartbeat))
    }

    /// Returns when it has to be looked at, if nothing happens until then.
    pub(super) fn due(&self, heartbeat: Duration, stall: Duration, origin: Instant) -> Instant {
        let end = self.ending.map_or(self.ends_at, |(_, until)| until);
        let due = self.heartbeat_due(heartbeat, origin);
        end.min(due.unwrap_or(self.progress + stall))
    }

    /// Closes the connection: after the end of the answer where everything was written, and else
    /// so that the kernel gives back at once what it holds for this client.
    pub(super) fn close(self) {
        log::debug!(
            "event stream closed peer={} lag={}",
            self.connection.peer,
            self.queue.lag()
        );
        if self.queue.is_empty() {
            // The client sees the end even while somebody still holds our end open.
            rustix::net::shutdown(&self.connection.socket, Shutdown::Write).ok();
        } else {
            self.connection.reset();
        }
    }
}

/// Rounds to the nearest whole second since `origin`.
fn whole_second(origin: Instant, at: Instant) -> Instant {
    let since = at.saturating_duration_since(origin) + Duration::from_millis(500);
    origin + Duration::from_secs(since.as_secs())
}
