//! A directory's listing against the index, and **limbo**: what has left its place and may turn up
//! elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Keeper;
use super::looks::Looks;
use super::tasks::{Flight, Task};
use crate::library::disk::{DirMeta, Found, Listing};
use crate::library::index::IndexError;
use crate::library::reconcile::{Row, Seen, Spot};
use crate::library::tree::{DirId, Identity};
use crate::watch::Told;

/// Differences of one listing that are handled at once; bounds the memory for a directory of a
/// million files.
const CHUNK: usize = 4096;
/// What has left its place is looked for this long, before it is taken for gone: a notice of where it
/// went is read within milliseconds.
const LIMBO: Duration = Duration::from_millis(100);

impl Keeper {
    /// Compares a listing with the index.
    pub(super) fn listed(
        &mut self,
        dir: DirId,
        flight: &Flight,
        meta: &DirMeta,
        mut listing: Listing,
    ) -> Result<(), IndexError> {
        if self.is_unmounted(dir, meta) {
            self.mount_is_away(dir); // its entries are on the disk that was mounted here
            return Ok(());
        }
        if listing.broken == Some(Errno::NOENT) {
            return self.gone_elsewhere(dir, flight); // it was removed while it was listed
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
                self.reconcile(meta.device, rest)?;
            }
        }
        if let Some(error) = listing.broken {
            self.unreadable(dir, error);
        } else {
            if let Some((_, error)) = listing.unreadable.first() {
                self.unreadable(dir, *error); // so that it is read again
            }
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
            let view = self.shared.read();
            let child = view.tree.child(dir, &name);
            let known = child.and_then(|child| view.tree.get(child));
            let is_unread = known.is_some_and(|known| known.coverage.is_unread());
            drop(view);
            match child {
                Some(child) if flight.task.recursive || is_unread => self.tasks.add(Task {
                    dir: child,
                    recursive: true,
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
        let Some(folder) = self.folders.get_mut(known.folder) else {
            return Ok(None);
        };
        self.status_changed |= folder.unmounted.remove(&dir).is_some();
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
    pub(super) fn resolve_limbo(&mut self) -> Result<(), IndexError> {
        let mut looks = Looks::default();
        let rest = self.limbo.split_off(self.limbo.len().saturating_sub(CHUNK));
        for (dir, name) in rest {
            looks.name(dir, name, Told::Deleted);
        }
        self.look(looks) // may find more to read
    }
}

/// What a listing and the index do not agree on.
#[derive(Default)]
struct Differing {
    seen: Vec<Seen>,
    missing: Vec<Box<[u8]>>,
}
