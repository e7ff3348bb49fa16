//! Reading whole directories: what is asked of the crawler, and what its answers mean.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::looks::Looks;
use super::tasks::{Flight, Task};
use super::{Crawl, Keeper};
use crate::library::crawl::{Covered, Expected, Outcome, Read, Request};
use crate::library::disk::{DirMeta, Found, Listing};
use crate::library::index::IndexError;
use crate::library::reconcile::{Row, Seen, Spot};
use crate::library::tree::{Coverage, DirId, Identity};
use crate::library::view::CrawlStats;
use crate::watch::Told;

/// Answers of the crawler that are written before live changes are looked at again.
const ANSWERS: usize = 64;

/// Differences of one listing that are handled at once; bounds the memory for a directory of a
/// million files.
const CHUNK: usize = 4096;
/// What has left its place is looked for this long, before it is taken for gone: a notice of where it
/// went is read within milliseconds.
const LIMBO: Duration = Duration::from_millis(100);

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
            self.tasks.add(Task {
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
        self.tasks.touch(dir);
        self.tasks.add(Task {
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
            self.tasks.add(Task {
                dir,
                recursive: false,
                unless_changed: false,
            });
        }
    }

    /// Keeps the crawler busy.
    pub(super) fn ask_crawler(&mut self) {
        while let Some(task) = self.tasks.next() {
            let Some(mut request) = self.request(task) else {
                continue;
            };
            request.serial = self.tasks.begin(task);
            let asked = self.crawler.ask(request);
            debug_assert!(asked, "both ends have the bound of requests under way");
        }
    }

    fn request(&self, task: Task) -> Option<Request> {
        let view = self.shared.read();
        let dir = view.tree.get(task.dir)?;
        let folder = self.folders.get(dir.folder)?;
        let root = folder.root_info.as_ref()?;
        let is_root = dir.parent.is_none();
        Some(Request {
            dir: task.dir,
            serial: 0, // given when it is sent
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

    fn take_in(&mut self, read: Read) -> Result<(), IndexError> {
        let Read {
            dir,
            serial,
            outcome,
        } = read;
        let Some(flight) = self.tasks.end(dir, serial) else {
            return Ok(()); // asked before its folder went offline
        };
        match outcome {
            Outcome::Listed {
                meta,
                covered,
                listing,
            } => {
                self.covered(dir, covered);
                self.listed(dir, &flight, &meta, listing)
            }
            Outcome::Unchanged { covered } if !flight.task.recursive => {
                self.covered(dir, covered);
                Ok(())
            }
            Outcome::Unchanged { covered } => {
                self.covered(dir, covered);
                let children = self.shared.read().tree.children(dir).to_vec();
                for child in children {
                    self.tasks.add(Task {
                        dir: child,
                        recursive: true,
                        unless_changed: true,
                    });
                }
                Ok(())
            }
            Outcome::Another => self.gone_elsewhere(dir, &flight),
            Outcome::Failed(error) => match error {
                rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => {
                    self.gone_elsewhere(dir, &flight)
                }
                error => {
                    self.unreadable(dir, error);
                    Ok(())
                }
            },
        }
    }

    /// What is at the directory's path is another thing, or nothing: its parent knows.
    fn gone_elsewhere(&mut self, dir: DirId, flight: &Flight) -> Result<(), IndexError> {
        let Some(spot) = self.spot_of(dir) else {
            self.root_changed(dir);
            return Ok(());
        };
        let mut looks = Looks::default();
        looks.name(spot.0, spot.1, Told::Touched);
        self.look(looks)?;
        // It, or one above it, was moved after it was asked for: then it is where the tree has it.
        if self.open(dir).is_ok() {
            self.tasks.add(flight.task);
        }
        Ok(())
    }

    fn covered(&mut self, dir: DirId, covered: Covered) {
        let Covered {
            coverage,
            refused,
            displaced,
        } = covered;
        let mut view = self.shared.write();
        if let Some(displaced) = displaced.and_then(|dir| view.tree.get_mut(dir)) {
            displaced.coverage = Coverage::Polled; // if it is not gone, it is the same by a bind mount
        }
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
        if self.is_unmounted(dir, meta) {
            return Ok(()); // its entries are on the disk that was mounted here
        }
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
        let Differing { mut seen, missing } = self.differing(dir, &mut listing)?;
        while !seen.is_empty() {
            let rest = seen.split_off(seen.len().saturating_sub(CHUNK));
            if flight.touched {
                // Something was looked at in here since it was listed: the listing is only a hint.
                let mut looks = Looks::default();
                for seen in rest {
                    looks.name(dir, seen.spot.1, Told::Touched);
                }
                self.look(looks)?;
            } else {
                self.reconcile(rest)?;
            }
        }
        if let Some(error) = listing.broken {
            self.unreadable(dir, error);
        } else {
            let unreadable = |name: &[u8]| listing.unreadable.iter().any(|(one, _)| **one == *name);
            for name in missing {
                if !unreadable(&name) {
                    self.doubt((dir, name));
                }
            }
        }
        // A new directory has a task since it was added; one that is known has it from here.
        let mut looks = Looks::default();
        for name in listing.directories {
            let child = self.shared.read().tree.child(dir, &name);
            match child {
                Some(child) if flight.task.recursive => self.tasks.add(Task {
                    dir: child,
                    ..flight.task
                }),
                Some(_) => {}
                None => looks.name(dir, name, Told::Touched),
            }
        }
        self.look(looks)
    }

    /// Notes that what was at a spot has left it; it is looked at again when nothing is being read.
    pub(super) fn doubt(&mut self, spot: Spot) {
        self.limbo.push(spot);
        self.limbo_until = Instant::now() + LIMBO;
    }

    /// Tells whether the file system that was mounted at a directory is there no longer.
    fn is_unmounted(&self, dir: DirId, meta: &DirMeta) -> bool {
        let view = self.shared.read();
        let Some(known) = view.tree.get(dir).filter(|known| known.mount) else {
            return false;
        };
        let above = known.parent.and_then(|parent| view.tree.get(parent));
        above.is_some_and(|above| above.device == Some(meta.device))
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

    /// Compares row by row, in the order of the names; what is equal is dropped from `listing`.
    fn differing(&self, dir: DirId, listing: &mut Listing) -> Result<Differing, IndexError> {
        let mut differing = Differing::default();
        let mut files = std::mem::take(&mut listing.files).into_iter().peekable();
        let arrived = |differing: &mut Differing, name: Box<[u8]>, meta, row| {
            let is_directory = self.shared.read().tree.child(dir, &name).is_some();
            if is_directory {
                // A file where a directory was: both are looked at together.
                differing.missing.push(name);
                return;
            }
            differing.seen.push(Seen {
                spot: (dir, name),
                row,
                disk: Some(Found::File(meta)),
                renamed_from: None,
                surely: false,
            });
        };
        self.index.each_in(dir, |name, id, known| {
            while let Some((new, meta)) = files.next_if(|(file, _)| **file < *name) {
                arrived(&mut differing, new, meta, None);
            }
            let Some((name, meta)) = files.next_if(|(file, _)| **file == *name) else {
                differing.missing.push(name.into());
                return;
            };
            let same = (known.size, known.modified, known.identity)
                == (meta.size, meta.modified, meta.identity);
            if !same {
                let young = self.young_ids.contains(&id);
                let row = Row::File {
                    id,
                    meta: known,
                    young,
                };
                arrived(&mut differing, name, meta, Some(row));
            }
        })?;
        for (name, meta) in files {
            arrived(&mut differing, name, meta, None);
        }
        let view = self.shared.read();
        for child in view.tree.children(dir) {
            let Some(child) = view.tree.get(*child) else {
                continue;
            };
            if listing.directories.binary_search(&child.name).is_err() {
                differing.missing.push(child.name.clone());
            }
        }
        Ok(differing)
    }

    /// Looks once more at what has left its place, now that nothing is left to read.
    fn resolve_limbo(&mut self) -> Result<(), IndexError> {
        let mut looks = Looks::default();
        let rest = self.limbo.split_off(self.limbo.len().saturating_sub(CHUNK));
        for (dir, name) in rest {
            looks.name(dir, name, Told::Deleted);
        }
        self.look(looks) // may find more to read
    }

    /// Nothing is left to read: looks once more at what was missing, and tells the end of the crawl.
    pub(super) fn crawl_ends(&mut self) -> Result<(), IndexError> {
        if !self.limbo.is_empty() {
            let told = self.waiters.iter().any(|waiter| waiter.passed);
            return if told || Instant::now() >= self.limbo_until {
                self.resolve_limbo()
            } else {
                Ok(())
            };
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
            self.publish(Instant::now())?;
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
        Ok(())
    }
}

/// What a listing and the index do not agree on.
#[derive(Default)]
struct Differing {
    seen: Vec<Seen>,
    missing: Vec<Box<[u8]>>,
}
