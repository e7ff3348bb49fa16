//! The **shelf**: the library as processing sees it.

use crate::library::work::{Item, Report, Selection};
use crate::library::{EntryId, IndexError, Library};

/// What processing needs of the library (implemented by `library::Library`).
pub trait Shelf: Send + Sync + 'static {
    /// Returns entries by id, in their committed state.
    ///
    /// # Errors
    /// The index cannot be read.
    fn items(&self, wanted: &Selection) -> Result<Vec<Item>, ShelfError>;
    /// Returns one entry in its committed state.
    ///
    /// # Errors
    /// The index cannot be read.
    fn item(&self, id: EntryId) -> Result<Option<Item>, ShelfError>;
    /// Counts entries; `limit` is ignored.
    ///
    /// # Errors
    /// The index cannot be read.
    fn count(&self, wanted: &Selection) -> Result<u64, ShelfError>;
    /// Takes in what became of an entry; waits while the library's queue is full. Results are
    /// committed in their order, then published.
    fn report(&self, report: Report);
    /// Tells whether a folder's disk is there.
    fn is_online(&self, folder: &str) -> bool;
}

/// The library cannot answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShelfError(pub String);

impl std::fmt::Display for ShelfError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the index cannot be read: {}", self.0)
    }
}

impl std::error::Error for ShelfError {}

impl From<IndexError> for ShelfError {
    fn from(error: IndexError) -> ShelfError {
        ShelfError(error.to_string())
    }
}

impl Shelf for Library {
    fn items(&self, wanted: &Selection) -> Result<Vec<Item>, ShelfError> {
        Ok(Library::items(self, wanted)?)
    }

    fn item(&self, id: EntryId) -> Result<Option<Item>, ShelfError> {
        Ok(Library::item(self, id)?)
    }

    fn count(&self, wanted: &Selection) -> Result<u64, ShelfError> {
        Ok(Library::count(self, wanted)?)
    }

    fn report(&self, report: Report) {
        Library::report(self, report);
    }

    fn is_online(&self, folder: &str) -> bool {
        Library::is_online(self, folder)
    }
}
