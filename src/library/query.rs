//! Asking the library: search, filter, order, page by page, with counts.
//!
//! How a page is found depends on how many entries are wanted, which is known first: few are
//! gathered and sorted; for many, the order is walked and what is not wanted is passed over.

use std::cmp::Ordering;

use rusqlite::{Connection, OptionalExtension, params};

use super::Library;
use super::index::{COLUMNS, EntryRow, IndexError, status_from, status_to};
use super::reconcile::EntryId;
use super::search::{DUPLICATE, Record, Search};
use super::tree::DirId;
use super::view::{Counts, View, hex};
use super::walk::{Direction, Walk};
use crate::events::types::{Entry, Status};

/// Up to so many entries are gathered and sorted; a guess at where that costs as much as a walk.
const FEW: u64 = 2_000;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// A substring of the path, in any case; empty for all.
    pub search: String,
    /// Which state.
    pub wanted: Wanted,
    /// Only this folder.
    pub folder: Option<String>,
    /// Only the entries directly in this directory, whose path starts with the folder's name.
    pub directory: Option<String>,
    /// The order.
    pub sort: Sort,
    /// Largest, newest or last first.
    pub descending: bool,
    /// Entries at most.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// States that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Any.
    #[default]
    All,
    /// One status.
    Status(Status),
    /// Those that have the content of another.
    Duplicate,
}

/// Orders. Entries that are equal in it are ordered by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By the bytes of the path.
    #[default]
    Path,
    /// By the bytes of the name.
    Name,
    /// By size.
    Size,
    /// By modification time.
    Modified,
}

/// One page of an answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// The entries.
    pub files: Vec<Entry>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// Entries in all pages.
    pub total: u64,
    /// Entries by state, the state that was asked for aside.
    pub counts: Counts,
    /// Version of the index.
    pub version: u64,
    /// The last event whose change is contained.
    pub last_event_id: String,
    /// Where a directory was asked for: the directories directly in it, and the number of entries
    /// below each.
    pub directories: Option<Vec<(String, u64)>>,
}

/// Why a query has no answer.
#[derive(Debug)]
pub enum QueryError {
    /// There is no such folder.
    Folder(String),
    /// There is no such directory.
    Directory(String),
    /// The cursor is not one of ours, or of another order.
    Cursor,
    /// The index failed.
    Index(IndexError),
}

impl From<IndexError> for QueryError {
    fn from(error: IndexError) -> QueryError {
        QueryError::Index(error)
    }
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> QueryError {
        QueryError::Index(error.into())
    }
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            QueryError::Folder(name) => write!(f, "there is no folder {name:?}"),
            QueryError::Directory(path) => write!(f, "there is no directory {path:?}"),
            QueryError::Cursor => {
                write!(
                    f,
                    "the cursor does not belong to this order: begin without one"
                )
            }
            QueryError::Index(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for QueryError {}

impl Library {
    /// Returns the id of the last event, and so a name for the state that a query answered now
    /// would show.
    #[must_use]
    pub fn state_id(&self) -> String {
        let _view = self.shared.read_published();
        self.shared.events.last_event_id().to_string()
    }

    /// Answers a query.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn files(&self, query: &Query) -> Result<Page, QueryError> {
        let view = self.shared.read_published();
        let mut answer = Err(QueryError::Cursor);
        self.shared.query(|connection| {
            // One transaction, so that all of the answer is of one state.
            let transaction = connection.unchecked_transaction()?;
            answer = Plan::new(&view, &transaction, query).and_then(|plan| plan.page());
            drop(transaction);
            Ok(())
        })?;
        let mut page = answer?;
        page.version = view.version;
        page.last_event_id = self.shared.events.last_event_id().to_string();
        Ok(page)
    }

    /// Returns one entry.
    ///
    /// # Errors
    /// The index failed.
    pub fn file(&self, id: EntryId) -> Result<Option<Entry>, IndexError> {
        let view = self.shared.read();
        let row = self.shared.query(|connection| row(connection, id))?;
        Ok(row.and_then(|row| view.entry(&row)))
    }
}

fn row(connection: &Connection, id: EntryId) -> Result<Option<EntryRow>, IndexError> {
    let sql = format!("SELECT {COLUMNS} FROM entry WHERE id = ?1");
    let mut find = connection.prepare_cached(&sql)?;
    Ok(find.query_row(params![id.0], EntryRow::read).optional()?)
}

/// A query with its names resolved.
struct Plan<'a> {
    view: &'a View,
    connection: &'a Connection,
    query: &'a Query,
    folder: Option<usize>,
    directory: Option<DirId>,
    search: Option<Search>,
    after: Option<Key>,
}

