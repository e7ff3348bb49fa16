//! Editors that **save** by way of a backup: they rename the file, write a new one under its name, and
//! remove the backup, or leave it. The name goes on as the entry that it was, with its history, although
//! an entry goes with its file otherwise.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::Keeper;
use crate::events::types::Status;
use crate::library::disk::FileMeta;
use crate::library::index::{EntryRow, IndexError};
use crate::library::reconcile::{Action, EntryId, Spot};

/// A backup that is removed later than this is a file that was renamed. A guess at how long an editor
/// writes a large file to a slow disk.
const SAVED_WITHIN: Duration = Duration::from_secs(10);
/// Renames remembered at most.
const MOST: usize = 4096;
/// What editors add to the name of a backup that they leave (vim, emacs, kate).
const BACKUP: &[u8] = b"~";

/// Entries that were renamed within their directory a moment ago.
#[derive(Debug, Default)]
pub(super) struct Renamed {
    by_id: HashMap<EntryId, Left>,
    /// Those whose new name is that of a backup, by the spot that they left.
    backups: HashMap<Spot, EntryId>,
    order: VecDeque<(Instant, EntryId)>,
}

#[derive(Debug)]
struct Left {
    spot: Spot,
    /// What is at the spot is newer than the rename if its id is not below this.
    next: EntryId,
    until: Instant,
}

impl Renamed {
    /// Notes that an entry left `spot`, when `next` was the next id to be given.
    pub(super) fn note(&mut self, id: EntryId, spot: Spot, name: &[u8], next: EntryId) {
        if self.order.len() >= MOST {
            return;
        }
        let until = Instant::now() + SAVED_WITHIN;
        if name.strip_suffix(BACKUP) == Some(&*spot.1) {
            self.backups.insert(spot.clone(), id);
        }
        self.by_id.insert(id, Left { spot, next, until });
        self.order.push_back((until, id));
    }

    /// Forgets what was renamed too long ago.
    pub(super) fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            let Some((until, id)) = self.order.pop_front() else {
                return;
            };
            if self.by_id.get(&id).is_some_and(|left| left.until == until) {
                self.take(id);
            }
        }
    }

    fn take(&mut self, id: EntryId) -> Option<Left> {
        let left = self.by_id.remove(&id)?;
        if self.backups.get(&left.spot) == Some(&id) {
            self.backups.remove(&left.spot);
        }
        Some(left)
    }
}

/// What follows from the saves that were found, once the actions have been applied.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// Entries that keep their names.
    kept: Vec<EntryId>,
    /// Spots whose content was known under another entry.
    inherit: Vec<(Spot, EntryRow)>,
}

/// A new file under the old name of an entry.
enum New {
    /// It is not in the index yet.
    Seen(FileMeta),
    Known(EntryRow),
}

