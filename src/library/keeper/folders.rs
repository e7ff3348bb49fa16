//! Folders that come and go.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::select;

use super::looks::Looks;
use super::{Command, Keeper};
use crate::glob::Selection;
use crate::library::apart::{LeftBehind, Pulse, patience};
use crate::library::folder::{Away, DiskIdentity, Root, look_at_root};
use crate::library::index::IndexError;
use crate::library::mounts;
use crate::library::tree::{Coverage, DirId};
use crate::watch::{Told, WatchError, kernel_limit};

/// Unreadable directories that a folder's message names.
const NAMED_UNREADABLE: usize = 3;

/// Commands kept while a disk is waited for; more wait in their channel.
const MOST_PUT_OFF: usize = 1024;
/// A stop does not wait for a disk that may have to spin up.
const PATIENCE_AT_STOP: Duration = Duration::from_secs(1);

/// How disks are, seen by one who stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disks {
    Answer,
    /// Nothing is asked of any disk any more.
    Hang,
}

/// One watched root as the library's thread knows it.
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) path: Arc<PathBuf>,
    pub(crate) selection: Arc<Selection>,
    pub(crate) root: DirId,
    /// The disk that the folder was on when it was last there.
    pub(crate) disk: Option<DiskIdentity>,
    /// How the root was found; none while the folder is offline.
    pub(crate) root_info: Option<Root>,
    pub(crate) away: Option<Away>,
    /// Threads that hang on its disk; until they are back nobody else asks it.
    pub(crate) left_behind: Vec<LeftBehind>,
    /// When it was last begun to read all of it.
    pub(crate) read_at: Option<Instant>,
    /// Why some directories are polled.
    pub(crate) polled_because: Option<String>,
    /// Directories that cannot be read, with their paths and why.
    pub(crate) unreadable: BTreeMap<DirId, String>,
    /// Directories at which a disk was mounted that is away, with their paths.
    pub(crate) unmounted: BTreeMap<DirId, String>,
}

impl Folder {
    pub(super) fn lasting_inodes(&self) -> bool {
        self.root_info
            .as_ref()
            .is_none_or(|root| root.lasting_inodes)
    }

    /// Returns how long its disk may take for an answer.
    pub(super) fn patience(&self) -> Duration {
        let root = self.root_info.as_ref();
        patience(root.is_some_and(|root| !root.must_poll))
    }

    pub(super) fn cannot_read(&mut self, dir: DirId, path: String, error: &std::io::Error) {
        // Names are for people; past a few a number says enough.
        if self.unreadable.len() < 1000 {
            self.unreadable.insert(dir, format!("{path}: {error}"));
        }
    }

    pub(super) fn can_read(&mut self, dir: DirId) {
        self.unreadable.remove(&dir);
    }

    pub(super) fn forget_directory(&mut self, dir: DirId) {
        self.unreadable.remove(&dir);
        self.unmounted.remove(&dir);
    }

    /// Says what is wrong, if anything is.
    pub(super) fn message(&self) -> Option<String> {
        if let Some(away) = &self.away {
            return Some(away.message(&self.path));
        }
        let mut parts: Vec<String> = self.polled_because.iter().cloned().collect();
        if !self.unreadable.is_empty() {
            let named: Vec<&str> = self
                .unreadable
                .values()
                .take(NAMED_UNREADABLE)
                .map(String::as_str)
                .collect();
            let number = self.unreadable.len();
            parts.push(format!(
                "{number} directories cannot be read: {}",
                named.join("; ")
            ));
        }
        if !self.unmounted.is_empty() {
            let paths: Vec<&str> = self.unmounted.values().map(String::as_str).collect();
            parts.push(not_mounted(&paths.join(", ")));
        }
        (!parts.is_empty()).then(|| parts.join(". "))
    }
}

fn not_mounted(paths: &str) -> String {
    format!("no disk is mounted at {paths} any more: the entries there are kept")
}

