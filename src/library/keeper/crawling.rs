//! Reading whole directories: what is asked of the crawler, and what its answers mean.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::looks::Looks;
use super::{Crawl, Flight, Keeper};
use crate::library::crawl::{Expected, IN_FLIGHT, Outcome, Read, Request};
use crate::library::disk::{DirMeta, FileMeta, Found, Listing};
use crate::library::index::IndexError;
use crate::library::reconcile::{EntryId, Row, Seen, Spot};
use crate::library::tree::{Coverage, DirId, Identity};
use crate::library::view::CrawlStats;
use crate::watch::WatchError;

/// Answers of the crawler that are written before live changes are looked at again.
const ANSWERS: usize = 64;

/// A directory to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) dir: DirId,
    /// The directories below too.
    pub(super) recursive: bool,
    /// Only if its change time says that a name in it changed.
    pub(super) unless_changed: bool,
}

impl Keeper {
    /// Reads every folder that is there. With `changed_first`, only directories whose change time
    /// moved are listed.
    pub(super) fn start_crawl_of_all(&mut self, changed_first: bool) {
        let roots: Vec<DirId> = self
            .folders
            .iter()
            .filter(|folder| folder.root_info.is_some())
            .map(|folder| folder.root)
            .collect();
        let running = self.crawl.is_some();
        if running && !changed_first {
            self.crawl_again = true;
            return;
        }
        self.begin_crawl(true);
        for root in roots {
            self.add_task(Task {
                dir: root,
                recursive: true,
                unless_changed: changed_first,
            });
        }
    }

    pub(super) fn begin_crawl(&mut self, whole: bool) {
        if self.crawl.is_some() {
            return;
        }
        self.crawl = Some(Crawl {
            started: Instant::now(),
            started_at: SystemTime::now(),
            files: 0,
            rebuild: false,
            whole,
        });
        self.shared.write().crawling = true;
        self.status_changed = true;
        self.status_urgent = true;
    }

    pub(super) fn rebuild(&mut self) {
        self.delta.say("rebuild started".to_owned(), true);
        if self.crawl.is_some() {
            self.crawl_again = true; // what was read before this request does not count
        }
        self.start_crawl_of_all(false);
        if let Some(crawl) = &mut self.crawl {
            crawl.rebuild = true;
        }
    }

    /// Reads one directory that may have changed as a whole.
    pub(super) fn read_again(&mut self, dir: DirId, recursive: bool) {
        if let Some(known) = self.shared.write().tree.get_mut(dir) {
            known.listed_at = None;
        }
        if let Some(flight) = self.in_flight.get_mut(&dir) {
            flight.touched = true;
        }
        self.add_task(Task {
            dir,
            recursive,
            unless_changed: false,
        });
    }

    /// Reads the directories that the kernel does not tell about.
    pub(super) fn read_polled(&mut self) {
        let view = self.shared.read();
        let polled: Vec<DirId> = view
            .tree
            .iter()
            .filter(|(_, dir)| matches!(dir.coverage, Coverage::Polled | Coverage::Unreadable))
            .map(|(id, _)| id)
            .collect();
        drop(view);
        for dir in polled {
            self.add_task(Task {
                dir,
                recursive: false,
                unless_changed: false,
            });
        }
    }

    fn add_task(&mut self, task: Task) {
        if self.queued.insert(task.dir) {
            self.tasks.push(task);
        } else if let Some(queued) = self.tasks.iter_mut().rev().find(|one| one.dir == task.dir) {
            queued.recursive |= task.recursive;
            queued.unless_changed &= task.unless_changed;
        }
    }

    /// Keeps the crawler busy.
    pub(super) fn ask_crawler(&mut self) {
        let mut put_off = Vec::new();
        while self.in_flight.len() < IN_FLIGHT
            && let Some(task) = self.tasks.pop()
        {
            if self.in_flight.contains_key(&task.dir) {
                put_off.push(task); // once more, when this reading is back
                continue;
            }
            self.queued.remove(&task.dir);
            let Some(request) = self.request(task) else {
                continue;
            };
            let flight = Flight {
                touched: false,
                recursive: task.recursive,
            };
            self.in_flight.insert(task.dir, flight);
            if !self.crawler.ask(request) {
                debug_assert!(false, "both ends have the bound of requests in flight");
                self.in_flight.remove(&task.dir);
            }
        }
        self.tasks.append(&mut put_off);
    }

