//! Committing, and telling everybody.

use std::time::{Duration, Instant};

use super::Keeper;
use crate::events::Scope;
use crate::events::types::{
    CacheUpdated, ErrorEvent, Event, FolderStatus, WatchState, WatcherStatus,
};
use crate::library::delta::{Delta, Difference};
use crate::library::index::IndexError;
use crate::library::tree::Coverage;

/// While numbers alone change, the state of the watcher is told this often.
pub(super) const STATUS_EVERY: Duration = Duration::from_secs(1);

impl Keeper {
    /// Commits what has changed and publishes it, as one step: whoever reads the index then reads the
    /// id of the event that told of it. Where the last event was too short a time ago, both wait, and
    /// readers see the state before; only processing does not wait for that.
    pub(super) fn publish(&mut self, now: Instant) -> Result<(), IndexError> {
        self.regroup()?;
        if self.delta.is_empty() {
            self.publish_at = None;
            return self.commit(None);
        }
        if let Err(later) = self.limit.try_take(now) {
            self.publish_at = Some(later);
            let hurry = !self.processed.is_empty() || (self.work_waits && !self.bulk);
            if hurry && !self.shared.is_awaited() {
                match self.early.try_take(now) {
                    Ok(()) => self.commit_early()?,
                    Err(soon) => self.publish_at = Some(later.min(soon)),
                }
            }
            return Ok(());
        }
        self.publish_at = None;
        let delta = std::mem::take(&mut self.delta);
        self.commit(Some(&delta))
    }

    /// Ends the open transaction, if one is open, and tells of `delta`.
    fn commit(&mut self, delta: Option<&Delta>) -> Result<(), IndexError> {
        let mut rows = [Vec::new(), Vec::new()];
        let told = [Difference::Added, Difference::Changed];
        for (rows, difference) in rows.iter_mut().zip(told) {
            for id in delta
                .into_iter()
                .flat_map(|delta| delta.entries(difference))
            {
                rows.extend(self.index.entry(id)?);
            }
        }
        let scope = self.scope(
            delta
                .into_iter()
                .flat_map(|delta| delta.folders.iter().copied()),
        );
        let shared = std::sync::Arc::clone(&self.shared);
        // Under the lock, so that nobody reads the new rows before their event has its id.
        let mut view = shared.write();
        let version = view.version + u64::from(delta.is_some());
        if self.index.commit(version)? {
            self.committed_at = Instant::now();
            self.checkpoint_due = true;
        }
        if let Some(delta) = delta {
            view.version = version;
            let [added, changed] =
                rows.map(|rows| rows.iter().filter_map(|row| view.entry(row)).collect());
            let event = CacheUpdated {
                rebuild_complete: !delta.begins_rebuild(),
                message: delta.message(),
                version,
                total: view.counts().all,
                added,
                changed,
                removed: delta.entries(Difference::Removed).map(|id| id.0).collect(),
                truncated: delta.is_truncated(),
            };
            shared.events.publish(Event::CacheUpdated(event), scope);
        }
        view.unpublished = false;
        drop(view);
        shared.signal_published();
        self.tell_processing();
        Ok(())
    }

    /// Commits what workers wait for or have done, before the event that tells of it: what a file
    /// takes from its last byte to its result must not depend on the rate of events.
    pub(super) fn commit_early(&mut self) -> Result<(), IndexError> {
        self.regroup()?;
        let shared = std::sync::Arc::clone(&self.shared);
        let mut view = shared.write();
        if self.index.commit(view.version + 1)? {
            view.unpublished = true;
            self.committed_at = Instant::now();
            self.checkpoint_due = true;
        }
        drop(view);
        self.tell_processing();
        Ok(())
    }

    fn tell_processing(&mut self) {
        for (event, folder) in std::mem::take(&mut self.processed) {
            let scope = self.scope([folder]);
            self.shared
                .events
                .publish(Event::FileProcessed(event), scope);
        }
        if std::mem::take(&mut self.work_waits) {
            super::signal(&self.work);
        }
    }

    /// Commits without an event, where nobody reads yet or nothing that they see has changed.
    pub(super) fn commit_silently(&mut self) -> Result<(), IndexError> {
        self.regroup()?;
        self.commit(None)
    }

