//! Writing differences to the index, the tree, the counts and the delta: always all four.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Keeper;
use crate::events::types::Status;
use crate::library::delta::Difference;
use crate::library::disk::FileMeta;
use crate::library::index::{EntryRow, IndexError};
use crate::library::reconcile::{Action, EntryId, Spot};
use crate::library::tree::{DirId, Identity};
use crate::watch::Told;

/// An entry that is younger and is renamed over another was the temporary file of an atomic save.
const YOUNG: Duration = Duration::from_secs(2);
/// Bounds the memory while a crawl finds entries faster than anybody saves files.
const MOST_YOUNG: usize = 16_384;

impl Keeper {
    /// Applies actions in an order in which no two things ever have one name.
    pub(super) fn apply(&mut self, actions: Vec<Action>) -> Result<(), IndexError> {
        let next = self.index.next_entry();
        let (actions, saves) = self.find_saves(actions)?;
        let (removals, rest): (Vec<_>, Vec<_>) = actions.into_iter().partition(|action| {
            matches!(
                action,
                Action::Remove(_) | Action::RemoveDirectory(_) | Action::DisplaceDirectory(_)
            )
        });
        // What moves leaves its place first: two that change places would meet otherwise, and what
        // moves out of a directory that is removed would be removed with it.
        let moves = rest
            .iter()
            .filter(|action| matches!(action, Action::Move(..)))
            .count();
        let park = moves > 0 && (rest.len() > 1 || !removals.is_empty());
        let mut left: HashMap<DirId, Spot> = HashMap::new();
        let mut parked: HashMap<EntryId, Spot> = HashMap::new();
        for action in &rest {
            match action {
                Action::Move(id, ..) if park => {
                    parked.extend(self.park_entry(*id)?.map(|left| (*id, left)));
                }
                Action::MoveDirectory(dir, _) => {
                    left.extend(self.spot_of(*dir).map(|spot| (*dir, spot)));
                    let mut view = self.shared.write();
                    view.unpublished = true;
                    view.tree.detach(*dir);
                }
                _ => {}
            }
        }
        for action in removals {
            match action {
                Action::Remove(id) => self.remove_entry(id)?,
                Action::RemoveDirectory(dir) => self.remove_directory(dir)?,
                Action::DisplaceDirectory(dir) => self.displace_directory(dir)?,
                _ => {}
            }
        }
        // Directories before what lies in them.
        let (directories, files): (Vec<_>, Vec<_>) = rest.into_iter().partition(|action| {
            !matches!(
                action,
                Action::Move(..) | Action::Change(..) | Action::Add(..)
            )
        });
        for action in directories.into_iter().chain(files) {
            match action {
                Action::MoveDirectory(dir, spot) => {
                    let left = left.remove(&dir);
                    self.move_directory(dir, &spot, left)?;
                }
                Action::ReplaceDirectory(dir, identity) => self.replace_directory(dir, identity)?,
                Action::AddDirectory(spot, identity) => self.add_directory(&spot, identity)?,
                Action::Move(id, spot, meta) => {
                    let left = self.move_entry(id, &spot, &meta, parked.remove(&id))?;
                    if let Some(left) = left.filter(|left| left.0 == spot.0) {
                        self.renamed.note(id, left, &spot.1, next);
                    }
                }
                Action::Change(id, meta) => self.change_entry(id, &meta)?,
                Action::Add(spot, meta) => self.add_entry(&spot, &meta)?,
                Action::Doubt(spot) => self.doubt(spot),
                Action::Remove(_) | Action::RemoveDirectory(_) | Action::DisplaceDirectory(_) => {}
            }
        }
        self.end_saves(saves)
    }

