//! The **figures** of processing, for `/metrics`, and the state of running jobs for whoever asks.

use std::sync::{Mutex, PoisonError};

use super::job::Job;
use crate::metrics::{Collect, Counter, Gauge, Histogram, Page};

/// What processing counts.
#[derive(Debug)]
pub struct Figures {
    pub(crate) succeeded: Counter,
    pub(crate) failed: Counter,
    /// Content that all processors had been through before.
    pub(crate) known: Counter,
    /// Files that vanished or changed while they were processed.
    pub(crate) changed: Counter,
    pub(crate) hashed_bytes: Counter,
    pub(crate) under_way: Gauge,
    pub(crate) took: Histogram,
    jobs: Mutex<Vec<Job>>,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            succeeded: Counter::default(),
            failed: Counter::default(),
            known: Counter::default(),
            changed: Counter::default(),
            hashed_bytes: Counter::default(),
            under_way: Gauge::default(),
            took: Histogram::new(&[1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000]),
            jobs: Mutex::default(),
        }
    }
}

impl Figures {
    /// Replaces the state of the running jobs; there are at most a few.
    pub(crate) fn set_running_jobs(&self, jobs: Vec<Job>) {
        *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) = jobs;
    }

    /// Returns the state of the running jobs.
    pub(crate) fn running_jobs(&self) -> Vec<Job> {
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Collect for Figures {
    fn collect(&self, page: &mut Page) {
        page.counters(
            "shelfcast_processing_items_total",
            "Items that ended, by result.",
            "result",
            &[
                ("success", self.succeeded.get()),
                ("failure", self.failed.get()),
                ("known", self.known.get()),
                ("changed", self.changed.get()),
            ],
        );
        page.counter(
            "shelfcast_processing_hashed_bytes_total",
            "Bytes of the items that succeeded.",
            self.hashed_bytes.get(),
        );
        #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
        page.gauge(
            "shelfcast_processing_under_way",
            "Items handed out to workers.",
            self.under_way.get() as f64,
        );
        page.histogram(
            "shelfcast_processing_item_seconds",
            "Time that an item took, all its processors together.",
            &self.took,
        );
        let jobs = self
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        #[expect(clippy::cast_precision_loss, reason = "a few at most")]
        page.gauge(
            "shelfcast_processing_jobs",
            "Jobs that are running.",
            jobs as f64,
        );
    }
}
