//! Writing what becomes of directories: added, replaced, moved, removed.

use std::time::{Duration, Instant};

use super::Keeper;
use super::tasks::Task;
use crate::glob::Selection;
use crate::library::delta::{Difference, MOST_ENTRIES};
use crate::library::index::IndexError;
use crate::library::reconcile::Spot;
use crate::library::tree::{Dir, DirId, Identity};

/// Directories and entries that are removed at once; a guess at what takes 20 ms on a small machine.
const AT_ONCE: u64 = 500;
/// A piece of what is more; live changes, and whoever asks, come between two pieces.
const PIECE: Duration = Duration::from_millis(50);

impl Keeper {
    pub(super) fn add_directory(
        &mut self,
        spot: &Spot,
        identity: Identity,
    ) -> Result<(), IndexError> {
        let folder = self
            .shared
            .read()
            .tree
            .get(spot.0)
            .map(|parent| parent.folder);
        let Some(folder) = folder else {
            return Ok(()); // the directory above went in the same batch
        };
        let there = self.shared.read().tree.child(spot.0, &spot.1);
        if let Some(there) = there {
            return self.replace_directory(there, identity);
        }
        if let Some(row) = self.index.entry_at(spot.0, &spot.1)? {
            self.remove_entry(row.id)?;
        }
        let id = self.index.add_dir(Some(spot.0), &spot.1, identity)?;
        let mut view = self.shared.write();
        view.tree
            .insert(id, Some(spot.0), &spot.1, folder, identity);
        drop(view);
        self.status_changed = true;
        self.read_again(id, true);
        Ok(())
    }

    pub(super) fn replace_directory(
        &mut self,
        dir: DirId,
        identity: Identity,
    ) -> Result<(), IndexError> {
        self.index.set_dir_identity(dir, identity)?;
        let mut view = self.shared.write();
        if let Some(known) = view.tree.get_mut(dir) {
            known.identity = identity;
            known.device = None;
            known.listed_at = None;
        }
        drop(view);
        self.watch.remove(dir.into());
        self.read_again(dir, true);
        Ok(())
    }

    /// Moves a detached directory, which was at `left`, to `spot`.
    pub(super) fn move_directory(
        &mut self,
        dir: DirId,
        spot: &Spot,
        left: Option<Spot>,
    ) -> Result<(), IndexError> {
        let mut view = self.shared.write();
        if view.tree.get(dir).is_none() {
            return Ok(());
        }
        let possible = |to: &Spot| {
            view.tree.get(to.0).is_some()
                && !view.tree.is_below(to.0, dir)
                && view.tree.child(to.0, &to.1).is_none()
        };
        if !possible(spot) {
            // The directory above has gone, or is believed to be below this one, since the notice of
            // its own move is on its way.
            let back = left.filter(|left| possible(left));
            if let Some((parent, name)) = &back {
                view.tree.place(dir, *parent, name);
            }
            drop(view);
            match back {
                Some(left) => self.doubt(left),
                None => self.remove_directory(dir)?,
            }
            self.read_again(spot.0, false);
            return Ok(());
        }
        drop(view);
        self.index.place_dir(dir, spot.0, &spot.1)?;
        let mut view = self.shared.write();
        view.unpublished = true;
        let before = view.tree.get(dir).map(|known| known.folder);
        view.tree.place(dir, spot.0, &spot.1);
        let after = view.tree.get(dir).map(|known| known.folder);
        let number = view.tree.files_below(dir);
        let below = view.tree.subtree(dir);
        drop(view);
        let (Some(before), Some(after)) = (before, after) else {
            return Ok(());
        };
        if before != after {
            for dir in &below {
                self.count_over(*dir, before, after)?;
            }
        }
        if number > MOST_ENTRIES as u64 {
            self.delta.note_many(number, after);
        } else {
            for dir in below {
                self.index.each_in(dir, |_, id, _| {
                    self.delta.note(id, Difference::Changed, after)
                })?;
            }
        }
        self.delta.folders.insert(before);
        // Its watches moved with it, so what is below need not be read, unless other globs hold at the
        // new place or it was not watched.
        let unless_changed = before == after && self.has_no_globs(after);
        self.tasks.touch(dir);
        self.tasks.add(Task {
            dir,
            recursive: true,
            unless_changed,
        });
        Ok(())
    }

    fn has_no_globs(&self, folder: usize) -> bool {
        let folder = self.folders.get(folder);
        folder.is_some_and(|folder| *folder.selection == Selection::default())
    }

