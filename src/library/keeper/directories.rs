//! Writing what becomes of directories: added, replaced, moved, removed.

use super::Keeper;
use super::tasks::Task;
use crate::glob::Selection;
use crate::library::delta::{Difference, MOST_ENTRIES};
use crate::library::index::IndexError;
use crate::library::reconcile::Spot;
use crate::library::tree::{DirId, Identity};

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
        if before == after && number > MOST_ENTRIES as u64 {
            self.delta.note_many(number, after);
        } else if number > 0 {
            for below in below {
                self.entries_moved(below, before, after)?;
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

    /// Tells of the entries in `dir`, whose paths changed with a directory above.
    fn entries_moved(&mut self, dir: DirId, before: usize, after: usize) -> Result<(), IndexError> {
        let mut ids = Vec::new();
        self.index.each_in(dir, |_, id, _| ids.push(id))?;
        for id in ids {
            if before != after
                && let Some(row) = self.index.entry(id)?
            {
                let mut view = self.shared.write();
                let duplicate = row.duplicate_of.is_some();
                if let Some(folder) = view.folders.get_mut(before) {
                    folder.counts.subtract(row.status, duplicate);
                    folder.bytes = folder.bytes.saturating_sub(row.meta.size);
                }
                if let Some(folder) = view.folders.get_mut(after) {
                    folder.counts.add(row.status, duplicate);
                    folder.bytes += row.meta.size;
                }
            }
            self.delta.note(id, Difference::Changed, after);
        }
        Ok(())
    }

    pub(super) fn remove_directory(&mut self, dir: DirId) -> Result<(), IndexError> {
        let mut view = self.shared.write();
        view.unpublished = true;
        let below = view.tree.subtree(dir);
        drop(view);
        for dir in below.into_iter().rev() {
            let mut ids = Vec::new();
            self.index.each_in(dir, |_, id, _| ids.push(id))?;
            for id in ids {
                self.remove_entry(id)?;
            }
            self.watch.remove(dir.into());
            self.index.remove_dir(dir)?;
            self.shared.write().tree.remove(dir);
            for folder in &mut self.folders {
                folder.forget_directory(dir);
            }
        }
        self.status_changed = true;
        Ok(())
    }
}
