//! A client that reads the list once and then lives on deltas alone, as a page does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::{Files, PATIENCE, Stream, wait_until};

/// Such a client. It reads the list again only where it is told to: `truncated`, `reset`.
#[derive(Debug)]
pub struct Follower {
    address: SocketAddr,
    stream: Stream,
    entries: BTreeMap<i64, Value>,
    last_event_id: String,
    /// The list was read in one page, and so as it was at one moment. Of several pages the later ones
    /// may be ahead of the id of the first, and what is then applied once more changes nothing.
    is_exact: bool,
    /// How often it had to read the list.
    pub reads: u32,
}

impl Follower {
    pub fn start(address: SocketAddr) -> Follower {
        let files = Files::ask(address, "");
        Follower {
            address,
            stream: open(address, &files.last_event_id),
            last_event_id: files.last_event_id.clone(),
            is_exact: files.is_one_page(),
            entries: by_id(files),
            reads: 1,
        }
    }

    /// Goes on with the service at another address, with the id that it had.
    pub fn reconnect(&mut self, address: SocketAddr) {
        self.address = address;
        self.stream = open(address, &self.last_event_id);
    }

    /// Applies events until that of `last_event_id` has come, and returns the list.
    pub fn list_at(&mut self, last_event_id: &str) -> Vec<Value> {
        let caught_up = wait_until(PATIENCE, || {
            self.apply();
            is_at_least(&self.last_event_id, last_event_id)
        });
        let at = &self.last_event_id;
        assert!(
            caught_up,
            "the follower is at {at}, the service at {last_event_id}"
        );
        self.entries.values().cloned().collect()
    }

    /// Applies what has come.
    pub fn apply(&mut self) {
        if self.stream.has_ended() {
            self.stream = open(self.address, &self.last_event_id);
        }
        for event in self.stream.take() {
            let data = &event.data;
            let snapshot_is_newer = event.kind != "reset"
                && epoch(&self.last_event_id) == epoch(&event.id)
                && is_at_least(&self.last_event_id, &event.id);
            if snapshot_is_newer {
                continue;
            }
            let again = event.kind == "reset" || data["truncated"].as_bool().unwrap_or_default();
            if again {
                let files = Files::ask(self.address, "");
                self.last_event_id.clone_from(&files.last_event_id);
                self.is_exact = files.is_one_page();
                self.entries = by_id(files);
                self.reads += 1;
                continue;
            }
            if event.kind == "cache_updated" {
                self.apply_delta(data);
            }
            self.last_event_id = event.id;
        }
    }

    fn apply_delta(&mut self, data: &Value) {
        for key in ["added", "changed"] {
            for entry in data[key].as_array().into_iter().flatten() {
                let id = entry["id"].as_i64().unwrap();
                let before = self.entries.insert(id, entry.clone());
                let fits = before.is_some() == (key == "changed");
                assert!(fits || !self.is_exact, "{key}: {entry}, known: {before:?}");
            }
        }
        for id in data["removed"].as_array().into_iter().flatten() {
            let before = self.entries.remove(&id.as_i64().unwrap());
            assert!(
                before.is_some() || !self.is_exact,
                "removed but never there: {id}"
            );
        }
        let total = data["total"].as_u64().unwrap();
        let have = self.entries.len() as u64;
        assert!(
            total == have || !self.is_exact,
            "{total} in all, {have} here after {data}"
        );
    }
}

fn open(address: SocketAddr, last_event_id: &str) -> Stream {
    let target = "/api/events/stream";
    Stream::open(address, target, Some(last_event_id))
}

fn by_id(files: Files) -> BTreeMap<i64, Value> {
    let id = |entry: &Value| entry["id"].as_i64().unwrap();
    files
        .entries
        .into_iter()
        .map(|entry| (id(&entry), entry))
        .collect()
}

fn epoch(id: &str) -> &str {
    id.split('-').next().unwrap_or_default()
}

fn is_at_least(id: &str, wanted: &str) -> bool {
    let number = |id: &str| id.rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
    epoch(id) == epoch(wanted) && number(id) >= number(wanted)
}

/// Waits a moment without any event; for a test that is about silence.
pub const SILENCE: Duration = Duration::from_millis(500);