impl Keeper {
    /// Looks whether each folder is there, and whether it is itself.
    pub(super) fn check_folders(&mut self) -> Result<(), IndexError> {
        self.leave_crawl_that_hangs();
        let apart = std::mem::take(&mut self.mounts_changed);
        for index in 0..self.folders.len() {
            let folder = &mut self.folders[index];
            folder.left_behind.retain(|left| !left.is_back());
            if !folder.left_behind.is_empty() {
                continue;
            }
            let path = Arc::clone(&folder.path);
            let is_local = folder
                .root_info
                .as_ref()
                .is_some_and(|root| !root.must_poll);
            // What is asked of a local disk that was there is in memory, and one that is idle is not to
            // cost two threads their sleep.
            let found = if is_local && !apart {
                Some(look_at_root(&path))
            } else {
                self.on_disk(index, move |_| look_at_root(&path))
            };
            let Some(found) = found else {
                continue;
            };
            match found {
                Ok(root) => {
                    let other = self.folders[index].disk.as_ref();
                    match other.filter(|disk| !disk.is(&root.disk)) {
                        None => self.is_there(index, root)?,
                        Some(disk) => {
                            let away = disk.away(&root.disk);
                            self.is_away(index, away);
                        }
                    }
                }
                Err(away) => self.is_away(index, away),
            }
        }
        Ok(())
    }

