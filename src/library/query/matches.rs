//! Which entries are wanted, as a bit each: for walking an order past what is not.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::library::index::IndexError;
use crate::library::search::{Record, Search};

/// A set of numbers that lie close together, wherever that is.
#[derive(Debug, Default)]
pub(crate) struct Bits(BTreeMap<i64, u128>);

impl Bits {
    pub(crate) fn insert(&mut self, number: i64) {
        *self.0.entry(number.div_euclid(128)).or_default() |= 1 << number.rem_euclid(128);
    }

    pub(crate) fn has(&self, number: i64) -> bool {
        let word = self.0.get(&number.div_euclid(128));
        word.is_some_and(|word| word >> number.rem_euclid(128) & 1 == 1)
    }
}

/// Entries, and the directories that they are in: about a bit each.
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
        // After damage ids go on far above those before.
        let far = 1_800_000_000_000;
        for number in [0, 63, 64, 1000, far] {
            bits.insert(number);
        }
        let all: Vec<i64> = (-10..2000).filter(|number| bits.has(*number)).collect();
        assert_eq!(all, [0, 63, 64, 1000]);
        assert!(bits.has(far) && !bits.has(far + 1));
    }
}
