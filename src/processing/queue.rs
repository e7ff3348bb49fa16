//! The **queue** thread: decides what the workers do next, and takes note of what became of it.
//!
//! Everything that processing remembers belongs to this one loop; it never waits for a worker, only
//! for the library where that is busy. Live work is handed out here, `jobs` has the jobs, `intake`
//! the results.

mod intake;
mod jobs;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};

use super::active::Active;
use super::doubted::Doubted;
use super::figures::Figures;
use super::job::JobId;
use super::reported::Reported;
use super::store::Store;
use super::sweep::Sweep;
use super::trouble::{Trouble, Troubles};
use super::waiting::{Wait, Waiting};
use super::worker::{Crew, Done, JobControl, Task, Work};
use super::{LANE, ProcessingError};
use crate::events::types::{ErrorEvent, Event, Status};
use crate::events::{Broadcaster, Scope as Audience};
use crate::library::EntryId;
use crate::library::work::{Item, Scope, Selection};

/// How often running jobs are looked at for the path and the percentage of a long item.
const REFRESH: Duration = Duration::from_millis(500);
/// How often an offline folder is asked for where nobody tells.
const OFFLINE: Duration = Duration::from_secs(2);
/// After the index or the store could not be read.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Commands have ended by then (TERM, a short grace, KILL).
const STOPS_WITHIN: Duration = Duration::from_millis(1500);

/// What other threads ask for.
#[derive(Debug)]
pub(crate) enum Order {
    Automatic(bool),
    Created(JobId),
    /// Already so in the store.
    Cancelled(JobId),
}

/// What the queue is made of.
pub(crate) struct Parts {
    pub(crate) crew: Arc<Crew>,
    pub(crate) store: Arc<Store>,
    pub(crate) events: Broadcaster,
    pub(crate) figures: Arc<Figures>,
    pub(crate) work: Receiver<()>,
    pub(crate) orders: Receiver<Order>,
    pub(crate) results: Receiver<Done>,
    pub(crate) live: Sender<Task>,
    pub(crate) jobs: Sender<Task>,
    /// The other ends of `live` and `jobs`, to take back what was not begun.
    pub(crate) lanes: [Receiver<Task>; 2],
    pub(crate) workers: usize,
    pub(crate) automatic: bool,
}

/// The state of the loop.
pub(crate) struct Queue {
    parts: Parts,
    automatic: bool,
    /// Entries that workers have, and the job each is for.
    in_flight: HashMap<EntryId, Option<JobId>>,
    /// Of these, entries that live work wanted while a job had them. What the job finds may be no
    /// answer to that (a verify processes nothing), so they are looked for once more.
    passed_over: HashSet<EntryId>,
    waiting: Waiting,
    doubted: Doubted,
    reported: Reported,
    sweep: Sweep,
    active: Vec<Active>,
    /// Whose turn it is among `active`.
    turn: usize,
    /// The store may have jobs that are not active.
    more_jobs: bool,
    troubles: Troubles,
    /// When results were taken in last.
    gathered_at: Instant,
    /// How long items take of late.
    usual: Duration,
    /// Nothing is asked of index or store before.
    not_before: Option<Instant>,
    next_refresh: Instant,
}

impl Queue {
    pub(crate) fn new(parts: Parts) -> Queue {
        Queue {
            automatic: parts.automatic,
            parts,
            in_flight: HashMap::new(),
            passed_over: HashSet::new(),
            waiting: Waiting::default(),
            doubted: Doubted::default(),
            reported: Reported::default(),
            sweep: Sweep::new(),
            active: Vec::new(),
            turn: 0,
            more_jobs: true,
            troubles: Troubles::default(),
            gathered_at: Instant::now(),
            usual: Duration::from_millis(10),
            not_before: None,
            next_refresh: Instant::now(),
        }
    }

