//! The **workers**: threads that answer requests, as many as there are requests to answer.
//!
//! A request goes to a worker that waits at this very moment, or to a new one; it never queues
//! behind a request of somebody else. An idle worker ends after a few seconds. A worker keeps a
//! connection only while a complete request is there, so neither a kept-alive connection nor a
//! client that is slow with its next request holds one.

use super::body::read_body;
use super::door;
use super::head::{self, Body, Head, Version};
use super::request::{ApiError, Request, Response};
use super::router::{self, Answer};
use super::server::Shared;
use super::socket::Connection;
use super::sse::Framing;
use super::tally::{Seat, Tally};
use crate::thread::{self, Handle};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An idle worker waits so long for the next request.
const IDLE: Duration = Duration::from_secs(5);
/// SQLite and serde recurse; this is address space, of which only what is used becomes memory.
const STACK_BYTES: usize = 1024 * 1024;

/// A connection on which a whole head has come.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) connection: Connection,
    pub(super) since: Instant,
}

/// A job that no worker can take.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) job: Job,
    pub(super) reason: String,
}

type Seated = (Job, Seat);

pub(super) struct Workers {
    /// Of no capacity: sending succeeds only when a worker is waiting. Gone when stopping.
    jobs: Mutex<Option<Sender<Seated>>>,
    waiting: Receiver<Seated>,
    tally: Arc<Tally>,
    limit: usize,
    per_address: usize,
    handles: Mutex<Vec<Handle>>,
    alive: Mutex<usize>,
    ended: Condvar,
}

impl Workers {
    pub(super) fn new(limit: usize, per_address: usize) -> Workers {
        let (jobs, waiting) = bounded(0);
        Workers {
            jobs: Mutex::new(Some(jobs)),
            waiting,
            tally: Arc::default(),
            limit,
            per_address,
            handles: Mutex::default(),
            alive: Mutex::new(0),
            ended: Condvar::new(),
        }
    }

    /// Hands a job to a worker; never waits.
    pub(super) fn give(&self, job: Job, shared: &Arc<Shared>) -> Result<(), Refused> {
        let refused = |job, reason: &str| {
            let reason = reason.to_owned();
            Err(Refused { job, reason })
        };
        let peer = job.connection.peer;
        let Some(seat) = self.tally.take(peer, self.limit, self.per_address) else {
            return refused(job, "too many requests are being answered");
        };
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = jobs.clone() else {
            return refused(job, "stopping");
        };
        drop(jobs);
        let seated = match sender.try_send((job, seat)) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(seated) | TrySendError::Disconnected(seated)) => seated,
        };
        self.start_with(seated, shared)
    }

    fn start_with(&self, seated: Seated, shared: &Arc<Shared>) -> Result<(), Refused> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|handle| !handle.is_finished());
        let of_worker = Arc::clone(shared);
        // The job travels beside the closure: where no thread can be had, it is answered here.
        let place = Arc::new(Mutex::new(Some(seated)));
        let taken = Arc::clone(&place);
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let started = thread::spawn("request", STACK_BYTES, move || {
            let workers = &of_worker.workers;
            let _alive = Alive(workers);
            let first = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(taken);
            let mut next = first;
            while let Some((job, seat)) = next {
                serve(job, &of_worker);
                drop(seat);
                next = workers.waiting.recv_timeout(IDLE).ok();
            }
        });
        match started {
            Ok(handle) => {
                handles.push(handle);
                Ok(())
            }
            Err(error) => {
                drop(Alive(self));
                let seated = place.lock().unwrap_or_else(PoisonError::into_inner).take();
                let (job, _seat) = seated.expect("no thread has taken it");
                let reason = format!("no thread can be started: {error}");
                Err(Refused { job, reason })
            }
        }
    }

    /// Ends the workers, those that are idle at once, and joins them. A request that goes on
    /// beyond `deadline` is left behind, and said to be.
    pub(super) fn stop(&self, deadline: Instant) {
        *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        while *alive > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                log::warn!("requests are still being answered, left behind count={alive}");
                break;
            }
            alive = self
                .ended
                .wait_timeout(alive, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let all_ended = *alive == 0;
        drop(alive);
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        for handle in handles.drain(..) {
            if all_ended || handle.is_finished() {
                drop(handle); // joins
            } else {
                std::mem::forget(handle); // joining would wait for that request
            }
        }
    }
}