impl Keeper {
    /// Makes saves of what looks like renames, additions and removals.
    pub(super) fn find_saves(
        &mut self,
        actions: Vec<Action>,
    ) -> Result<(Vec<Action>, Saves), IndexError> {
        let mut saves = Saves::default();
        let is_backup = |action: &Action| match action {
            Action::Move(_, (_, name), _) => name.ends_with(BACKUP),
            _ => false,
        };
        if self.renamed.by_id.is_empty() && !actions.iter().any(is_backup) {
            return Ok((actions, saves));
        }
        let mut added: HashMap<Spot, FileMeta> = HashMap::new();
        let mut changed: HashMap<EntryId, FileMeta> = HashMap::new();
        let mut busy: HashSet<EntryId> = HashSet::new();
        let mut rest: Vec<Action> = Vec::with_capacity(actions.len());
        for action in actions {
            match action {
                Action::Add(spot, meta) => drop(added.insert(spot, meta)),
                Action::Change(id, meta) => drop(changed.insert(id, meta)),
                Action::Remove(id) | Action::Move(id, ..) => {
                    busy.insert(id);
                    rest.push(action);
                }
                other => rest.push(other),
            }
        }
        let mut found: Vec<Action> = Vec::with_capacity(rest.len());
        for action in rest {
            match action {
                Action::Remove(id) => match self.new_in_place_of(id, &mut added, &busy)? {
                    Some((spot, New::Seen(meta))) => {
                        found.push(Action::Move(id, spot, meta));
                        saves.kept.push(id);
                    }
                    Some((spot, New::Known(new))) => {
                        let meta = changed.remove(&new.id).unwrap_or(new.meta);
                        found.push(Action::Remove(new.id));
                        found.push(Action::Move(id, spot.clone(), meta));
                        saves.kept.push(id);
                        saves.inherit.push((spot, new));
                    }
                    None => found.push(Action::Remove(id)),
                },
                Action::Move(id, at, meta) if at.1.ends_with(BACKUP) => {
                    let row = self.index.entry(id)?;
                    let left = row.filter(|row| {
                        row.dir == at.0 && at.1.strip_suffix(BACKUP) == Some(&*row.name)
                    });
                    let new = left.and_then(|row| {
                        let new = added.remove(&(row.dir, row.name.clone()))?;
                        Some((row, new))
                    });
                    if let Some((row, new)) = new {
                        found.push(Action::Change(id, new));
                        found.push(Action::Add(at.clone(), meta));
                        saves.inherit.push((at, row));
                    } else {
                        found.push(Action::Move(id, at, meta));
                    }
                }
                other => found.push(other),
            }
        }
        for (spot, meta) in added {
            let backup = self.renamed.backups.get(&spot).copied();
            let free = |id: &EntryId| !busy.contains(id) && !changed.contains_key(id);
            let row = match backup.filter(free) {
                Some(id) => self.index.entry(id)?,
                None => None,
            };
            if let Some(row) = row {
                let at = (row.dir, row.name.clone());
                found.push(Action::Move(row.id, spot, meta));
                found.push(Action::Add(at.clone(), row.meta));
                saves.kept.push(row.id);
                saves.inherit.push((at, row));
            } else {
                found.push(Action::Add(spot, meta));
            }
        }
        let changed = changed.into_iter();
        found.extend(changed.map(|(id, meta)| Action::Change(id, meta)));
        Ok((found, saves))
    }

    /// An entry goes: if it was renamed a moment ago and there is a new file under its old name, that
    /// was a save, and the new file is the entry.
    fn new_in_place_of(
        &mut self,
        id: EntryId,
        added: &mut HashMap<Spot, FileMeta>,
        busy: &HashSet<EntryId>,
    ) -> Result<Option<(Spot, New)>, IndexError> {
        let Some(left) = self.renamed.take(id) else {
            return Ok(None);
        };
        if let Some(meta) = added.remove(&left.spot) {
            return Ok(Some((left.spot, New::Seen(meta))));
        }
        let there = self.index.entry_at(left.spot.0, &left.spot.1)?;
        let new = there.filter(|new| new.id >= left.next && !busy.contains(&new.id));
        Ok(new.map(|new| (left.spot, New::Known(new))))
    }

    /// Lets contents be what they were under another entry, unless they have changed since.
    pub(super) fn end_saves(&mut self, saves: Saves) -> Result<(), IndexError> {
        for id in saves.kept {
            self.renamed.take(id); // it is back
        }
        for ((dir, name), before) in saves.inherit {
            let Some(row) = self.index.entry_at(dir, &name)? else {
                continue;
            };
            let facts = |row: &EntryRow| (row.meta.size, row.meta.modified, row.meta.identity);
            let done = matches!(before.status, Status::Processed | Status::Failed);
            // What a worker has is begun again: it reports to an entry that is no more.
            if done && facts(&row) == facts(&before) {
                let now = EntryRow {
                    status: before.status,
                    error: before.error,
                    fingerprint: before.fingerprint,
                    done: before.done,
                    processed_at: before.processed_at,
                    ..row.clone()
                };
                self.update_entry(&row, now)?;
            }
        }
        Ok(())
    }
}
