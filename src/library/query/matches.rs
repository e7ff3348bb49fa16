//! Which entries are wanted, as a bit each: for walking an order past what is not.

use rusqlite::Connection;

use crate::library::index::IndexError;
use crate::library::search::{Record, Search};

/// A set of numbers that lie close together, wherever that is; quick to fill in their order, which is
/// that of a scan.
#[derive(Debug, Default)]
pub(crate) struct Bits(Vec<(i64, u128)>);

impl Bits {
    pub(crate) fn insert(&mut self, number: i64) {
        let (word, bit) = (number.div_euclid(128), 1 << number.rem_euclid(128));
        match self.0.last_mut() {
            Some((last, bits)) if *last == word => *bits |= bit,
            Some((last, _)) if *last > word => match self.find(word) {
                Ok(at) => self.0[at].1 |= bit,
                Err(at) => self.0.insert(at, (word, bit)),
            },
            _ => self.0.push((word, bit)),
        }
    }

    pub(crate) fn has(&self, number: i64) -> bool {
        let bits = self
            .find(number.div_euclid(128))
            .map_or(0, |at| self.0[at].1);
        bits >> number.rem_euclid(128) & 1 == 1
    }

    fn find(&self, word: i64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&word, |(word, _)| *word)
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
        for number in [64, 0, 1000, 63, far, 127] {
            bits.insert(number);
        }
        let all: Vec<i64> = (-10..2000).filter(|number| bits.has(*number)).collect();
        assert_eq!(all, [0, 63, 64, 127, 1000]);
        assert!(bits.has(far) && !bits.has(far + 1));
    }
}