/// What entries are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Path(Vec<u8>),
    Name(Vec<u8>, i64),
    Size(u64, i64),
    Modified(i64, i64),
}

impl<'a> Plan<'a> {
    fn new(
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

    fn page(&self) -> Result<Page, QueryError> {
        let limit = self.query.limit;
        let (counts, found) = self.count()?;
        let total = self.of_wanted(&counts);
        let mut rows = match found {
            Some(rows) => self.sorted(rows),
            None if self.query.sort == Sort::Path => self.by_path(limit + 1)?,
            None => self.by_index(limit + 1)?,
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
    fn count(&self) -> Result<(Counts, Option<Vec<EntryRow>>), QueryError> {
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
            _ if !few => return Ok((counts, None)),
            Wanted::All | Wanted::Status(Status::Processed) => return Ok((counts, None)),
            Wanted::Status(status) => format!("status = {} AND status <> 2", status_to(status)),
            Wanted::Duplicate => "duplicate_of IS NOT NULL".to_owned(),
        };
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE {condition}");
        let mut find = self.connection.prepare_cached(&sql)?;
        let rows = find.query_map([], EntryRow::read)?;
        let rows: Vec<EntryRow> = rows.collect::<Result<_, _>>()?;
        let rows = rows.into_iter().filter(|row| self.is_wanted(row)).collect();
        Ok((counts, Some(rows)))
    }

    fn count_directory(
        &self,
        directory: DirId,
    ) -> Result<(Counts, Option<Vec<EntryRow>>), QueryError> {
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
        Ok((counts, Some(wanted)))
    }

    fn count_search(&self, search: &Search) -> Result<(Counts, Option<Vec<EntryRow>>), QueryError> {
        let (mut counts, mut number, mut ids) = (Counts::default(), 0, Vec::new());
        let mut take = |record: Record| {
            let (status, duplicate) = (status_from(record.flags), record.flags & DUPLICATE != 0);
            counts.add(status, duplicate);
            if self.has_wanted_state(status, duplicate) {
                number += 1;
                if number <= FEW {
                    ids.push(record.id);
                }
            }
        };
        let mut find = self
            .connection
            .prepare_cached("SELECT id, entries FROM block")?;
        let mut blocks = find.query([])?;
        while let Some(block) = blocks.next()? {
            let bytes = block.get_ref(1)?.as_blob().unwrap_or(b"");
            search.scan(block.get(0)?, bytes, &mut take);
        }
        if number > FEW {
            return Ok((counts, None));
        }
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            rows.extend(row(self.connection, EntryId(id))?);
        }
        Ok((counts, Some(rows)))
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

    fn by_path(&self, limit: usize) -> Result<Vec<EntryRow>, QueryError> {
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
        let mut walk = Walk::new(&self.view.tree, self.connection, roots, direction, after);
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(row) = walk.next()?
        {
            if self.is_wanted(&row) {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    fn by_index(&self, limit: usize) -> Result<Vec<EntryRow>, QueryError> {
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
            "SELECT {COLUMNS} FROM entry {condition} ORDER BY {column} {order}, id {order}"
        );
        let mut find = self.connection.prepare_cached(&sql)?;
        let mut rows = match &self.after {
            Some(Key::Name(name, id)) => find.query(params![name, id])?,
            Some(Key::Size(size, id)) => find.query(params![size.cast_signed(), id])?,
            Some(Key::Modified(time, id)) => find.query(params![time, id])?,
            Some(Key::Path(_)) | None => find.query(params![None::<i64>, None::<i64>])?,
        };
        let mut wanted = Vec::new();
        while wanted.len() < limit
            && let Some(row) = rows.next()?
        {
            let row = EntryRow::read(row)?;
            if self.is_wanted(&row) {
                wanted.push(row);
            }
        }
        Ok(wanted)
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

fn roots(view: &View, folder: Option<usize>) -> Vec<DirId> {
    let folders = view.folders.iter().enumerate();
    folders
        .filter(|(index, _)| folder.is_none_or(|folder| folder == *index))
        .map(|(_, folder)| folder.root)
        .collect()
}

/// Finds a directory by its path for people. Of two whose names differ only in bytes that are not
/// UTF-8, the first is found.
pub(super) fn find_directory(view: &View, path: &str) -> Option<DirId> {
    let mut names = path.trim_matches('/').split('/');
    let mut at = view.folder(names.next()?)?.root;
    for name in names {
        let exact = view.tree.child(at, name.as_bytes());
        at = exact.or_else(|| {
            let mut children = view.tree.children(at).iter().copied();
            children.find(|child| {
                let known = view
                    .tree
                    .get(*child)
                    .map(|dir| String::from_utf8_lossy(&dir.name));
                known.is_some_and(|known| known == name)
            })
        })?;
    }
    Some(at)
}

// Cursors: the order, the key of the last entry, opaque to the outside.

fn tag(query: &Query) -> &'static str {
    match (query.sort, query.descending) {
        (Sort::Path, false) => "p",
        (Sort::Path, true) => "P",
        (Sort::Name, false) => "n",
        (Sort::Name, true) => "N",
        (Sort::Size, false) => "s",
        (Sort::Size, true) => "S",
        (Sort::Modified, false) => "m",
        (Sort::Modified, true) => "M",
    }
}

fn encode(query: &Query, key: &Key) -> String {
    let tag = tag(query);
    match key {
        Key::Path(path) => format!("{tag}.{}", hex(path)),
        Key::Name(name, id) => format!("{tag}.{}.{id}", hex(name)),
        Key::Size(size, id) => format!("{tag}.{size}.{id}"),
        Key::Modified(time, id) => format!("{tag}.{time}.{id}"),
    }
}

fn decode(query: &Query, cursor: &str) -> Option<Key> {
    let mut parts = cursor.split('.');
    if parts.next()? != tag(query) {
        return None;
    }
    let value = parts.next()?;
    let id = parts.next().map(str::parse);
    if parts.next().is_some() {
        return None;
    }
    Some(match (query.sort, id) {
        (Sort::Path, None) => Key::Path(unhex(value)?),
        (Sort::Name, Some(Ok(id))) => Key::Name(unhex(value)?, id),
        (Sort::Size, Some(Ok(id))) => Key::Size(value.parse().ok()?, id),
        (Sort::Modified, Some(Ok(id))) => Key::Modified(value.parse().ok()?, id),
        _ => return None,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let [high, low] = pair else { return None };
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cursor_is_read_back_and_one_of_another_order_is_refused() {
        let mut query = Query::default();
        let key = Key::Path(b"comics/\xff.cbz".to_vec());
        let cursor = encode(&query, &key);
        assert_eq!(decode(&query, &cursor), Some(key));
        query.descending = true;
        assert_eq!(decode(&query, &cursor), None);
    }

    proptest! {
        #[test]
        fn no_cursor_panics(cursor in ".*") {
            for sort in [Sort::Path, Sort::Name, Sort::Size, Sort::Modified] {
                let query = Query { sort, ..Query::default() };
                drop(decode(&query, &cursor));
                drop(decode(&query, &format!("{}.{cursor}", tag(&query))));
            }
        }
    }
}
