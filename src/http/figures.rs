//! The **figures** of the HTTP server.

use crate::metrics::{Collect, Counter, Gauge, Histogram, Page};
use std::time::Duration;

/// Bounds of the answering time, microseconds.
const ANSWER_BOUNDS_US: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    10_000_000,
];

/// What happened to connections and requests since the start.
#[derive(Debug)]
pub(super) struct HttpFigures {
    /// Connections of every kind.
    pub(super) connections: Gauge,
    pub(super) accepted: Counter,
    pub(super) accept_errors: Counter,
    /// Closed to make room.
    pub(super) evicted: Counter,
    /// Closed because nothing, or not all of a request, came in time.
    pub(super) timed_out: Counter,
    /// Refused because every worker was busy.
    pub(super) overloaded: Counter,
    pub(super) panics: Counter,
    /// Answers by hundreds of their status.
    answers: [Counter; 5],
    answer_time: Histogram,
}

impl HttpFigures {
    pub(super) fn new() -> HttpFigures {
        HttpFigures {
            connections: Gauge::default(),
            accepted: Counter::default(),
            accept_errors: Counter::default(),
            evicted: Counter::default(),
            timed_out: Counter::default(),
            overloaded: Counter::default(),
            panics: Counter::default(),
            answers: Default::default(),
            answer_time: Histogram::new(ANSWER_BOUNDS_US),
        }
    }

    pub(super) fn count_answer(&self, status: u16, took: Duration) {
        if let Some(class) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            class.increment();
        }
        self.answer_time.observe(took);
    }
}

impl Collect for HttpFigures {
    fn collect(&self, page: &mut Page) {
        let connections = u32::try_from(self.connections.get()).unwrap_or(0);
        page.gauge(
            "shelfcast_http_connections",
            "Open connections, event streams included.",
            f64::from(connections),
        );
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let answers: Vec<(&str, u64)> = classes
            .into_iter()
            .zip(self.answers.iter().map(Counter::get))
            .collect();
        page.counters(
            "shelfcast_http_answers_total",
            "Answers, by class of status.",
            "class",
            &answers,
        );
        page.histogram(
            "shelfcast_http_answer_seconds",
            "Time from a complete request head to the written answer, event streams excluded.",
            &self.answer_time,
        );
        for (name, help, counter) in [
            (
                "shelfcast_http_accepted_total",
                "Connections accepted.",
                &self.accepted,
            ),
            (
                "shelfcast_http_accept_errors_total",
                "Errors in accepting a connection, such as running out of descriptors.",
                &self.accept_errors,
            ),
            (
                "shelfcast_http_evicted_total",
                "Waiting connections closed to make room for others.",
                &self.evicted,
            ),
            (
                "shelfcast_http_timed_out_total",
                "Connections closed because no complete request came in time.",
                &self.timed_out,
            ),
            (
                "shelfcast_http_overloaded_total",
                "Requests refused because every worker was busy.",
                &self.overloaded,
            ),
            (
                "shelfcast_http_panics_total",
                "Requests that ended in a panic.",
                &self.panics,
            ),
        ] {
            page.counter(name, help, counter.get());
        }
    }
}
