//! Which entries are wanted, as a bit each: for walking an order past what is not.

use rusqlite::Connection;

use crate::library::index::IndexError;
use crate::library::search::{Record, Search};

/// A set of small numbers.
#[derive(Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// Adds a number; one below zero is left out.
    pub(crate) fn insert(&mut self, number: i64) {
        let Ok(number) = usize::try_from(number) else {
            return;
        };
        let word = number / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    pub(crate) fn has(&self, number: i64) -> bool {
        usize::try_from(number)
            .ok()
            .and_then(|number| Some(self.0.get(number / 64)? >> (number % 64) & 1 == 1))
            .unwrap_or(false)
    }
}

/// Entries, and the directories that they are in: an eighth of a byte each.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub(super) entries: Bits,
    pub(super) directories: Bits,
}

impl Matches {
    pub(super) fn add(&mut self, record: &Record) {
        self.entries.insert(record.id);
        self.directories.insert(record.dir.0.into());
    }
}

/// Hands every entry that `search` finds to `take`: reads all blocks, one after another.
pub(super) fn scan(
    connection: &Connection,
    search: &Search,
    mut take: impl FnMut(Record),
) -> Result<(), IndexError> {
    let mut find = connection.prepare_cached("SELECT id, entries FROM block")?;
    let mut blocks = find.query([])?;
    while let Some(block) = blocks.next()? {
        let bytes = block.get_ref(1)?.as_blob().unwrap_or(b"");
        search.scan(block.get(0)?, bytes, &mut take);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_in_and_nothing_else() {
        let mut bits = Bits::default();
        for number in [0, 63, 64, 1000, -5] {
            bits.insert(number);
        }
        let all: Vec<i64> = (-10..2000).filter(|number| bits.has(*number)).collect();
        assert_eq!(all, [0, 63, 64, 1000]);
    }
}
