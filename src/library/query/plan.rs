//! How a page is found: gathered and sorted where few entries are wanted, walked in order where many.

use std::cmp::Ordering;

use rusqlite::{Connection, params};

use super::cursor::{Key, decode, encode};
use super::matches::{Matches, scan};
use super::{Page, Query, QueryError, Sort, Wanted, find_directory, roots, row};
use crate::events::types::Status;
use crate::library::index::{COLUMNS, EntryRow, status_from, status_to};
use crate::library::reconcile::EntryId;
use crate::library::search::{DUPLICATE, Record, Search};
use crate::library::tree::DirId;
use crate::library::view::{Counts, View};
use crate::library::walk::{Direction, Walk};

/// Up to so many entries are gathered and sorted; a guess at where that costs as much as a walk.
const FEW: u64 = 2_000;
/// Entries that a walk passes over before the search blocks are read; a guess at where that costs as
/// much.
const PASSED_OVER: usize = 5_000;

/// A query with its names resolved.
pub(super) struct Plan<'a> {
    view: &'a View,
    connection: &'a Connection,
    query: &'a Query,
    folder: Option<usize>,
    directory: Option<DirId>,
    search: Option<Search>,
    after: Option<Key>,
}

/// What a count came upon.
enum Found {
    /// All of it, in no order.
    Few(Vec<EntryRow>),
    /// Too many to gather; which, where that is known already.
    Many(Option<Matches>),
}