    fn add_entry(&mut self, spot: &Spot, meta: &FileMeta) -> Result<(), IndexError> {
        if self.shared.read().tree.get(spot.0).is_none() {
            return Ok(()); // its directory went in the same batch
        }
        self.clear_of_directory(spot)?;
        let id = match self.index.add_entry(spot.0, &spot.1, meta) {
            Err(error) if error.is_conflict() => {
                // The name has an entry after all: what was believed of it when it was looked at has
                // changed within the batch.
                let there = self.index.entry_at(spot.0, &spot.1)?;
                return there.map_or(Ok(()), |row| self.change_entry(row.id, meta));
            }
            added => added?,
        };
        let folder = self.count_in(spot.0, Status::Unprocessed, false, meta.size);
        self.delta.note(id, Difference::Added, folder);
        self.work_waits = true;
        if meta.links > 1 && !self.bulk {
            self.look_at_links(id, meta.identity, Some(meta))?;
        }
        if !self.bulk && self.young.len() < MOST_YOUNG {
            self.young.push_back((Instant::now() + YOUNG, id));
            self.young_ids.insert(id);
        }
        Ok(())
    }

    /// Removes a directory that is still believed to be where a file is.
    fn clear_of_directory(&mut self, spot: &Spot) -> Result<(), IndexError> {
        let there = self.shared.read().tree.child(spot.0, &spot.1);
        there.map_or(Ok(()), |dir| self.remove_directory(dir))
    }

    fn change_entry(&mut self, id: EntryId, meta: &FileMeta) -> Result<(), IndexError> {
        let Some(row) = self.index.entry(id)? else {
            return Ok(());
        };
        self.change_content(&row, meta)?;
        if row.meta.identity != meta.identity {
            self.look_at_links(id, row.meta.identity, None)?; // as for one that is removed
        }
        if meta.links > 1 {
            self.look_at_links(id, meta.identity, Some(meta))?;
        }
        Ok(())
    }

    /// Writes what is known of the file; its content is unprocessed again.
    fn change_content(&mut self, row: &EntryRow, meta: &FileMeta) -> Result<(), IndexError> {
        let now = EntryRow {
            meta: *meta,
            status: Status::Unprocessed,
            error: None,
            fingerprint: None,
            processed_at: None,
            ..row.clone()
        };
        self.under_way.remove(&row.id);
        self.update_entry(row, now)?;
        self.work_waits = true;
        Ok(())
    }

    /// A write through one name is told for that name alone (that of the entry `id`, or of none), so the
    /// others are looked at too, unless the index has them as the file is `now`.
    pub(super) fn look_at_links(
        &mut self,
        id: EntryId,
        identity: Identity,
        now: Option<&FileMeta>,
    ) -> Result<(), IndexError> {
        if !identity.is_known() {
            return Ok(());
        }
        if self.bulk {
            // There is no index to find them by yet.
            self.crawl_again |= now.is_some_and(|now| now.links > 1);
            return Ok(());
        }
        for row in self.index.entries_by_identity(identity)? {
            let same = now
                .is_some_and(|now| (now.size, now.modified) == (row.meta.size, row.meta.modified));
            if row.id != id && !same {
                self.later.name(row.dir, row.name, Told::Touched);
            }
        }
        Ok(())
    }

    /// Takes an entry out of its place; returns that.
    fn park_entry(&mut self, id: EntryId) -> Result<Option<Spot>, IndexError> {
        let Some(row) = self.index.entry(id)? else {
            return Ok(None);
        };
        let duplicate = row.duplicate_of.is_some();
        let left = self.count_out(row.dir, row.status, duplicate, row.meta.size);
        self.delta.folders.insert(left);
        self.index.park_entry(id)?;
        Ok(Some((row.dir, row.name)))
    }