    fn request(&self, task: Task) -> Option<Request> {
        let view = self.shared.read();
        let dir = view.tree.get(task.dir)?;
        let folder = self.folders.get(dir.folder)?;
        let root = folder.root_info.as_ref()?;
        let is_root = dir.parent.is_none();
        Some(Request {
            dir: task.dir,
            root: Arc::clone(&folder.path),
            names: view
                .tree
                .components(task.dir)
                .into_iter()
                .map(Box::from)
                .collect(),
            selection: Arc::clone(&folder.selection),
            expected: Expected {
                identity: if is_root {
                    root.meta.identity
                } else {
                    dir.identity
                },
                device: if is_root {
                    Some(root.meta.device)
                } else {
                    dir.device
                },
            },
            unless_changed: dir.listed_at.filter(|_| task.unless_changed),
            watch: !root.must_poll,
        })
    }

    /// Writes what the crawler has read.
    pub(super) fn crawled(&mut self, first: Option<Read>) -> Result<(), IndexError> {
        let mut next = first;
        for _ in 0..ANSWERS {
            let Some(read) = next
                .take()
                .or_else(|| self.crawler.results().try_recv().ok())
            else {
                break;
            };
            self.take_in(read)?;
            self.ask_crawler();
        }
        Ok(())
    }

    fn take_in(&mut self, Read { dir, outcome }: Read) -> Result<(), IndexError> {
        let Some(flight) = self.in_flight.remove(&dir) else {
            return Ok(()); // asked before its folder went offline
        };
        match outcome {
            Outcome::Listed {
                meta,
                coverage,
                refused,
                listing,
            } => {
                self.covered(dir, coverage, refused);
                self.listed(dir, &flight, &meta, listing)
            }
            Outcome::Unchanged { coverage, refused } => {
                self.covered(dir, coverage, refused);
                let children = self.shared.read().tree.children(dir).to_vec();
                for child in children {
                    self.add_task(Task {
                        dir: child,
                        recursive: true,
                        unless_changed: true,
                    });
                }
                Ok(())
            }
            Outcome::Another => self.gone_elsewhere(dir),
            Outcome::Failed(error) => match error {
                rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => {
                    self.gone_elsewhere(dir)
                }
                error => {
                    self.unreadable(dir, error);
                    Ok(())
                }
            },
        }
    }

    /// What is at the directory's path is another thing, or nothing: its parent knows.
    fn gone_elsewhere(&mut self, dir: DirId) -> Result<(), IndexError> {
        let Some(spot) = self.spot_of(dir) else {
            self.root_changed(dir);
            return Ok(());
        };
        let mut looks = Looks::default();
        looks.name(spot.0, spot.1, false);
        self.look(looks)
    }

