//! What processing reports.

use super::Keeper;
use super::looks::Looks;
use crate::events::types::Status;
use crate::library::delta::Difference;
use crate::library::index::{EntryRow, IndexError};
use crate::library::reconcile::EntryId;
use crate::library::work::{Finished, Report, Stamp};
use crate::watch::Told;

impl Keeper {
    pub(super) fn report(&mut self, report: Report) -> Result<(), IndexError> {
        match report {
            Report::Started(id) => self.started(id),
            Report::Released(id) => {
                // Without a note it was changed meanwhile, and is unprocessed for that.
                let before = self.under_way.remove(&id);
                // Who looked for work meanwhile has not seen it.
                self.work_waits |= before == Some(Status::Unprocessed);
                before.map_or(Ok(()), |before| self.set_status(id, before))
            }
            Report::Waiting(id, reason) => self.set_waiting(id, reason),
            Report::Finished(finished) => self.finished(finished),
        }
    }

    fn started(&mut self, id: EntryId) -> Result<(), IndexError> {
        if let Some(row) = self.index.entry(id)? {
            self.under_way.entry(id).or_insert(row.status);
            self.set_status(id, Status::Processing)?;
        }
        Ok(())
    }

    fn set_status(&mut self, id: EntryId, status: Status) -> Result<(), IndexError> {
        let Some(row) = self.index.entry(id)? else {
            return Ok(());
        };
        let now = EntryRow {
            status,
            ..row.clone()
        };
        self.update_entry(&row, now)
    }

    fn set_waiting(&mut self, id: EntryId, reason: Option<String>) -> Result<(), IndexError> {
        let Some(row) = self.index.entry(id)? else {
            return Ok(());
        };
        let mut view = self.shared.write();
        let before = match reason.clone() {
            Some(reason) => view.waiting.insert(id, reason),
            None => view.waiting.remove(&id),
        };
        let folder = view.tree.get(row.dir).map_or(0, |dir| dir.folder);
        drop(view);
        if before != reason && row.status == Status::Unprocessed {
            self.delta.note(id, Difference::Changed, folder);
        }
        Ok(())
    }

    fn finished(&mut self, report: Finished) -> Result<(), IndexError> {
        self.under_way.remove(&report.id);
        let Some(mut row) = self.index.entry(report.id)? else {
            return Ok(()); // it is gone; the result is for nobody
        };
        if stamp(&row) != report.stamp {
            // The work itself may have changed the file, and the notice is still on its way.
            let mut looks = Looks::default();
            looks.name(row.dir, row.name.clone(), Told::Finished);
            self.look(looks)?;
            match self.index.entry(report.id)? {
                Some(now) => row = now,
                None => return Ok(()),
            }
        }
        let mut view = self.shared.write();
        view.waiting.remove(&report.id);
        let folder = view.tree.get(row.dir).map_or(0, |dir| dir.folder);
        if stamp(&row) != report.stamp {
            drop(view);
            log::debug!(
                "entry {} changed while it was processed: once more",
                report.id.0
            );
            if row.status == Status::Processing {
                self.set_status(report.id, Status::Unprocessed)?;
            }
            self.work_waits = true;
            return Ok(());
        }
        view.finished.remove(&report.id);
        drop(view);
        let failed = report.error.is_some();
        let now = EntryRow {
            status: if failed {
                Status::Failed
            } else {
                Status::Processed
            },
            error: report.error,
            fingerprint: report.fingerprint.or(row.fingerprint),
            done: if failed {
                row.done
            } else {
                report.fingerprint.or(row.done)
            },
            processed_at: Some(report.at),
            ..row.clone()
        };
        self.update_entry(&row, now)?;
        if let Some(event) = report.event {
            self.processed.push((event, folder));
        }
        Ok(())
    }
}

fn stamp(row: &EntryRow) -> Stamp {
    Stamp {
        size: row.meta.size,
        modified: row.meta.modified,
        ino: row.meta.identity.ino,
    }
}