    /// Counts the entries in `dir`, which has moved to another folder, for that one.
    fn count_over(&self, dir: DirId, before: usize, after: usize) -> Result<(), IndexError> {
        self.index
            .each_count(dir, |status, is_duplicate, number, bytes| {
                let mut view = self.shared.write();
                if let Some(folder) = view.folders.get_mut(before) {
                    folder.counts.subtract_many(status, is_duplicate, number);
                    folder.bytes = folder.bytes.saturating_sub(bytes);
                }
                if let Some(folder) = view.folders.get_mut(after) {
                    folder.counts.add_many(status, is_duplicate, number);
                    folder.bytes += bytes;
                }
            })
    }

    /// Something else has the name of a directory. While others are read, for example after the service
    /// was off, it may turn up in one of them: it leaves its name, and goes when nothing is read.
    pub(super) fn displace_directory(&mut self, dir: DirId) -> Result<(), IndexError> {
        if self.tasks.is_empty() || !self.leave_name(dir)? {
            return self.remove_directory(dir);
        }
        self.displaced.push(dir);
        Ok(())
    }

    /// Removes the displaced directories that have not turned up.
    pub(super) fn remove_displaced(&mut self) -> Result<(), IndexError> {
        for dir in std::mem::take(&mut self.displaced) {
            let known = self.shared.read().tree.get(dir).map(Dir::is_leaving);
            if known == Some(true) {
                self.remove_directory(dir)?;
            }
        }
        Ok(())
    }

    /// Puts a directory, and what is below it, where nothing on disk is, so that something else can have
    /// its name; tells whether there is such a place.
    fn leave_name(&mut self, dir: DirId) -> Result<bool, IndexError> {
        let view = self.shared.read();
        let known = view.tree.get(dir);
        let folder = known.and_then(|known| self.folders.get(known.folder));
        let (Some(known), Some(folder)) = (known, folder) else {
            return Ok(false);
        };
        let (name, root) = (known.leaving_name(dir), folder.root);
        let below = view.tree.subtree(dir);
        drop(view);
        self.index.place_dir(dir, root, &name)?;
        let mut view = self.shared.write();
        view.unpublished = true;
        view.tree.detach(dir);
        view.tree.place(dir, root, &name);
        for below in below {
            if let Some(known) = view.tree.get_mut(below) {
                known.listed_at = None; // should it turn up elsewhere after all
            }
        }
        Ok(true)
    }

    /// Removes a directory that is gone, with all that is below it: at once where that is little, else
    /// it leaves its name, and goes piece by piece.
    pub(super) fn remove_directory(&mut self, dir: DirId) -> Result<(), IndexError> {
        let view = self.shared.read();
        let Some(known) = view.tree.get(dir) else {
            return Ok(());
        };
        let (is_leaving, below) = (known.is_leaving(), view.tree.subtree(dir));
        let size = view.tree.files_below(dir) + below.len() as u64;
        drop(view);
        self.status_changed = true;
        // One that is leaving has been begun, maybe by a service that was killed.
        if is_leaving || size > AT_ONCE && self.leave_name(dir)? {
            if !self.leaving.contains(&dir) {
                self.leaving.push(dir);
            }
            return Ok(());
        }
        self.remove_all(below, None)?;
        Ok(())
    }

    /// Removes a piece of what is leaving.
    pub(super) fn remove_piece(&mut self) -> Result<(), IndexError> {
        let Some(dir) = self.leaving.last().copied() else {
            return Ok(());
        };
        let view = self.shared.read();
        let is_leaving = view.tree.get(dir).is_some_and(Dir::is_leaving);
        let below = view.tree.subtree(dir);
        drop(view);
        // Otherwise it has turned up elsewhere meanwhile, and stays.
        if !is_leaving || self.remove_all(below, Some(Instant::now() + PIECE))? {
            self.leaving.retain(|left| *left != dir);
        }
        Ok(())
    }

    /// Removes directories, parents first in the list, with their entries, as far as it gets until then;
    /// tells whether all are gone.
    fn remove_all(&mut self, dirs: Vec<DirId>, until: Option<Instant>) -> Result<bool, IndexError> {
        for dir in dirs.into_iter().rev() {
            loop {
                let ids = self.index.some_in(dir)?;
                if ids.is_empty() {
                    break;
                }
                for id in ids {
                    self.remove_entry(id)?;
                }
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Ok(false);
                }
            }
            self.watch.remove(dir.into());
            self.index.remove_dir(dir)?;
            let mut view = self.shared.write();
            view.unpublished = true;
            view.tree.remove(dir);
            drop(view);
            for folder in &mut self.folders {
                folder.forget_directory(dir);
            }
        }
        self.status_changed = true;
        Ok(true)
    }
}