    /// Moves an entry, which was `parked` from there; returns the spot that it left, if it is still
    /// there to move.
    fn move_entry(
        &mut self,
        id: EntryId,
        spot: &Spot,
        meta: &FileMeta,
        parked: Option<Spot>,
    ) -> Result<Option<Spot>, IndexError> {
        let Some(before) = self.index.entry(id)? else {
            return Ok(None);
        };
        if self.shared.read().tree.get(spot.0).is_none() {
            self.remove_entry(id)?; // its new directory went in the same batch
            return Ok(None);
        }
        let duplicate = before.duplicate_of.is_some();
        let left = match parked {
            Some(left) => left,
            None => {
                let left = self.count_out(before.dir, before.status, duplicate, before.meta.size);
                self.delta.folders.insert(left);
                (before.dir, before.name.clone())
            }
        };
        self.clear_of_directory(spot)?;
        match self.index.place_entry(&before, spot.0, &spot.1) {
            Err(error) if error.is_conflict() => {
                if let Some(row) = self.index.entry_at(spot.0, &spot.1)? {
                    self.remove_entry(row.id)?;
                }
                self.index.place_entry(&before, spot.0, &spot.1)?;
            }
            placed => placed?,
        }
        let folder = self.count_in(spot.0, before.status, duplicate, before.meta.size);
        self.delta.note(id, Difference::Changed, folder);
        if (before.meta.size, before.meta.modified, before.meta.identity)
            != (meta.size, meta.modified, meta.identity)
        {
            self.change_entry(id, meta)?;
        }
        Ok(Some(left))
    }

    pub(super) fn remove_entry(&mut self, id: EntryId) -> Result<(), IndexError> {
        let Some(row) = self.index.entry(id)? else {
            return Ok(());
        };
        self.under_way.remove(&id);
        self.index.remove_entry(id)?;
        self.look_at_links(id, row.meta.identity, None)?; // it may have been written through this name last
        let folder = self.count_out(
            row.dir,
            row.status,
            row.duplicate_of.is_some(),
            row.meta.size,
        );
        self.delta.note(id, Difference::Removed, folder);
        let mut view = self.shared.write();
        view.waiting.remove(&id);
        view.finished.remove(&id);
        drop(view);
        if row.duplicate_of.is_none() {
            self.regroup.extend(row.fingerprint);
        }
        Ok(())
    }

    /// Writes `now` in place of `before`, which has the same id and place; keeps the counts, and
    /// who is a duplicate of whom.
    pub(super) fn update_entry(
        &mut self,
        before: &EntryRow,
        mut now: EntryRow,
    ) -> Result<(), IndexError> {
        if before.fingerprint != now.fingerprint {
            now.duplicate_of = match &now.fingerprint {
                Some(fingerprint) => self.index.lowest_other(fingerprint, now.id)?,
                None => None,
            };
        }
        if *before == now {
            return Ok(());
        }
        let demotes = now.duplicate_of.filter(|other| *other > now.id);
        if demotes.is_some() {
            now.duplicate_of = None;
        }
        self.index.update_entry(&now)?;
        self.count_out(
            before.dir,
            before.status,
            before.duplicate_of.is_some(),
            before.meta.size,
        );
        let folder = self.count_in(
            now.dir,
            now.status,
            now.duplicate_of.is_some(),
            now.meta.size,
        );
        self.delta.note(now.id, Difference::Changed, folder);
        if before.fingerprint == now.fingerprint {
            return Ok(());
        }
        if demotes.is_some() {
            self.regroup.extend(now.fingerprint); // this entry is the lowest of its content now
        }
        if before.duplicate_of.is_none() {
            self.regroup.extend(before.fingerprint);
        }
        Ok(())
    }

    // Counts.

    pub(super) fn count_in(&self, dir: DirId, status: Status, duplicate: bool, size: u64) -> usize {
        let mut view = self.shared.write();
        let Some(known) = view.tree.get_mut(dir) else {
            return 0;
        };
        known.files += 1;
        let folder = known.folder;
        if let Some(view) = view.folders.get_mut(folder) {
            view.counts.add(status, duplicate);
            view.bytes += size;
        }
        folder
    }

    pub(super) fn count_out(
        &self,
        dir: DirId,
        status: Status,
        duplicate: bool,
        size: u64,
    ) -> usize {
        let mut view = self.shared.write();
        let Some(known) = view.tree.get_mut(dir) else {
            return 0;
        };
        known.files = known.files.saturating_sub(1);
        let folder = known.folder;
        if let Some(view) = view.folders.get_mut(folder) {
            view.counts.subtract(status, duplicate);
            view.bytes = view.bytes.saturating_sub(size);
        }
        folder
    }
}
