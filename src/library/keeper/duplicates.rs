//! Who is a duplicate of whom, after entries came, went or changed.

use super::Keeper;
use crate::library::delta::{Difference, MOST_ENTRIES};
use crate::library::index::{EntryRow, IndexError};
use crate::library::reconcile::EntryId;
use crate::library::tree::DirId;

impl Keeper {
    /// Makes the lowest entry of each content the one that the others are duplicates of. Once a
    /// commit, not once an entry: a directory of 50,000 empty files that is removed would be 50,000
    /// times such a group.
    pub(super) fn regroup(&mut self) -> Result<(), IndexError> {
        for fingerprint in std::mem::take(&mut self.regroup) {
            let Some(lowest) = self.index.lowest_of(&fingerprint)? else {
                continue;
            };
            self.set_duplicate_of(&lowest, None)?;
            for row in self.index.originals_of(&fingerprint, lowest.id)? {
                self.set_duplicate_of(&row, Some(lowest.id))?;
            }
            // The rest were duplicates before and are now, of another entry: no count changes.
            let (ids, number) = self.index.lead_to(&fingerprint, lowest.id, MOST_ENTRIES)?;
            let folder = self.folder_of(lowest.dir);
            if number > ids.len() as u64 {
                self.delta.note_many(number, folder);
                self.delta.folders.extend(0..self.folders.len());
            } else {
                for row in ids
                    .iter()
                    .filter_map(|id| self.index.entry(*id).transpose())
                {
                    let row = row?;
                    let folder = self.folder_of(row.dir);
                    self.delta.note(row.id, Difference::Changed, folder);
                }
            }
        }
        Ok(())
    }

    fn set_duplicate_of(
        &mut self,
        row: &EntryRow,
        duplicate_of: Option<EntryId>,
    ) -> Result<(), IndexError> {
        if row.duplicate_of == duplicate_of {
            return Ok(());
        }
        let now = EntryRow {
            duplicate_of,
            ..row.clone()
        };
        self.index.update_entry(&now)?;
        let was = row.duplicate_of.is_some();
        self.count_out(row.dir, row.status, was, row.meta.size);
        let folder = self.count_in(row.dir, row.status, duplicate_of.is_some(), row.meta.size);
        self.delta.note(row.id, Difference::Changed, folder);
        Ok(())
    }

    fn folder_of(&self, dir: DirId) -> usize {
        let view = self.shared.read();
        view.tree.get(dir).map_or(0, |known| known.folder)
    }
}