fn state(record: &Record) -> (Status, bool) {
    (status_from(record.flags), record.flags & DUPLICATE != 0)
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        view: &'a View,
        connection: &'a Connection,
        query: &'a Query,
    ) -> Result<Plan<'a>, QueryError> {
        let folder = match &query.folder {
            None => None,
            Some(name) => {
                let at = view.folders.iter().position(|folder| folder.name == *name);
                Some(at.ok_or_else(|| QueryError::Folder(name.clone()))?)
            }
        };
        let directory = match &query.directory {
            None => None,
            Some(path) => {
                let found = find_directory(view, path);
                Some(found.ok_or_else(|| QueryError::Directory(path.clone()))?)
            }
        };
        let after = query
            .cursor
            .as_deref()
            .map(|cursor| decode(query, cursor).ok_or(QueryError::Cursor));
        let search = (!query.search.is_empty()).then(|| {
            let roots = roots(view, folder);
            Search::new(&view.tree, &roots, &query.search, folder.is_some())
        });
        Ok(Plan {
            view,
            connection,
            query,
            folder,
            directory,
            search,
            after: after.transpose()?,
        })
    }

    pub(super) fn page(&self) -> Result<Page, QueryError> {
        let limit = self.query.limit;
        let (counts, found) = self.count()?;
        let total = self.of_wanted(&counts);
        let mut rows = match found {
            Found::Few(rows) => self.sorted(rows),
            Found::Many(matches) => self.walked(limit + 1, matches)?,
        };
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|row| encode(self.query, &self.key(row)));
        Ok(Page {
            files: rows.iter().filter_map(|row| self.view.entry(row)).collect(),
            next,
            total,
            counts,
            version: 0,
            last_event_id: String::new(),
            directories: self.directory.map(|directory| self.directories(directory)),
        })
    }

    /// Counts what is asked for by state; gives the rows too where they are few.
    fn count(&self) -> Result<(Counts, Found), QueryError> {
        if let Some(directory) = self.directory {
            return self.count_directory(directory);
        }
        if let Some(search) = &self.search {
            return self.count_search(search);
        }
        let counts = match self.folder {
            Some(folder) => self.view.folders[folder].counts,
            None => self.view.counts(),
        };
        // The index by status does not know folders, so it must be few in all.
        let few = self.of_wanted(&self.view.counts()) <= FEW;
        let condition = match self.query.wanted {
            _ if !few => return Ok((counts, Found::Many(None))),
            Wanted::All | Wanted::Status(Status::Processed) => {
                return Ok((counts, Found::Many(None)));
            }
            Wanted::Status(status) => format!("status = {} AND status <> 2", status_to(status)),
            Wanted::Duplicate => "duplicate_of IS NOT NULL".to_owned(),
        };
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE {condition}");
        let mut find = self.connection.prepare_cached(&sql)?;
        let rows = find.query_map([], EntryRow::read)?;
        let rows: Vec<EntryRow> = rows.collect::<Result<_, _>>()?;
        let rows = rows.into_iter().filter(|row| self.is_wanted(row)).collect();
        Ok((counts, Found::Few(rows)))
    }

    fn count_directory(&self, directory: DirId) -> Result<(Counts, Found), QueryError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE dir = ?1");
        let mut find = self.connection.prepare_cached(&sql)?;
        let mut rows = find.query(params![directory.0])?;
        let (mut counts, mut wanted) = (Counts::default(), Vec::new());
        while let Some(row) = rows.next()? {
            let row = EntryRow::read(row)?;
            if self.is_found(&row) {
                counts.add(row.status, row.duplicate_of.is_some());
                if self.has_wanted_state(row.status, row.duplicate_of.is_some()) {
                    wanted.push(row);
                }
            }
        }
        Ok((counts, Found::Few(wanted)))
    }

    fn count_search(&self, search: &Search) -> Result<(Counts, Found), QueryError> {
        let (mut counts, mut ids) = (Counts::default(), Vec::new());
        let (mut number, mut matches) = (0, Matches::default());
        scan(self.connection, search, |record| {
            let (status, duplicate) = state(&record);
            counts.add(status, duplicate);
            if self.has_wanted_state(status, duplicate) {
                matches.add(&record);
                number += 1;
                if number <= FEW {
                    ids.push(record.id);
                }
            }
        })?;
        if number > FEW {
            return Ok((counts, Found::Many(Some(matches))));
        }
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            rows.extend(row(self.connection, EntryId(id))?);
        }
        Ok((counts, Found::Few(rows)))
    }

    /// Returns what is wanted, from the search blocks.
    fn matches(&self) -> Result<Matches, QueryError> {
        let roots = roots(self.view, self.folder);
        let search = Search::new(
            &self.view.tree,
            &roots,
            &self.query.search,
            self.folder.is_some(),
        );
        let mut matches = Matches::default();
        scan(self.connection, &search, |record| {
            let (status, duplicate) = state(&record);
            if self.has_wanted_state(status, duplicate) {
                matches.add(&record);
            }
        })?;
        Ok(matches)
    }

    /// Walks the order. Where what is wanted does not come soon, since it lies together at another
    /// end of the order, it is found out first what that is.
    fn walked(&self, limit: usize, matches: Option<Matches>) -> Result<Vec<EntryRow>, QueryError> {
        let walk = |matches: Option<&Matches>, patience| match self.query.sort {
            Sort::Path => self.by_path(limit, matches, patience),
            _ => self.by_index(limit, matches, patience),
        };
        if matches.is_none()
            && let Some(rows) = walk(None, PASSED_OVER)?
        {
            return Ok(rows);
        }
        let matches = matches.map_or_else(|| self.matches(), Ok)?;
        Ok(walk(Some(&matches), usize::MAX)?.unwrap_or_default())
    }

    /// Orders gathered rows and drops those of earlier pages.
    fn sorted(&self, rows: Vec<EntryRow>) -> Vec<EntryRow> {
        let mut keyed: Vec<(Key, EntryRow)> =
            rows.into_iter().map(|row| (self.key(&row), row)).collect();
        let forward = |order: Ordering| {
            if self.query.descending {
                order.reverse()
            } else {
                order
            }
        };
        keyed.retain(|(key, _)| {
            self.after
                .as_ref()
                .is_none_or(|after| forward(key.cmp(after)).is_gt())
        });
        keyed.sort_unstable_by(|a, b| forward(a.0.cmp(&b.0)));
        keyed
            .into_iter()
            .map(|(_, row)| row)
            .take(self.query.limit + 1)
            .collect()
    }

    /// `None` if more than `patience` entries were passed over.
    fn by_path(
        &self,
        limit: usize,
        matches: Option<&Matches>,
        patience: usize,
    ) -> Result<Option<Vec<EntryRow>>, QueryError> {
        let direction = if self.query.descending {
            Direction::Down
        } else {
            Direction::Up
        };
        let after = match &self.after {
            Some(Key::Path(path)) => Some(path.as_slice()),
            _ => None,
        };
        let roots = roots(self.view, self.folder);
        let directories = matches.map(|matches| &matches.directories);
        let mut walk = Walk::new(&self.view.tree, self.connection, roots, direction, after)
            .only_in(directories);
        let (mut rows, mut passed) = (Vec::new(), 0);
        while rows.len() < limit
            && let Some(row) = walk.next()?
        {
            if self.is_wanted(&row) {
                rows.push(row);
            } else {
                passed += 1;
                if passed > patience {
                    return Ok(None);
                }
            }
        }
        Ok(Some(rows))
    }

    /// `None` if more than `patience` entries were passed over.
    fn by_index(
        &self,
        limit: usize,
        matches: Option<&Matches>,
        patience: usize,
    ) -> Result<Option<Vec<EntryRow>>, QueryError> {
        let column = match self.query.sort {
            Sort::Path | Sort::Name => "name",
            Sort::Size => "size",
            Sort::Modified => "modified",
        };
        let (compare, order) = if self.query.descending {
            ("<", "DESC")
        } else {
            (">", "ASC")
        };
        let condition = match &self.after {
            Some(_) => format!("WHERE ({column}, id) {compare} (?1, ?2)"),
            None => "WHERE ?1 IS NULL AND ?2 IS NULL".to_owned(),
        };
        let sql = format!(
            // The index has the ids, so that a row is read only where it is wanted.
            "SELECT id FROM entry {condition} ORDER BY {column} {order}, id {order}"
        );
        let mut find = self.connection.prepare_cached(&sql)?;
        let mut rows = match &self.after {
            Some(Key::Name(name, id)) => find.query(params![name, id])?,
            Some(Key::Size(size, id)) => find.query(params![size.cast_signed(), id])?,
            Some(Key::Modified(time, id)) => find.query(params![time, id])?,
            Some(Key::Path(_)) | None => find.query(params![None::<i64>, None::<i64>])?,
        };
        let (mut wanted, mut passed) = (Vec::new(), 0);
        while wanted.len() < limit
            && let Some(found) = rows.next()?
        {
            let id = found.get(0)?;
            if matches.is_some_and(|matches| !matches.entries.has(id)) {
                continue;
            }
            match row(self.connection, EntryId(id))? {
                Some(row) if self.is_wanted(&row) => wanted.push(row),
                _ => passed += 1,
            }
            if passed > patience {
                return Ok(None);
            }
        }
        Ok(Some(wanted))
    }

    fn is_wanted(&self, row: &EntryRow) -> bool {
        self.has_wanted_state(row.status, row.duplicate_of.is_some()) && self.is_found(row)
    }

    /// Whether the search and the folder admit the entry.
    fn is_found(&self, row: &EntryRow) -> bool {
        let in_folder = self.folder.is_none_or(|folder| {
            self.view
                .tree
                .get(row.dir)
                .is_some_and(|dir| dir.folder == folder)
        });
        in_folder
            && self
                .search
                .as_ref()
                .is_none_or(|search| search.finds(row.dir, &row.name))
    }

    fn has_wanted_state(&self, status: Status, duplicate: bool) -> bool {
        match self.query.wanted {
            Wanted::All => true,
            Wanted::Status(wanted) => wanted == status,
            Wanted::Duplicate => duplicate,
        }
    }

    fn of_wanted(&self, counts: &Counts) -> u64 {
        match self.query.wanted {
            Wanted::All => counts.all,
            Wanted::Status(Status::Unprocessed) => counts.unprocessed,
            Wanted::Status(Status::Processing) => counts.processing,
            Wanted::Status(Status::Processed) => counts.processed,
            Wanted::Status(Status::Failed) => counts.failed,
            Wanted::Duplicate => counts.duplicate,
        }
    }

    fn key(&self, row: &EntryRow) -> Key {
        match self.query.sort {
            Sort::Path => {
                let mut path = self.view.tree.full_path(row.dir);
                path.extend_from_slice(&row.name);
                Key::Path(path)
            }
            Sort::Name => Key::Name(row.name.to_vec(), row.id.0),
            Sort::Size => Key::Size(row.meta.size, row.id.0),
            Sort::Modified => Key::Modified(row.meta.modified, row.id.0),
        }
    }

    fn directories(&self, directory: DirId) -> Vec<(String, u64)> {
        let tree = &self.view.tree;
        let children = tree.children(directory).iter();
        children
            .map(|child| {
                let mut path = tree.full_path(*child);
                path.pop(); // the slash at its end
                (
                    String::from_utf8_lossy(&path).into_owned(),
                    tree.files_below(*child),
                )
            })
            .collect()
    }
}