    fn covered(&mut self, dir: DirId, coverage: Coverage, refused: Option<WatchError>) {
        let mut view = self.shared.write();
        let Some(known) = view.tree.get_mut(dir) else {
            return;
        };
        self.status_changed |= known.coverage != coverage;
        known.coverage = coverage;
        let folder = known.folder;
        drop(view);
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.can_read(dir);
        }
        if let Some(error) = refused {
            self.not_watched(folder, &error);
        }
    }

    /// Compares a listing with the index.
    fn listed(
        &mut self,
        dir: DirId,
        flight: &Flight,
        meta: &DirMeta,
        mut listing: Listing,
    ) -> Result<(), IndexError> {
        let Some(lasting) = self.note_directory(dir, meta, &listing)? else {
            return Ok(());
        };
        if let Some(crawl) = &mut self.crawl {
            crawl.files += listing.files.len() as u64;
        }
        if !lasting {
            for (_, meta) in &mut listing.files {
                meta.identity = Identity::default();
            }
        }
        listing.files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        listing.directories.sort_unstable();
        let differing = self.differing(dir, &listing)?;
        if flight.touched {
            // Something was looked at in here since it was listed: the listing is only a hint.
            let mut looks = Looks::default();
            for seen in differing.seen {
                looks.name(dir, seen.spot.1, false);
            }
            self.look(looks)?;
        } else {
            self.reconcile(differing.seen)?;
        }
        if listing.broken.is_none() {
            let unreadable =
                |spot: &Spot| listing.unreadable.iter().any(|(name, _)| *name == spot.1);
            self.limbo.extend(
                differing
                    .missing
                    .into_iter()
                    .filter(|spot| !unreadable(spot)),
            );
        } else if let Some(error) = listing.broken {
            self.unreadable(dir, error);
        }
        // A new directory has a task since it was added; one that is known has it from here.
        let mut looks = Looks::default();
        for name in listing.directories {
            let child = self.shared.read().tree.child(dir, &name);
            match child {
                Some(child) if flight.recursive => self.add_task(Task {
                    dir: child,
                    recursive: true,
                    unless_changed: false,
                }),
                Some(_) => {}
                None => looks.name(dir, name, false),
            }
        }
        self.look(looks)
    }

    /// Keeps what the listing says of the directory itself. Answers whether inode numbers last here,
    /// `None` if the directory is not known any more.
    fn note_directory(
        &mut self,
        dir: DirId,
        meta: &DirMeta,
        listing: &Listing,
    ) -> Result<Option<bool>, IndexError> {
        let shared = Arc::clone(&self.shared);
        let mut view = shared.write();
        let parent = view.tree.get(dir).and_then(|known| known.parent);
        let above = parent
            .and_then(|parent| view.tree.get(parent))
            .and_then(|above| above.device);
        let Some(known) = view.tree.get_mut(dir) else {
            return Ok(None);
        };
        let Some(folder) = self.folders.get(known.folder) else {
            return Ok(None);
        };
        let lasting = folder.lasting_inodes();
        let identity = if lasting {
            meta.identity
        } else {
            Identity::default()
        };
        let complete = listing.broken.is_none() && listing.unreadable.is_empty();
        known.listed_at = complete.then_some(meta.changed);
        known.device = Some(meta.device);
        let mount = above.is_some_and(|above| above != meta.device);
        let (new_identity, new_mount) = (known.identity != identity, known.mount != mount);
        known.identity = identity;
        known.mount = mount;
        drop(view);
        if new_identity {
            self.index.set_dir_identity(dir, identity)?;
        }
        if new_mount {
            self.index.set_dir_mount(dir, mount)?;
        }
        Ok(Some(lasting))
    }

    fn differing(&self, dir: DirId, listing: &Listing) -> Result<Differing, IndexError> {
        let mut rows: Vec<(Box<[u8]>, EntryId, FileMeta)> = Vec::new();
        if !self.bulk
            || self
                .shared
                .read()
                .tree
                .get(dir)
                .is_some_and(|known| known.files > 0)
        {
            self.index
                .each_in(dir, |name, id, meta| rows.push((name.into(), id, meta)))?;
            rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        let mut differing = Differing::default();
        let mut rows = rows.into_iter().peekable();
        for (name, meta) in &listing.files {
            while let Some(row) = rows.next_if(|row| row.0 < *name) {
                differing.missing.push((dir, row.0));
            }
            let row = rows.next_if(|row| row.0 == *name);
            let same = row.as_ref().is_some_and(|(_, _, known)| {
                (known.size, known.modified, known.identity)
                    == (meta.size, meta.modified, meta.identity)
            });
            if same {
                continue;
            }
            let directory = self.shared.read().tree.child(dir, name);
            if directory.is_some() {
                // A file where a directory was: both are looked at together.
                differing.missing.push((dir, name.clone()));
                continue;
            }
            differing.seen.push(Seen {
                spot: (dir, name.clone()),
                row: row.map(|(_, id, meta)| Row::File {
                    id,
                    meta,
                    young: self.young_ids.contains(&id),
                }),
                disk: Some(Found::File(*meta)),
                renamed_from: None,
            });
        }
        differing.missing.extend(rows.map(|row| (dir, row.0)));
        let view = self.shared.read();
        for child in view.tree.children(dir) {
            let Some(child) = view.tree.get(*child) else {
                continue;
            };
            if listing.directories.binary_search(&child.name).is_err() {
                differing.missing.push((dir, child.name.clone()));
            }
        }
        Ok(differing)
    }

    /// Nothing is left to read: looks once more at what was missing, and tells the end of the crawl.
    pub(super) fn crawl_ends(&mut self) -> Result<(), IndexError> {
        if !self.limbo.is_empty() {
            let mut looks = Looks::default();
            for (dir, name) in std::mem::take(&mut self.limbo) {
                looks.name(dir, name, false);
            }
            return self.look(looks); // may find more to read
        }
        let Some(crawl) = self.crawl.take() else {
            return Ok(());
        };
        self.status_changed = true;
        self.status_urgent = true;
        if std::mem::take(&mut self.crawl_again) {
            let rebuild = crawl.rebuild;
            self.start_crawl_of_all(false);
            if let Some(crawl) = &mut self.crawl {
                crawl.rebuild = rebuild;
            }
            return Ok(());
        }
        if std::mem::take(&mut self.bulk) {
            self.commit()?;
            self.index.finish_bulk()?;
        }
        let took = crawl.started.elapsed();
        log::info!(
            "crawl finished files={} took_ms={}",
            crawl.files,
            took.as_millis()
        );
        let mut view = self.shared.write();
        view.crawling = false;
        if crawl.whole {
            view.last_crawl = Some(CrawlStats {
                started: crawl.started_at,
                took,
                files: crawl.files,
            });
        }
        drop(view);
        if crawl.rebuild {
            self.delta
                .say(format!("rebuild complete: {} files", crawl.files), false);
        } else if crawl.whole && self.shared.read().version == 0 {
            self.delta.say(
                format!("the index is up to date: {} files", crawl.files),
                false,
            );
        }
        self.work_waits = true;
        self.commit()
    }
}

/// What a listing and the index do not agree on.
#[derive(Default)]
struct Differing {
    seen: Vec<Seen>,
    missing: Vec<Spot>,
}
