//! Cursors: the order and the key of the last entry of a page, opaque to the outside.

use super::{Query, Sort};
use crate::library::view::hex;

/// What entries are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Path(Vec<u8>),
    Name(Vec<u8>, i64),
    Size(u64, i64),
    Modified(i64, i64),
}

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

pub(super) fn encode(query: &Query, key: &Key) -> String {
    let tag = tag(query);
    match key {
        Key::Path(path) => format!("{tag}.{}", hex(path)),
        Key::Name(name, id) => format!("{tag}.{}.{id}", hex(name)),
        Key::Size(size, id) => format!("{tag}.{size}.{id}"),
        Key::Modified(time, id) => format!("{tag}.{time}.{id}"),
    }
}

pub(super) fn decode(query: &Query, cursor: &str) -> Option<Key> {
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
