//! Asking the library: search, filter, order, page by page, with counts.
//!
//! How a page is found depends on how many entries are wanted, which is known first: few are
//! gathered and sorted; for many, the order is walked and what is not wanted is passed over.

mod cursor;
mod matches;
mod plan;

use rusqlite::{Connection, OptionalExtension, params};

pub(super) use self::matches::Bits;
use self::plan::Plan;
use super::Library;
use super::index::{COLUMNS, EntryRow, IndexError};
use super::reconcile::EntryId;
use super::tree::DirId;
use super::view::{Counts, View};
use crate::events::types::{Entry, Status};

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

    /// Returns the other entries that have the content of this one, oldest first, `limit` at most.
    ///
    /// # Errors
    /// The index failed.
    pub fn duplicates(&self, id: EntryId, limit: u32) -> Result<Vec<Entry>, IndexError> {
        let view = self.shared.read();
        let rows: Vec<EntryRow> = self.shared.query(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM entry \
                 WHERE fingerprint = (SELECT fingerprint FROM entry WHERE id = ?1) \
                 AND fingerprint IS NOT NULL AND id <> ?1 ORDER BY id LIMIT ?2"
            );
            let mut find = connection.prepare_cached(&sql)?;
            let rows = find.query_map(params![id.0, limit], EntryRow::read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        Ok(rows.iter().filter_map(|row| view.entry(row)).collect())
    }
}

fn row(connection: &Connection, id: EntryId) -> Result<Option<EntryRow>, IndexError> {
    let sql = format!("SELECT {COLUMNS} FROM entry WHERE id = ?1");
    let mut find = connection.prepare_cached(&sql)?;
    Ok(find.query_row(params![id.0], EntryRow::read).optional()?)
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
