//! Why the index cannot be used, and what to do then.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use super::SCHEMA_VERSION;

/// Why the index cannot be used.
#[derive(Debug)]
pub enum IndexError {
    /// Another process has it.
    InUse(PathBuf),
    /// It was written by a newer Shelfcast.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// The state directory cannot be used.
    State {
        /// The directory or a file in it.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IndexError::InUse(path) => {
                write!(
                    f,
                    "the state directory {} is in use by another shelfcast",
                    path.display()
                )
            }
            IndexError::Newer { path, version } => write!(
                f,
                "the index {} has version {version}, this shelfcast knows {SCHEMA_VERSION}",
                path.display()
            ),
            IndexError::State { path, error } => {
                write!(
                    f,
                    "the state directory cannot be used: {}: {error}",
                    path.display()
                )
            }
            IndexError::Sqlite(error) => write!(f, "the index cannot be used: {error}"),
        }
    }
}

impl std::error::Error for IndexError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IndexError::State { error, .. } => Some(error),
            IndexError::Sqlite(error) => Some(error),
            IndexError::InUse(_) | IndexError::Newer { .. } => None,
        }
    }
}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> IndexError {
        IndexError::Sqlite(error)
    }
}

impl IndexError {
    /// Says what to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            IndexError::InUse(_) => "stop the other one, or give this one its own --state DIR",
            IndexError::Newer { .. } => {
                "install that version again, or move the index away: it is rebuilt from disk, with new ids"
            }
            IndexError::State { .. } => {
                "make the directory writable for this user, or choose another with --state DIR"
            }
            IndexError::Sqlite(_) => "check that its disk is not full and can be written",
        }
    }

    /// Tells whether two entries were to have one name.
    pub(crate) fn is_conflict(&self) -> bool {
        let IndexError::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else {
            return false;
        };
        error.code == ErrorCode::ConstraintViolation
    }

    /// Tells whether the database itself is broken.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, IndexError::Sqlite(error) if crate::sqlite::is_damage(error))
    }
}