    /// Publishes the state of the watcher: at once where a state changed, once a second where only
    /// numbers did.
    pub(super) fn publish_status(&mut self, now: Instant) {
        let due = self.status_urgent || now >= self.status_at + STATUS_EVERY;
        if !(self.status_changed && due) {
            return;
        }
        self.status_changed = false;
        self.status_urgent = false;
        let mut status = self.watcher_status();
        let watched = |folder: &FolderStatus| folder.polled == 0;
        let healed = status
            .folders
            .iter()
            .enumerate()
            .filter(|(_, folder)| watched(folder));
        let healed: Vec<usize> = healed.map(|(index, _)| index).collect();
        if healed
            .into_iter()
            .filter(|index| self.all_watched(*index))
            .count()
            > 0
        {
            status = self.watcher_status();
        }
        if self.status.as_ref() != Some(&status) {
            self.tell_status(status, now);
        }
    }

    fn tell_status(&mut self, status: WatcherStatus, now: Instant) {
        self.shared.write().status = status.clone();
        self.shared
            .events
            .publish(Event::WatcherStatus(status.clone()), Scope::Everyone);
        self.status = Some(status);
        self.status_at = now;
    }

    pub(super) fn publish_error(
        &self,
        code: &str,
        message: &str,
        hint: Option<&str>,
        folder: Option<&str>,
    ) {
        let event = ErrorEvent {
            code: code.to_owned(),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
            folder: folder.map(str::to_owned),
        };
        let scope = folder.map_or(Scope::Everyone, |name| {
            Scope::Folders(vec![name.to_owned()])
        });
        self.shared.events.publish(Event::Error(event), scope);
    }

    fn scope(&self, folders: impl IntoIterator<Item = usize>) -> Scope {
        let names = folders
            .into_iter()
            .filter_map(|folder| self.folders.get(folder));
        let names: Vec<String> = names.map(|folder| folder.name.clone()).collect();
        if names.is_empty() {
            Scope::Everyone
        } else {
            Scope::Folders(names)
        }
    }

    pub(super) fn watcher_status(&self) -> WatcherStatus {
        let view = self.shared.read();
        let mut folders: Vec<FolderStatus> = self
            .folders
            .iter()
            .map(|folder| FolderStatus {
                name: folder.name.clone(),
                state: WatchState::Watching,
                directories: 0,
                watched: 0,
                polled: 0,
                message: folder.message(),
            })
            .collect();
        for (_, dir) in view.tree.iter() {
            let Some(folder) = folders.get_mut(dir.folder) else {
                continue;
            };
            folder.directories += 1;
            match dir.coverage {
                Coverage::Watched => folder.watched += 1,
                Coverage::Polled => folder.polled += 1,
                Coverage::Unseen | Coverage::Unreadable => {}
            }
        }
        let enabled = view.enabled;
        drop(view);
        for (status, folder) in folders.iter_mut().zip(&self.folders) {
            status.state = if folder.away.is_some() {
                WatchState::Offline
            } else if folder.root_info.is_none() || self.is_being_read(folder) {
                WatchState::Crawling
            } else if folder.message().is_some() || status.polled > 0 {
                WatchState::Degraded
            } else {
                WatchState::Watching
            };
            if let Some(message) = &mut status.message
                && status.polled > 0
            {
                let (watched, polled) = (status.watched, status.polled);
                *message = format!("{message}; {watched} directories are watched, {polled} polled");
            }
        }
        let worst = [
            WatchState::Offline,
            WatchState::Degraded,
            WatchState::Crawling,
        ];
        let state = worst
            .into_iter()
            .find(|state| folders.iter().any(|folder| folder.state == *state))
            .unwrap_or(WatchState::Watching);
        let sum = |of: fn(&FolderStatus) -> u64| folders.iter().map(of).sum();
        WatcherStatus {
            running: self.watch.is_running(),
            enabled,
            state: if enabled { state } else { WatchState::Paused },
            directories: sum(|folder| folder.directories),
            watched: sum(|folder| folder.watched),
            polled: sum(|folder| folder.polled),
            folders,
        }
    }
}
