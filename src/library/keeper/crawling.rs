//! Reading whole directories: what is asked of the crawler, and what its answers mean.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::folders::Folder;
use super::looks::Looks;
use super::tasks::{Flight, Task};
use super::{Crawl, Keeper};
use crate::library::crawl::{Covered, Expected, Outcome, Read, Request};
use crate::library::index::IndexError;
use crate::library::tree::{Coverage, DirId};
use crate::library::view::CrawlStats;
use crate::watch::Told;

/// Answers of the crawler that are written before live changes are looked at again.
const ANSWERS: usize = 64;

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
        for folder in &mut self.folders {
            folder.read_at = Some(Instant::now());
        }
        for root in roots {
            self.tasks.add(Task {
                dir: root,
                recursive: true,
                unless_changed: changed_first,
            });
        }
    }

    /// Reads each folder whole again that something has changed in and that was last read long ago.
    pub(super) fn read_whole_again(&mut self, changes: &Looks) {
        let now = Instant::now();
        let is_due = |folder: &Folder| {
            let read_at = folder.read_at.filter(|_| folder.root_info.is_some());
            read_at.is_some_and(|at| now.duration_since(at) >= self.whole_again)
        };
        let due: Vec<usize> = (0..self.folders.len())
            .filter(|index| is_due(&self.folders[*index]))
            .collect();
        if due.is_empty() {
            return;
        }
        let view = self.shared.read();
        let changed: HashSet<usize> = changes
            .directories()
            .filter_map(|dir| Some(view.tree.get(dir)?.folder))
            .collect();
        drop(view);
        for index in due.into_iter().filter(|index| changed.contains(index)) {
            let folder = &mut self.folders[index];
            folder.read_at = Some(now);
            let root = folder.root;
            self.begin_crawl(self.folders.len() == 1);
            self.read_again(root, true);
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
            // One that is being read for the first time may have changed since, and is not watched then.
            .filter(|(_, dir)| dir.coverage != Coverage::Watched)
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
    pub(super) fn crawled(&mut self) -> Result<(), IndexError> {
        for _ in 0..ANSWERS {
            let Some(read) = self
                .answer
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
    pub(super) fn gone_elsewhere(&mut self, dir: DirId, flight: &Flight) -> Result<(), IndexError> {
        let Some(spot) = self.spot_of(dir) else {
            self.root_changed(dir);
            return Ok(());
        };
        let mut looks = Looks::default();
        looks.name(spot.0, spot.1, Told::Touched);
        self.look(looks)?;
        // It, or one above it, was moved after it was asked for: then it is where the tree has it.
        if self.sight(dir, []).is_ok() {
            self.tasks.add(flight.task);
        } else if let Some(known) = self.shared.write().tree.get_mut(dir) {
            // It may come back to the place where the tree has it, as if nothing had happened.
            known.coverage = Coverage::Unseen;
            known.listed_at = None;
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
