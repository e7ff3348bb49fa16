//! The **broadcaster**: publishing, ids, the history, and waiting for what is new.

use super::feed::{Feed, ResetReason};
use super::figures::{Figures, Stats};
use super::filter::{Filter, Scope};
use super::history::History;
use super::id::{EventId, new_epoch};
use super::latest::{JobNote, Latest};
use super::record::{Draft, Record};
use super::types::Event;
use crate::metrics::{Collect, Page};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bounds of the history; the defaults are those of the contract.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Events kept for replay.
    pub history_events: usize,
    /// Bytes kept for replay; whichever bound is reached first counts.
    pub history_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            history_events: 1_000,
            history_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Hands every published event to whoever reads. Clones are the same broadcaster.
#[derive(Clone)]
pub struct Broadcaster {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// For those who poll; streams are woken through their feed.
    changed: Condvar,
    pub(super) figures: Figures,
    started: Instant,
}

/// Called after each event.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Guarded by a lock that is held for a few lines: no IO, no waiting, no client.
pub(super) struct State {
    pub(super) epoch: u32,
    /// Sequence of the newest event.
    pub(super) last: u64,
    pub(super) history: History,
    pub(super) latest: Latest,
    pub(super) feeds: Vec<Wake>,
    pub(super) stopped: bool,
}

/// The answer to one poll.
#[derive(Clone, Debug)]
pub struct Polled {
    /// What is new and passes the filter, in id order.
    pub events: Vec<Arc<Record>>,
    /// What to ask with next time.
    pub last_event_id: EventId,
    /// The history cannot tell what was missed: read the snapshot again.
    pub reset: bool,
}

impl Broadcaster {
    /// Begins a new epoch.
    ///
    /// # Errors
    /// None today; starting a part may fail, and callers are ready for it.
    pub fn start(settings: Settings) -> io::Result<Broadcaster> {
        Ok(Broadcaster {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    epoch: new_epoch(),
                    last: 0,
                    history: History::new(settings.history_events, settings.history_bytes),
                    latest: Latest::default(),
                    feeds: Vec::new(),
                    stopped: false,
                }),
                changed: Condvar::new(),
                figures: Figures::new(),
                started: Instant::now(),
            }),
        })
    }

    /// Gives `event` its id and records it. Any thread may call it; it never waits for a client.
    ///
    /// When it returns, the event is in the history: whoever subscribes or polls from now on
    /// with an earlier id gets it.
    pub fn publish(&self, event: Event, scope: Scope) -> EventId {
        let kind = event.kind();
        let job = JobNote::of(&event);
        let draft = Draft::new(&event, scope);
        let mut state = self.lock();
        state.last += 1;
        let id = state.last_id();
        let record = Arc::new(draft.record(id));
        state.latest.note(&record, job);
        state.history.push(record);
        let feeds = state.feeds.clone();
        drop(state);
        self.shared.figures.count_published(kind);
        self.shared.changed.notify_all();
        for wake in &feeds {
            wake();
        }
        log::debug!(
            "Broadcast event '{}' to {} clients",
            kind.name(),
            self.shared.figures.clients.get()
        );
        id
    }

    /// Returns the id of the newest event: whoever reads a snapshot now and asks for what follows
    /// this id misses nothing.
    #[must_use]
    pub fn last_event_id(&self) -> EventId {
        self.lock().last_id()
    }

    /// Returns a reader of everything that is published from now on. `wake` is called after each
    /// event, by whoever publishes: it must be quick and must not publish.
    pub fn feed(&self, wake: impl Fn() + Send + Sync + 'static) -> Feed {
        let wake: Wake = Arc::new(wake);
        let mut state = self.lock();
        state.feeds.push(Arc::clone(&wake));
        Feed::new(self.clone(), state.last, wake)
    }

    /// Returns what was published after the id `after`, or waits up to `wait` for it.
    ///
    /// Without an id it returns the last event of each type at once, as a stream would open.
    /// Where the history cannot help it returns the same, and `reset`.
    #[must_use]
    pub fn poll(&self, after: Option<&str>, wait: Duration, filter: &Filter) -> Polled {
        self.shared.figures.polls.increment();
        let deadline = Instant::now() + wait;
        let mut state = self.lock();
        let mut cursor = match after.map(|text| state.resume(text)) {
            None => return state.snapshot(filter, false),
            Some(Err(reason)) => {
                self.shared.figures.count_reset(reason);
                return state.snapshot(filter, true);
            }
            Some(Ok(cursor)) => cursor,
        };
        loop {
            let last = state.last;
            let Some(news) = state.history.since(cursor, last) else {
                self.shared.figures.count_reset(ResetReason::HistoryGap);
                return state.snapshot(filter, true);
            };
            let events: Vec<_> = news
                .filter(|record| filter.passes(record))
                .map(Arc::clone)
                .collect();
            cursor = last;
            let left = deadline.saturating_duration_since(Instant::now());
            if !events.is_empty() || left.is_zero() || state.stopped {
                self.shared.figures.replayed.add(events.len() as u64);
                return Polled {
                    events,
                    last_event_id: state.last_id(),
                    reset: false,
                };
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Returns the counters that whoever delivers events keeps.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Returns what `/api/events/stats` tells.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let figures = &self.shared.figures;
        let state = self.lock();
        let oldest = state.history.oldest().map(|record| record.id());
        let newest = state.history.newest().map(|record| record.id());
        drop(state);
        Stats {
            active_clients: u64::try_from(figures.clients.get()).unwrap_or(0),
            published: figures.published(),
            deliveries: figures.deliveries.get(),
            clients_ended_behind: figures.ended_behind.get(),
            replayed: figures.replayed.get(),
            rejected: figures.rejected.get(),
            latency: figures.latency(),
            oldest,
            newest,
            uptime: self.shared.started.elapsed(),
        }
    }

    /// Answers everybody who polls at once from now on; publishing still records.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.shared.changed.notify_all();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn last_id(&self) -> EventId {
        EventId {
            epoch: self.epoch,
            sequence: self.last,
        }
    }

    /// Returns the sequence after which a client that was last at `text` goes on.
    pub(super) fn resume(&self, text: &str) -> Result<u64, ResetReason> {
        let id: EventId = text.parse().map_err(|_| ResetReason::UnknownId)?;
        if id.epoch != self.epoch {
            return Err(ResetReason::Restart);
        }
        if id.sequence > self.last {
            return Err(ResetReason::UnknownId);
        }
        match self.history.since(id.sequence, self.last) {
            Some(_) => Ok(id.sequence),
            None => Err(ResetReason::HistoryGap),
        }
    }

    fn snapshot(&self, filter: &Filter, reset: bool) -> Polled {
        Polled {
            events: self.latest.matching(filter),
            last_event_id: self.last_id(),
            reset,
        }
    }
}

impl Collect for Broadcaster {
    fn collect(&self, page: &mut Page) {
        self.shared.figures.collect(page);
    }
}

impl std::fmt::Debug for Broadcaster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broadcaster")
            .field("last", &self.last_event_id())
            .finish_non_exhaustive()
    }
}
