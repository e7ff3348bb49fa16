//! The state directory: what is read from it at start, and going on when it fails.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::looks::Looks;
use super::{Command, Keeper};
use crate::events::types::Status;
use crate::library::delta::Delta;
use crate::library::folder::DiskIdentity;
use crate::library::index::{EntryRow, IndexError};
use crate::library::tree::{DirId, Tree};
use crate::library::view::{Counts, FolderView};

/// After a failure of the state directory.
const RETRY_STORAGE: Duration = Duration::from_secs(5);
/// A disk that is nearly full fails, works and fails again: that is said this often.
const TELL_STORAGE_AGAIN: Duration = Duration::from_secs(60);

impl Keeper {
    /// Reads folders and directories from the index into the view; used at start and after the
    /// index was replaced.
    pub(crate) fn load(&mut self) -> Result<(), IndexError> {
        for row in self.index.entries_by_status(Status::Processing)? {
            let now = EntryRow {
                status: Status::Unprocessed,
                ..row
            };
            self.index.update_entry(&now)?; // whoever had it is gone
        }
        let known = self.index.folders()?;
        for (name, root, _) in &known {
            if !self.folders.iter().any(|folder| folder.name == *name) {
                log::info!("folder is no longer configured, its entries go folder={name}");
                self.index.forget_below(*root)?;
                self.index.remove_folder(name)?;
            }
        }
        let mut views = Vec::new();
        for folder in &mut self.folders {
            let before = known.iter().find(|(name, ..)| *name == folder.name);
            folder.root = match before {
                Some((_, root, identity)) => {
                    folder.disk = identity.as_deref().and_then(DiskIdentity::from_text);
                    *root
                }
                None => self.index.add_folder(&folder.name)?,
            };
            views.push(FolderView {
                name: folder.name.clone(),
                root: folder.root,
                path: Arc::clone(&folder.path),
                counts: Counts::default(),
                bytes: 0,
                online: folder.root_info.is_some(),
            });
        }
        self.commit_silently()?;
        let mut tree = Tree::default();
        let roots: Vec<DirId> = self.folders.iter().map(|folder| folder.root).collect();
        self.index.each_dir(|id, parent, name, identity, mount| {
            let folder = match parent {
                None => roots.iter().position(|root| *root == id),
                Some(parent) => tree.get(parent).map(|parent| parent.folder),
            };
            let Some(folder) = folder else { return };
            tree.insert(id, parent, name, folder, identity);
            if let Some(dir) = tree.get_mut(id) {
                dir.mount = mount;
            }
        })?;
        self.index.each_size(|dir, status, duplicate, size| {
            let Some(known) = tree.get_mut(dir) else {
                return;
            };
            known.files += 1;
            if let Some(view) = views.get_mut(known.folder) {
                view.counts.add(status, duplicate);
                view.bytes += size;
            }
        })?;
        let version = self.index.meta("version")?.unwrap_or(0);
        let mut view = self.shared.write();
        view.tree = tree;
        view.folders = views;
        view.version = view.version.max(version.cast_unsigned());
        view.waiting.clear();
        view.finished.clear();
        drop(view);
        let status = self.watcher_status();
        self.shared.write().status = status;
        self.bulk = self.index.is_empty()?;
        if self.bulk {
            self.index.prepare_bulk()?;
            return self.commit_silently();
        }
        // The first crawl may have been cut off before it made them; nothing to do as a rule.
        self.index.finish_bulk()
    }

    /// Goes on without the state directory: what is known stays, and everything is read again once
    /// it can be written.
    pub(super) fn storage_failed(&mut self, error: IndexError) {
        self.index.rollback();
        self.processed.clear();
        self.delta = Delta::default();
        let told = self
            .storage_told
            .is_some_and(|told| told.elapsed() < TELL_STORAGE_AGAIN);
        if !told {
            self.storage_told = Some(Instant::now());
            log::error!("{error}; trying again. {}", error.hint());
            self.publish_error("storage", &error.to_string(), Some(error.hint()), None);
        }
        self.shared.write().storage_failure = Some(error.to_string());
        self.damaged |= error.is_damage();
        self.storage_retry = Some(if error.is_damage() {
            Instant::now()
        } else {
            Instant::now() + RETRY_STORAGE
        });
    }

    /// Handles what must be answered while nothing can be written; tries the storage again.
    pub(super) fn while_storage_fails(&mut self, command: Option<Command>) -> bool {
        // Everything is read again later; only the number of requests under way must stay right.
        let answer = self.answer.take();
        for read in answer.into_iter().chain(self.crawler.results().try_iter()) {
            self.tasks.end(read.dir, read.serial);
        }
        match command {
            Some(Command::Stop) => return true,
            Some(Command::Ping(reply)) => super::signal(&reply),
            // Reports are found again: the entries are still unprocessed in the index.
            Some(_) | None => {}
        }
        if self.storage_retry.is_some_and(|at| at <= Instant::now()) {
            match self.reopen() {
                Ok(()) => {
                    self.storage_retry = None;
                    self.shared.write().storage_failure = None;
                    log::info!("the index can be written again, reading everything");
                    // What was committed and not yet told is not in any delta any more.
                    self.delta = Delta::default();
                    for folder in 0..self.folders.len() {
                        self.delta.note_many(0, folder);
                    }
                    let message = "the index can be written again".to_owned();
                    self.delta.say(message, false);
                    self.start_crawl_of_all(false);
                    self.work_waits = true;
                }
                Err(error) => {
                    log::debug!("the index still fails: {error}");
                    self.index.rollback(); // or the next attempt believes that it has begun
                    self.storage_retry = Some(Instant::now() + RETRY_STORAGE);
                }
            }
        }
        false
    }

    /// Says that the index was damaged.
    pub(crate) fn tell_set_aside(&self, aside: &Path) {
        let message = format!(
            "the index was damaged and is rebuilt from disk; the old one is kept as {}",
            aside.display()
        );
        log::error!("{message}");
        let hint =
            "delete the old one when it is not wanted; check the disk of the state directory";
        self.publish_error("index_damaged", &message, Some(hint), None);
    }

    /// Begins again with what the index has; a damaged one is set aside.
    fn reopen(&mut self) -> Result<(), IndexError> {
        if self.damaged {
            let aside = self.index.replace()?;
            self.damaged = false;
            self.shared.forget_readers();
            self.tell_set_aside(&aside);
        }
        self.tasks.retain(|_| false);
        self.limbo.clear();
        self.leaving.clear(); // the crawl finds them again
        self.displaced.clear();
        self.later = Looks::default();
        self.crawl = None;
        self.load()?;
        // A write that works is the proof.
        self.index.begin()?;
        self.index.set_meta("reopened", 1)?;
        self.commit_silently()
    }
}
