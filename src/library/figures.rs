//! The **figures** of the library, for `/metrics`: what it holds, and how its changes are found.

use super::Library;
use crate::events::types::WatchState;
use crate::metrics::{Collect, Page};
use crate::watch::limit_here;

/// Every state, so that each has a line also while no folder is in it.
const STATES: [(&str, WatchState); 4] = [
    ("crawling", WatchState::Crawling),
    ("watching", WatchState::Watching),
    ("degraded", WatchState::Degraded),
    ("offline", WatchState::Offline),
];

impl Collect for Library {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn collect(&self, page: &mut Page) {
        let (counts, bytes, last_crawl, status, overflows) = {
            let view = self.shared.read();
            let bytes: u64 = view.folders.iter().map(|folder| folder.bytes).sum();
            let status = view.status.clone();
            (
                view.counts(),
                bytes,
                view.last_crawl,
                status,
                view.overflows,
            )
        };
        page.gauges(
            "shelfcast_library_entries",
            "Entries, by status.",
            "status",
            &[
                ("unprocessed", counts.unprocessed as f64),
                ("processing", counts.processing as f64),
                ("processed", counts.processed as f64),
                ("failed", counts.failed as f64),
            ],
        );
        page.gauge(
            "shelfcast_library_duplicates",
            "Entries whose content another entry has too.",
            counts.duplicate as f64,
        );
        page.gauge(
            "shelfcast_library_entries_bytes",
            "Size of all entries together.",
            bytes as f64,
        );
        page.gauge(
            "shelfcast_library_last_crawl_seconds",
            "Time that the last crawl took; 0 before there was one.",
            last_crawl.map_or(0.0, |crawl| crawl.took.as_secs_f64()),
        );
        let in_state = |wanted: WatchState| {
            let folders = status.folders.iter();
            folders.filter(|folder| folder.state == wanted).count() as f64
        };
        page.gauges(
            "shelfcast_library_folders",
            "Folders, by how their changes are found.",
            "state",
            &STATES.map(|(name, state)| (name, in_state(state))),
        );
        page.gauges(
            "shelfcast_watch_directories",
            "Directories, by how their changes are found.",
            "by",
            &[
                ("watch", status.watched as f64),
                ("poll", status.polled as f64),
            ],
        );
        page.gauge(
            "shelfcast_watch_limit_directories",
            "Watches that the kernel gives one user; 0 where it does not say.",
            limit_here().unwrap_or(0) as f64,
        );
        page.counter(
            "shelfcast_watch_overflows_total",
            "Times that the kernel's queue of notices was full.",
            overflows,
        );
    }
}