    /// Has something asked of a folder's disk and waits for the answer; `None` where none comes: the
    /// folder is offline then. The watchdog is answered meanwhile, everybody else waits.
    pub(super) fn on_disk<T: Send + 'static>(
        &mut self,
        index: usize,
        work: impl FnOnce(&Pulse) -> T + Send + 'static,
    ) -> Option<T> {
        let never = crossbeam_channel::never();
        let mut patience = self.folders.get(index)?.patience();
        let mut stillness = self.disks.stillness();
        if self.stops == Some(Disks::Hang) {
            return None;
        }
        let answer = self.disks.ask(work);
        loop {
            let commands = match self.stops {
                None if self.put_off.len() < MOST_PUT_OFF => &self.commands,
                _ => &never,
            };
            if self.stops.is_some() {
                patience = PATIENCE_AT_STOP;
            }
            let left = (stillness.since() + patience).saturating_duration_since(Instant::now());
            select! {
                recv(answer) -> answer => match answer {
                    Ok(answer) => return Some(answer),
                    Err(_) => break, // its thread has panicked
                },
                recv(commands) -> command => match command {
                    Ok(Command::Ping(reply)) => super::signal(&reply),
                    Ok(Command::Stop) | Err(_) => {
                        self.put_off.push_back(Command::Stop);
                        self.stops = Some(Disks::Answer);
                    }
                    Ok(command) => self.put_off.push_back(command),
                },
                default(left) => {
                    if stillness.since().elapsed() >= patience {
                        break;
                    }
                }
            }
        }
        match self.disks.leave() {
            Ok(left) => self.folders[index].left_behind.push(left),
            Err(error) => log::error!("no thread to ask disks: {error}"),
        }
        match &mut self.stops {
            Some(disks) => *disks = Disks::Hang,
            None => self.is_away(index, Away::Silent),
        }
        None
    }

    /// The crawler hangs on a disk: its folder is offline, and others go on with another crawler.
    fn leave_crawl_that_hangs(&mut self) {
        let still_since = self.crawler.still_since();
        let Some(asked) = self.tasks.oldest() else {
            return;
        };
        let dir = self.shared.read().tree.get(asked.dir).map(|dir| dir.folder);
        let Some(index) = dir else { return };
        let patience = self.folders[index].patience();
        let answers = !self.crawler.results().is_empty() || self.answer.is_some();
        if answers || still_since.max(asked.at).elapsed() < patience {
            return;
        }
        match self.crawler.leave() {
            Ok(left) => {
                self.folders[index].left_behind.push(left);
                self.is_away(index, Away::Silent);
                self.tasks.ask_again();
            }
            Err(error) => log::error!("no thread to crawl with: {error}"),
        }
    }

    fn is_there(&mut self, index: usize, root: Root) -> Result<(), IndexError> {
        let folder = &mut self.folders[index];
        let before = folder
            .root_info
            .as_ref()
            .map(|root| (root.meta.device, root.meta.identity));
        let now = (root.meta.device, root.meta.identity);
        if before == Some(now) {
            return Ok(());
        }
        if folder.away.take().is_some() {
            log::info!(
                "folder is back folder={} path={:?}",
                folder.name,
                folder.path
            );
        }
        if root.must_poll {
            folder.polled_because = Some(format!(
                "{} is on a {} file system, whose changes the kernel does not tell of: it is polled every {} s",
                folder.path.display(),
                root.kind,
                self.poll.as_secs()
            ));
        }
        let mut disk = root.disk.clone();
        if let Some(before) = &folder.disk {
            disk.keep_uuid_of(before);
        }
        let text = disk.to_text();
        folder.disk = Some(disk);
        folder.root_info = Some(root);
        folder.read_at = Some(Instant::now());
        let (name, dir) = (folder.name.clone(), folder.root);
        self.index.set_folder_identity(&name, &text)?;
        let mut view = self.shared.write();
        if let Some(view) = view.folders.get_mut(index) {
            view.online = true;
        }
        drop(view);
        self.status_changed = true;
        self.status_urgent = true;
        self.work_waits = true;
        // What was watched belonged to the mount before.
        self.unwatch(index);
        self.begin_crawl(self.folders.len() == 1);
        self.read_again(dir, true);
        Ok(())
    }

    pub(super) fn is_away(&mut self, index: usize, away: Away) {
        let folder = &mut self.folders[index];
        if folder.away.as_ref() == Some(&away) {
            return;
        }
        let message = away.message(&folder.path);
        log::error!("folder is offline folder={}: {message}", folder.name);
        let code = away.code();
        let hint = if away == Away::Another {
            format!(
                "mount its own disk, or take this one: POST /api/folders/{}/accept",
                folder.name
            )
        } else {
            "its entries are kept; it comes back by itself".to_owned()
        };
        folder.away = Some(away);
        folder.root_info = None;
        folder.unreadable.clear();
        folder.unmounted.clear();
        let name = folder.name.clone();
        let mut view = self.shared.write();
        if let Some(view) = view.folders.get_mut(index) {
            view.online = false;
        }
        let of_folder = |dir: DirId| view.tree.get(dir).is_none_or(|dir| dir.folder == index);
        self.tasks.retain(|dir| !of_folder(dir));
        self.limbo.retain(|(dir, _)| !of_folder(*dir));
        drop(view);
        self.unwatch(index);
        self.status_changed = true;
        self.status_urgent = true;
        self.publish_error(code, &message, Some(&hint), Some(&name));
    }

    /// Ends all watches of a folder.
    fn unwatch(&mut self, index: usize) {
        let mut view = self.shared.write();
        let below: Vec<DirId> = view
            .tree
            .iter()
            .filter(|(_, dir)| dir.folder == index)
            .map(|(id, _)| id)
            .collect();
        for dir in below {
            self.watch.remove(dir.into());
            if let Some(known) = view.tree.get_mut(dir) {
                known.coverage = Coverage::Unseen;
                known.device = None;
                known.listed_at = None;
            }
        }
    }

    /// Something was mounted or unmounted: looks at the folders, and reads again what is mounted below
    /// them now and was not before, or the reverse. On a box with containers most mounts are elsewhere.
    pub(super) fn mounts_changed(&mut self) {
        self.next_check = Instant::now();
        self.mounts_changed = true;
        let now = mounts::table();
        let differing = mounts::differing(&self.mounts, &now);
        let mut roots = Vec::new();
        for index in 0..self.folders.len() {
            if self.folders[index].root_info.is_some() {
                let path = Arc::clone(&self.folders[index].path);
                // The table has paths without links.
                let path = self.on_disk(index, move |_| path.canonicalize());
                roots.extend(path.and_then(Result::ok).map(|path| (index, path)));
            }
        }
        let mut view = self.shared.write();
        let mut again: Vec<DirId> = Vec::new();
        for (index, root) in roots {
            let folder = &self.folders[index];
            let below = differing
                .iter()
                .filter_map(|point| point.strip_prefix(&root).ok());
            for path in below {
                let mut names = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
                let found = names.try_fold(folder.root, |at, name| view.tree.child(at, name));
                again.extend(found.filter(|dir| *dir != folder.root));
            }
        }
        for dir in &again {
            for below in view.tree.subtree(*dir) {
                if let Some(known) = view.tree.get_mut(below) {
                    known.device = None; // the same disk may come back as another device
                    known.listed_at = None;
                }
            }
        }
        drop(view);
        self.mounts = now;
        for dir in again {
            self.read_again(dir, true);
        }
    }

    /// A directory itself was moved, deleted or unmounted; for all but roots the parent tells more.
    pub(super) fn root_changed(&mut self, dir: DirId) {
        if self.folders.iter().any(|folder| folder.root == dir) {
            self.next_check = std::time::Instant::now();
        }
    }

    /// Takes the disk that is at a folder's path for its own.
    pub(super) fn accept(&mut self, name: &str) -> Result<bool, IndexError> {
        let Some(index) = self.folders.iter().position(|folder| folder.name == name) else {
            return Ok(false);
        };
        let folder = &mut self.folders[index];
        if matches!(folder.away, Some(Away::Another | Away::Unmounted)) {
            log::info!("another disk is accepted folder={name}");
            folder.disk = None;
            self.check_folders()?;
        }
        let unmounted = std::mem::take(&mut self.folders[index].unmounted);
        let mut looks = Looks::default();
        for (dir, path) in unmounted {
            log::info!("what is there without its disk is accepted path={path:?}");
            if let Some(known) = self.shared.write().tree.get_mut(dir) {
                known.mount = false;
            }
            self.index.set_dir_mount(dir, false)?;
            if let Some((above, name)) = self.spot_of(dir) {
                looks.name(above, name, Told::Deleted);
            }
            self.status_changed = true;
        }
        self.look(looks)?;
        Ok(true)
    }

    /// The disk that was mounted at a directory below a folder is away: its entries are kept, which is
    /// said once.
    pub(super) fn mount_is_away(&mut self, dir: DirId) {
        let view = self.shared.read();
        let Some(index) = view.tree.get(dir).map(|known| known.folder) else {
            return;
        };
        let path = String::from_utf8_lossy(&view.tree.full_path(dir)).into_owned();
        drop(view);
        let folder = &mut self.folders[index];
        if folder.unmounted.insert(dir, path.clone()).is_some() {
            return;
        }
        let message = not_mounted(&path);
        let hint = format!(
            "mount it; if it is gone for good, take what is there now: POST /api/folders/{}/accept",
            folder.name
        );
        log::error!("{message} folder={}", folder.name);
        let name = folder.name.clone();
        self.status_changed = true;
        self.status_urgent = true;
        self.publish_error("disk_not_mounted", &message, Some(&hint), Some(&name));
    }

    pub(super) fn is_being_read(&self, folder: &Folder) -> bool {
        if self.crawl.is_none() {
            return false;
        }
        let view = self.shared.read();
        let at = view.tree.get(folder.root).map(|root| root.folder);
        let in_folder = |dir: DirId| view.tree.get(dir).map(|dir| dir.folder) == at;
        self.tasks.directories().any(in_folder)
    }

    /// Says why directories of a folder are polled, once.
    pub(super) fn not_watched(&mut self, index: usize, error: &WatchError) {
        let Some(folder) = self.folders.get_mut(index) else {
            return;
        };
        let (message, hint) = match error {
            WatchError::Limit { .. } => {
                let limit = kernel_limit().unwrap_or(8192);
                let wanted = (limit * 2).max(65_536).next_power_of_two();
                let hint = format!("sysctl fs.inotify.max_user_watches={wanted}");
                (
                    format!(
                        "{error}: other directories are polled every {} s. {hint} (and in /etc/sysctl.d to keep it)",
                        self.poll.as_secs()
                    ),
                    hint,
                )
            }
            WatchError::Unavailable(_) => (
                format!(
                    "{error}: directories are polled every {} s",
                    self.poll.as_secs()
                ),
                "sysctl fs.inotify.max_user_instances=512 and restart".to_owned(),
            ),
            WatchError::Refused(_) => return,
        };
        if folder.polled_because.as_ref() == Some(&message) {
            return;
        }
        log::warn!("{message} folder={}", folder.name);
        folder.polled_because = Some(message.clone());
        let name = folder.name.clone();
        self.status_changed = true;
        self.publish_error("watch_limit", &message, Some(&hint), Some(&name));
    }

    /// Forgets why directories of a folder were polled, once none is; tells whether it had to.
    pub(super) fn all_watched(&mut self, index: usize) -> bool {
        self.folders.get_mut(index).is_some_and(|folder| {
            folder
                .root_info
                .as_ref()
                .is_some_and(|root| !root.must_poll)
                && folder.polled_because.take().is_some()
        })
    }
}
