//! The **figures** of the event system, and latency over the last deliveries.

use super::id::EventId;
use super::types::EventType;
use crate::metrics::{Counter, Gauge, Histogram, Page};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Deliveries over which the percentiles are taken (contract section 3).
const RECENT: usize = 10_000;

/// Bounds of the latency histogram, microseconds: a LAN at best to a client that is given up.
const LATENCY_BOUNDS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// What happened to events and clients since the start.
#[derive(Debug)]
pub struct Figures {
    published: [Counter; EventType::ALL.len()],
    /// Open streams.
    pub clients: Gauge,
    /// Streams that were opened.
    pub opened: Counter,
    /// Live events that were written to a client as a whole.
    pub deliveries: Counter,
    /// Events that were written from the history.
    pub replayed: Counter,
    /// Streams that were ended because their queue was full.
    pub ended_behind: Counter,
    /// Streams that were ended because their client took nothing for too long.
    pub ended_stalled: Counter,
    /// Streams whose client went away.
    pub ended_gone: Counter,
    /// Streams that reached the end of their life.
    pub ended_lifetime: Counter,
    /// Streams that were refused because too many are open.
    pub rejected: Counter,
    /// Heartbeats that were sent.
    pub heartbeats: Counter,
    /// Bytes that were written to streams.
    pub bytes: Counter,
    /// Answers to clients that poll.
    pub polls: Counter,
    resets: [Counter; 3],
    latency: Histogram,
    recent: Mutex<Recent>,
}

/// Latency over the last deliveries, publish to written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half of the deliveries took at most this.
    pub p50: Duration,
    /// All but one of a hundred took at most this.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// What `/api/events/stats` tells.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Open streams.
    pub active_clients: u64,
    /// Events published by type.
    pub published: Vec<(EventType, u64)>,
    /// Live events written to a client.
    pub deliveries: u64,
    /// Streams ended because their queue was full.
    pub clients_ended_behind: u64,
    /// Events written from the history.
    pub replayed: u64,
    /// Streams refused because too many are open.
    pub rejected: u64,
    /// Publish to written, over the last 10,000 deliveries.
    pub latency: Latency,
    /// The oldest event that can be replayed.
    pub oldest: Option<EventId>,
    /// The newest event.
    pub newest: Option<EventId>,
    /// Time since the start.
    pub uptime: Duration,
}

/// A ring of microseconds.
#[derive(Debug, Default)]
struct Recent {
    took_us: Vec<u32>,
    next: usize,
}

impl Figures {
    pub(super) fn new() -> Figures {
        Figures {
            published: Default::default(),
            clients: Gauge::default(),
            opened: Counter::default(),
            deliveries: Counter::default(),
            replayed: Counter::default(),
            ended_behind: Counter::default(),
            ended_stalled: Counter::default(),
            ended_gone: Counter::default(),
            ended_lifetime: Counter::default(),
            rejected: Counter::default(),
            heartbeats: Counter::default(),
            bytes: Counter::default(),
            polls: Counter::default(),
            resets: Default::default(),
            latency: Histogram::new(LATENCY_BOUNDS_US),
            recent: Mutex::default(),
        }
    }

    pub(super) fn count_published(&self, kind: EventType) {
        self.published[place(kind)].increment();
    }

    pub(super) fn count_reset(&self, reason: super::ResetReason) {
        self.resets[reason.place()].increment();
    }

