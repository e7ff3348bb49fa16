//! Who gets what: the **scope** of an event and the **filter** of a client.

use super::record::Record;
use super::types::EventType;
use std::sync::Arc;

/// Whom an event concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every client, whatever folder it asked for.
    Everyone,
    /// Clients that asked for one of these folders, or for none in particular.
    Folders(Vec<String>),
}

impl Scope {
    /// Tells whether a client that asked for `folder` is concerned.
    #[must_use]
    pub fn concerns(&self, folder: &str) -> bool {
        match self {
            Scope::Everyone => true,
            Scope::Folders(names) => names.iter().any(|name| name == folder),
        }
    }
}

/// A set of event types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeSet(u8);

impl TypeSet {
    /// Every type.
    pub const ALL: TypeSet = TypeSet(0b11_1111);
    /// No type.
    pub const NONE: TypeSet = TypeSet(0);

    /// Returns the set with `kind` in it.
    #[must_use]
    pub fn with(self, kind: EventType) -> TypeSet {
        TypeSet(self.0 | TypeSet::bit(kind))
    }

    /// Tells whether `kind` is in the set.
    #[must_use]
    pub fn contains(self, kind: EventType) -> bool {
        self.0 & TypeSet::bit(kind) != 0
    }

    fn bit(kind: EventType) -> u8 {
        match kind {
            EventType::CacheUpdated => 1,
            EventType::WatcherStatus => 2,
            EventType::FileProcessed => 4,
            EventType::JobUpdated => 8,
            EventType::Error => 16,
            EventType::Reset => 32,
        }
    }
}

/// What a client asked for. Clients with equal filters share the bytes that are sent to them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Only these types; a `reset` always comes.
    pub types: TypeSet,
    /// Only what concerns this folder.
    pub folder: Option<Arc<str>>,
}

impl Filter {
    /// Returns the filter that everything passes.
    #[must_use]
    pub fn everything() -> Filter {
        Filter {
            types: TypeSet::ALL,
            folder: None,
        }
    }

    /// Tells whether the client asked for `record`.
    #[must_use]
    pub fn passes(&self, record: &Record) -> bool {
        self.types.contains(record.kind())
            && self
                .folder
                .as_deref()
                .is_none_or(|folder| record.scope().concerns(folder))
    }
}

impl Default for Filter {
    fn default() -> Filter {
        Filter::everything()
    }
}
