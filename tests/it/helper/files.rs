//! The list of entries as `/api/files` tells it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::Value;

use super::http;

/// The largest page that there is.
const PAGE: usize = 1000;

/// All entries that a query finds, all pages of it.
#[derive(Clone, Debug)]
pub struct Files {
    pub entries: Vec<Value>,
    pub total: u64,
    pub counts: Value,
    pub version: u64,
    /// Of the first page: what comes after it may be in the list already, and is not missing.
    pub last_event_id: String,
}

impl Files {
    /// Asks for `/api/files` with the parameters `query` (`""`, or `"search=a&sort=name"`).
    pub fn ask(address: SocketAddr, query: &str) -> Files {
        Files::try_ask(address, query).unwrap_or_else(|error| panic!("/api/files?{query}: {error}"))
    }

    /// As [`Files::ask`], where the service may be gone.
    pub fn try_ask(address: SocketAddr, query: &str) -> std::io::Result<Files> {
        let mut files: Option<Files> = None;
        let mut cursor = String::new();
        loop {
            let target = format!("/api/files?limit={PAGE}&{query}{cursor}");
            let page = http::try_ask(address, "GET", &target, None)?.json();
            let mut entries = page["files"].as_array().cloned().unwrap_or_default();
            let all = files.get_or_insert_with(|| Files {
                entries: Vec::new(),
                total: page["total"].as_u64().unwrap_or_default(),
                counts: page["counts"].clone(),
                version: page["version"].as_u64().unwrap_or_default(),
                last_event_id: page["last_event_id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            });
            all.entries.append(&mut entries);
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={}", http::escape(next)),
                None => return Ok(files.unwrap()),
            }
        }
    }

    /// Returns the paths, in the order of the answer.
    pub fn paths(&self) -> Vec<&str> {
        self.entries
            .iter()
            .map(|entry| text(entry, "path"))
            .collect()
    }

    /// Returns the ids, lowest first.
    pub fn ids(&self) -> BTreeSet<i64> {
        self.entries
            .iter()
            .filter_map(|entry| entry["id"].as_i64())
            .collect()
    }

    /// Returns the entry at `path`.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.entries
            .iter()
            .find(|entry| text(entry, "path") == path)
    }

    /// Returns the id of the entry at `path`; panics if there is none.
    pub fn id(&self, path: &str) -> i64 {
        let entry = self.get(path);
        let entry = entry.unwrap_or_else(|| panic!("no entry {path:?} in {:?}", self.paths()));
        entry["id"].as_i64().unwrap()
    }

    pub fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// Tells whether one answer had all of it.
    pub fn is_one_page(&self) -> bool {
        self.len() <= PAGE
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tells whether there are entries, and all of them are below the directory.
    pub fn all_below(&self, directory: &str) -> bool {
        let prefix = format!("{directory}/");
        !self.is_empty() && self.paths().iter().all(|path| path.starts_with(&prefix))
    }

    /// Tells whether every entry has this status.
    pub fn all_have_status(&self, status: &str) -> bool {
        self.entries
            .iter()
            .all(|entry| text(entry, "status") == status)
    }
}

pub(super) fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_default()
}