    /// Counts the deliveries of one round; the lock is taken once for all of them.
    pub fn count_deliveries(&self, took: &[Duration]) {
        if took.is_empty() {
            return;
        }
        self.deliveries.add(took.len() as u64);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for took in took {
            self.latency.observe(*took);
            recent.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// Returns latency over the last deliveries.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut took_us = recent.took_us.clone();
        drop(recent); // sorting is not done under the lock
        took_us.sort_unstable();
        // The nearest-rank percentile: the smallest value that so many of a hundred do not exceed.
        let percentile = |hundredths: usize| {
            let rank = (took_us.len() * hundredths).div_ceil(100).max(1);
            let at = took_us.get(rank - 1).copied().unwrap_or(0);
            Duration::from_micros(u64::from(at))
        };
        Latency {
            p50: percentile(50),
            p99: percentile(99),
            max: percentile(100),
        }
    }

    pub(super) fn published(&self) -> Vec<(EventType, u64)> {
        EventType::ALL
            .into_iter()
            .map(|kind| (kind, self.published[place(kind)].get()))
            .collect()
    }

    pub(super) fn collect(&self, page: &mut Page) {
        let published = self.published();
        let published: Vec<(&str, u64)> = published
            .iter()
            .filter(|(kind, _)| *kind != EventType::Reset) // never published
            .map(|(kind, count)| (kind.name(), *count))
            .collect();
        page.counters(
            "shelfcast_events_published_total",
            "Events published, by type.",
            "type",
            &published,
        );
        let clients = u32::try_from(self.clients.get()).unwrap_or(0);
        page.gauge(
            "shelfcast_events_clients",
            "Open event streams.",
            f64::from(clients),
        );
        let ended = [
            ("behind", self.ended_behind.get()),
            ("stalled", self.ended_stalled.get()),
            ("gone", self.ended_gone.get()),
            ("lifetime", self.ended_lifetime.get()),
        ];
        page.counters(
            "shelfcast_events_clients_ended_total",
            "Event streams ended: queue full, nothing read, client gone, end of life.",
            "reason",
            &ended,
        );
        let resets: Vec<(&str, u64)> = super::ResetReason::ALL
            .iter()
            .map(|reason| (reason.name(), self.resets[reason.place()].get()))
            .collect();
        page.counters(
            "shelfcast_events_resets_total",
            "Clients told to read the snapshot again, by reason.",
            "reason",
            &resets,
        );
        for (name, help, counter) in [
            (
                "shelfcast_events_streams_opened_total",
                "Event streams opened.",
                &self.opened,
            ),
            (
                "shelfcast_events_deliveries_total",
                "Live events written to a client.",
                &self.deliveries,
            ),
            (
                "shelfcast_events_replayed_total",
                "Events written to a client from the history.",
                &self.replayed,
            ),
            (
                "shelfcast_events_rejected_total",
                "Event streams refused because too many were open.",
                &self.rejected,
            ),
            (
                "shelfcast_events_heartbeats_total",
                "Heartbeats written.",
                &self.heartbeats,
            ),
            (
                "shelfcast_events_sent_bytes_total",
                "Bytes written to event streams.",
                &self.bytes,
            ),
            (
                "shelfcast_events_polls_total",
                "Answers to clients that poll for events.",
                &self.polls,
            ),
        ] {
            page.counter(name, help, counter.get());
        }
        page.histogram(
            "shelfcast_events_delivery_seconds",
            "Time from publishing an event to having written it to a client's socket.",
            &self.latency,
        );
    }
}

impl Recent {
    fn push(&mut self, took_us: u32) {
        if self.took_us.len() < RECENT {
            self.took_us.push(took_us);
        } else {
            self.took_us[self.next] = took_us;
            self.next = (self.next + 1) % RECENT;
        }
    }
}

fn place(kind: EventType) -> usize {
    EventType::ALL
        .iter()
        .position(|candidate| *candidate == kind)
        .expect("ALL has every type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_ten_thousand() {
        let figures = Figures::new();
        assert_eq!(figures.latency(), Latency::default());
        figures.count_deliveries(&vec![Duration::from_secs(9); 500]);
        let thousandths: Vec<_> = (1..=10_000).map(Duration::from_micros).collect();
        figures.count_deliveries(&thousandths);
        let latency = figures.latency();
        assert_eq!(latency.p50, Duration::from_micros(5_000));
        assert_eq!(latency.p99, Duration::from_micros(9_900));
        assert_eq!(latency.max, Duration::from_micros(10_000));
        assert_eq!(figures.deliveries.get(), 10_500);
    }
}
