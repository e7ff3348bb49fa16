//! What processing asks: entries to work on, in the order of their ids.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::Library;
use super::index::{COLUMNS, EntryRow, IndexError, status_to};
use super::keeper::Command;
use super::query::find_directory;
use super::reconcile::EntryId;
use super::view::View;
use super::work::{Item, Report, Scope, Selection, Stamp};
use crate::events::types::Status;

impl Library {
    /// Returns the entries that `wanted` names, lowest id first.
    ///
    /// # Errors
    /// The index failed.
    pub fn items(&self, wanted: &Selection) -> Result<Vec<Item>, IndexError> {
        let mut items = Vec::new();
        let view = self.shared.read();
        self.each_selected(&view, wanted, |row| {
            items.extend(item(&view, row));
            items.len() < wanted.limit
        })?;
        Ok(items)
    }

    /// Returns the number of entries that `wanted` names, whatever its `limit`.
    ///
    /// # Errors
    /// The index failed.
    pub fn count(&self, wanted: &Selection) -> Result<u64, IndexError> {
        let view = self.shared.read();
        let whole = wanted.directory.is_none() && wanted.after.0 <= 0;
        if whole {
            let counts = match &wanted.folder {
                Some(name) => view
                    .folder(name)
                    .map(|folder| folder.counts)
                    .unwrap_or_default(),
                None => view.counts(),
            };
            return Ok(match wanted.scope {
                Scope::All => counts.all,
                Scope::Status(Status::Unprocessed) => counts.unprocessed,
                Scope::Status(Status::Processing) => counts.processing,
                Scope::Status(Status::Processed) => counts.processed,
                Scope::Status(Status::Failed) => counts.failed,
            });
        }
        let mut number = 0;
        self.each_selected(&view, wanted, |_| {
            number += 1;
            true
        })?;
        Ok(number)
    }

    /// Returns one entry to work on.
    ///
    /// # Errors
    /// The index failed.
    pub fn item(&self, id: EntryId) -> Result<Option<Item>, IndexError> {
        let view = self.shared.read();
        let row = self.shared.query(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM entry WHERE id = ?1");
            let mut find = connection.prepare_cached(&sql)?;
            Ok(find.query_row(params![id.0], EntryRow::read).optional()?)
        })?;
        Ok(row.and_then(|row| item(&view, &row)))
    }

    /// Tells the library what became of an entry; waits while its queue is full.
    pub fn report(&self, report: Report) {
        self.send(Command::Report(report));
    }

    /// Tells whether a folder is there.
    #[must_use]
    pub fn is_online(&self, folder: &str) -> bool {
        self.shared
            .read()
            .folder(folder)
            .is_some_and(|folder| folder.online)
    }

    /// Tells whether there is such a directory; its path starts with the folder's name.
    #[must_use]
    pub fn has_directory(&self, path: &str) -> bool {
        find_directory(&self.shared.read(), path).is_some()
    }

    /// Hands the rows that `wanted` names to `take` until that says enough.
    fn each_selected(
        &self,
        view: &View,
        wanted: &Selection,
        mut take: impl FnMut(&EntryRow) -> bool,
    ) -> Result<(), IndexError> {
        let folder = match &wanted.folder {
            None => None,
            Some(name) => match view.folders.iter().position(|folder| folder.name == *name) {
                Some(folder) => Some(folder),
                None => return Ok(()),
            },
        };
        let below = match &wanted.directory {
            None => None,
            Some(path) => match find_directory(view, path) {
                Some(directory) => {
                    let below = view.tree.subtree(directory);
                    Some(below.into_iter().collect::<std::collections::HashSet<_>>())
                }
                None => return Ok(()),
            },
        };
        let condition = match wanted.scope {
            Scope::All => String::new(),
            // Spelled so that the partial index serves.
            Scope::Status(Status::Processed) => "AND status = 2".to_owned(),
            Scope::Status(status) => format!("AND status = {} AND status <> 2", status_to(status)),
        };
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE id > ?1 {condition} ORDER BY id");
        self.shared.query(|connection| {
            let mut find = connection.prepare_cached(&sql)?;
            let mut rows = find.query(params![wanted.after.0])?;
            while let Some(row) = rows.next()? {
                let row = EntryRow::read(row)?;
                let in_folder = folder.is_none_or(|folder| {
                    view.tree
                        .get(row.dir)
                        .is_some_and(|dir| dir.folder == folder)
                });
                let in_directory = below.as_ref().is_none_or(|below| below.contains(&row.dir));
                if in_folder && in_directory && !take(&row) {
                    break;
                }
            }
            Ok(())
        })
    }
}

fn item(view: &View, row: &EntryRow) -> Option<Item> {
    let dir = view.tree.get(row.dir)?;
    let folder = view.folders.get(dir.folder)?;
    let join = |mut path: Vec<u8>| {
        path.extend_from_slice(&row.name);
        path
    };
    let mut relative = view.tree.relative_path(row.dir);
    if !relative.is_empty() {
        relative.push(b'/');
    }
    let path = join(view.tree.full_path(row.dir));
    Some(Item {
        id: row.id,
        folder: folder.name.clone(),
        root: Arc::clone(&folder.path),
        relative: join(relative),
        path: String::from_utf8_lossy(&path).into_owned(),
        stamp: Stamp {
            size: row.meta.size,
            modified: row.meta.modified,
            ino: row.meta.identity.ino,
        },
        status: row.status,
        fingerprint: row.fingerprint,
        done: row.done,
        finished: view.finished.contains(&row.id),
    })
}