/// Counts a worker down, however it ends.
struct Alive<'a>(&'a Workers);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        let mut alive = self.0.alive.lock().unwrap_or_else(PoisonError::into_inner);
        *alive -= 1;
        self.0.ended.notify_all();
    }
}

/// What becomes of a connection after an answer.
enum After {
    /// It goes back to the door, or on with the request that is there already.
    Keep,
    Close,
    /// The client may still be sending what nobody will read.
    CloseGently,
}

fn serve(job: Job, shared: &Arc<Shared>) {
    let Job {
        mut connection,
        mut since,
    } = job;
    loop {
        let after = match head::end(&connection.unread, 0) {
            None => answer_error(&mut connection, head::too_large(), shared, since),
            Some(end) => {
                let parsed = head::parse(&connection.unread[..end]);
                connection.unread.drain(..end);
                match parsed {
                    Err(error) => answer_error(&mut connection, error, shared, since),
                    Ok(head) => match one_request(connection, head, shared, since) {
                        Some((back, after)) => {
                            connection = back;
                            Ok(after)
                        }
                        None => return, // it is a stream now
                    },
                }
            }
        };
        match after {
            Err(_) | Ok(After::Close) => return,
            Ok(After::CloseGently) => return connection.close_gently(),
            Ok(After::Keep) => {}
        }
        if head::end(&connection.unread, 0).is_none() {
            connection.unread.shrink_to_fit();
            // The door ends only when everything does.
            drop(shared.door.send(door::Message::Back(connection)));
            return;
        }
        since = Instant::now();
    }
}

/// Answers one request. Nothing comes back of a connection that has become a stream.
fn one_request(
    mut connection: Connection,
    head: Head,
    shared: &Arc<Shared>,
    since: Instant,
) -> Option<(Connection, After)> {
    let framing = match head.version {
        Version::Http10 => Framing::UntilClose,
        Version::Http11 => Framing::Chunked,
    };
    let keeps_alive = head.keeps_alive() && !shared.stopping.load(SeqCst);
    let is_head = head.method == "HEAD";
    let (body, expect) = (head.body, head.header("expect").map(str::to_owned));
    let mut request = Request {
        method: if is_head {
            "GET".to_owned()
        } else {
            head.method
        },
        path: head.path,
        query: head.query,
        headers: head.headers,
        body: Vec::new(),
        peer: connection.peer,
    };
    let read = shared
        .parts
        .gate
        .admit(&request)
        .and_then(|()| read_body(&mut connection, body, expect.as_deref(), shared));
    let mut after = if keeps_alive {
        After::Keep
    } else {
        After::Close
    };
    let answer = match read {
        Ok(bytes) => {
            request.body = bytes;
            router::answer(&request, is_head, shared)
        }
        Err(error) => {
            if body != Body::NONE {
                after = After::CloseGently; // what follows is not a request
            }
            Answer::Whole(error.into())
        }
    };
    let written = match answer {
        Answer::Whole(response) => {
            let status = response.status;
            let keep = matches!(after, After::Keep);
            let bytes = router::written(response, head.version, is_head, keep);
            let patience = shared.settings.write_timeout;
            let written = connection.write_all(&bytes, patience);
            shared.figures.count_answer(status, since.elapsed());
            written
        }
        Answer::StreamHead => {
            after = After::Close;
            let patience = shared.settings.write_timeout;
            connection.write_all(framing.head().as_bytes(), patience)
        }
        Answer::Stream(joining) => {
            super::streams::join(connection, joining, framing, shared);
            return None;
        }
    };
    if written.is_err() {
        after = After::Close;
    }
    Some((connection, after))
}

fn answer_error(
    connection: &mut Connection,
    error: ApiError,
    shared: &Arc<Shared>,
    since: Instant,
) -> io::Result<After> {
    let status = error.status;
    let bytes = router::written(Response::from(error), Version::Http11, false, false);
    connection.write_all(&bytes, shared.settings.write_timeout)?;
    shared.figures.count_answer(status, since.elapsed());
    Ok(After::CloseGently)
}