    /// Runs until nobody can give orders any more.
    pub(crate) fn run(mut self) {
        self.tell_of_jobs();
        let mut work = self.parts.work.clone();
        loop {
            self.hand_out();
            self.publish_jobs();
            let patience = self.next_due().saturating_duration_since(Instant::now());
            select! {
                recv(self.parts.results) -> done => if let Ok(done) = done { self.take_in(done) },
                recv(work) -> signal => match signal {
                    Ok(()) => {
                        self.sweep.signal();
                        for active in &mut self.active {
                            active.held_until = None; // a folder may have come back
                        }
                    }
                    Err(_) => work = never(), // the library has gone; so will we
                },
                recv(self.parts.orders) -> order => match order {
                    Ok(order) => self.obey(order),
                    Err(_) => return self.stop(),
                },
                default(patience) => {}
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Automatic(automatic) => {
                self.automatic = automatic;
                log::info!(
                    "automatic processing {}",
                    if automatic { "on" } else { "off" }
                );
                if automatic {
                    self.sweep.signal();
                } else {
                    self.take_back_live();
                }
            }
            Order::Created(id) => self.created(id),
            Order::Cancelled(id) => self.cancelled(id),
        }
    }

    // What is next.

    fn hand_out(&mut self) {
        let now = Instant::now();
        if self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = None;
        // Jobs first: what a kill interrupted is unprocessed and an item of its job, and shall not be
        // done for both. Workers begin live items before those of jobs all the same.
        let done = self
            .hand_out_due(now)
            .and_then(|()| self.hand_out_jobs(now))
            .and_then(|()| self.hand_out_live(now));
        if let Err(error) = done {
            log::warn!("processing goes on later: {error}");
            self.not_before = Some(now + AFTER_ERROR);
            self.sweep.signal();
            if let ProcessingError::Store(_) = error {
                self.trouble_with_store(&error);
            }
        }
        let in_flight = i64::try_from(self.in_flight.len()).unwrap_or(i64::MAX);
        self.parts.figures.under_way.set(in_flight);
    }

    /// Looks again at entries that have waited long enough.
    fn hand_out_due(&mut self, now: Instant) -> Result<(), ProcessingError> {
        while !self.parts.live.is_full() {
            let Some((id, wait)) = self.waiting.take_due(now) else {
                break;
            };
            let item = match self.parts.crew.shelf.item(id) {
                Ok(item) => item,
                Err(error) => {
                    self.waiting.insert(id, wait, now + AFTER_ERROR);
                    return Err(error.into());
                }
            };
            // What is gone, or not wanted now, is found by a sweep when it is wanted again.
            let Some(item) = item.filter(|item| {
                self.automatic && item.status == Status::Unprocessed && !self.has(item.id)
            }) else {
                continue;
            };
            if self.parts.crew.shelf.is_online(&item.folder) {
                self.begin(item, Work::Live, None, Some(wait));
            } else {
                self.waiting.insert(id, wait, now + OFFLINE);
            }
        }
        Ok(())
    }

    /// Takes unprocessed entries from the index, as many as there is room for.
    fn hand_out_live(&mut self, now: Instant) -> Result<(), ProcessingError> {
        while self.automatic {
            let room = LANE - self.parts.live.len();
            // A page for one free place would cost as much as one for many.
            if room < LANE / 2 {
                break;
            }
            let Some(after) = self.sweep.next(now) else {
                break;
            };
            let wanted = Selection {
                scope: Scope::Status(Status::Unprocessed),
                folder: None,
                directory: None,
                after,
                limit: room,
            };
            let began = Instant::now();
            let page = self.parts.crew.shelf.items(&wanted)?;
            let (last, is_end) = (page.last().map(|item| item.id), page.len() < room);
            let (all, mut begun) = (page.len().max(1), 0);
            for item in page {
                let known = self.has(item.id)
                    || self.reported.covers(&item, now)
                    || self.waiting.covers(&item);
                if !known && self.parts.crew.shelf.is_online(&item.folder) {
                    // It changed since it began to wait, so what was seen then does not count.
                    self.waiting.remove(item.id);
                    begun += 1;
                    self.begin(item, Work::Live, None, None);
                }
            }
            let vain = u32::try_from(all - begun).unwrap_or(1);
            let idle = began.elapsed() * vain / u32::try_from(all).unwrap_or(1);
            self.sweep.found(last, is_end, idle, Instant::now());
        }
        Ok(())
    }

    /// Tells whether a worker has an entry that live work wants, and sees to it that nothing is
    /// forgotten where that is for a job.
    fn has(&mut self, id: EntryId) -> bool {
        let held = self.in_flight.get(&id);
        if held.is_some_and(Option::is_some) {
            self.passed_over.insert(id);
        }
        held.is_some()
    }

    /// Takes note that a worker has an entry no more.
    fn returned(&mut self, id: EntryId) {
        self.in_flight.remove(&id);
        if self.passed_over.remove(&id) {
            self.sweep.signal();
        }
    }

    /// Hands an item to the workers. There is room: callers look first.
    fn begin(&mut self, item: Item, work: Work, job: Option<Arc<JobControl>>, wait: Option<Wait>) {
        let (id, for_job) = (item.id, job.as_ref().map(|job| job.id));
        let lane = if job.is_some() {
            &self.parts.jobs
        } else {
            &self.parts.live
        };
        let task = Task {
            in_doubt: self.doubted.contains(id),
            item,
            work,
            job,
            wait,
        };
        if lane.try_send(task).is_ok() {
            self.in_flight.insert(id, for_job);
        } else {
            debug_assert!(false, "the lane has no room");
            self.sweep.signal();
        }
    }

    /// Takes back the live items that no worker has begun.
    fn take_back_live(&mut self) {
        while let Ok(task) = self.parts.lanes[0].try_recv() {
            self.returned(task.item.id);
        }
    }

    fn next_due(&self) -> Instant {
        let now = Instant::now();
        let mut due = now + Duration::from_secs(3600);
        let mut consider = |at: Option<Instant>| due = at.map_or(due, |at| at.min(due));
        if let Some(at) = self.not_before {
            consider(Some(at));
        } else {
            consider(
                self.waiting
                    .next_due()
                    .filter(|at| *at > now || !self.parts.live.is_full()),
            );
            consider(self.sweep.due().filter(|_| self.automatic));
            for active in &self.active {
                consider(active.held_until);
                consider(
                    active
                        .waiting
                        .next_due()
                        .filter(|at| *at > now || !self.has_depth()),
                );
            }
        }
        for active in &self.active {
            consider(active.publish_at());
        }
        consider((!self.active.is_empty()).then_some(self.next_refresh));
        due
    }

    // The end.

    /// Takes back what workers have; commands have been called off already.
    fn stop(mut self) {
        let deadline = Instant::now() + STOPS_WITHIN;
        for lane in &self.parts.lanes {
            while let Ok(task) = lane.try_recv() {
                self.in_flight.remove(&task.item.id);
            }
        }
        while !self.in_flight.is_empty() {
            match self.parts.results.recv_deadline(deadline) {
                Ok(done) => self.take_in(done),
                Err(_) => {
                    log::warn!("{} items did not end in time", self.in_flight.len());
                    break;
                }
            }
        }
        // Dropping the lanes ends the workers.
    }

    // Trouble.

    fn trouble(&mut self, trouble: &Trouble) {
        if let Some(event) = self.troubles.note(trouble) {
            self.tell(event);
        }
    }

    fn trouble_with_store(&mut self, error: &ProcessingError) {
        let message = error.to_string();
        self.trouble(&Trouble::Store { message });
    }

    fn tell(&self, event: ErrorEvent) {
        let hint = event.hint.as_deref().unwrap_or("");
        log::error!("{} code={} hint={hint:?}", event.message, event.code);
        let audience = audience(event.folder.as_deref());
        self.parts.events.publish(Event::Error(event), audience);
    }
}

fn audience(folder: Option<&str>) -> Audience {
    match folder {
        Some(folder) => Audience::Folders(vec![folder.to_owned()]),
        None => Audience::Everyone,
    }
}
