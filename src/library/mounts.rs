//! The table of mounts: what is mounted where, so that a disk that comes or goes below a folder is
//! noticed. inotify says nothing of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Mount points, and the numbers of the mounts that are on top there.
pub(crate) type Table = BTreeMap<PathBuf, Vec<u8>>;

/// Reads the table as this process sees it; empty where it cannot be read.
pub(crate) fn table() -> Table {
    parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// Returns the mount points at which two tables differ.
pub(crate) fn differing(before: &Table, now: &Table) -> Vec<PathBuf> {
    let points = before.keys().chain(now.keys());
    let mut differing: Vec<PathBuf> = points
        .filter(|point| before.get(*point) != now.get(*point))
        .cloned()
        .collect();
    differing.dedup(); // harmless where two of the same do not stand together
    differing
}

/// The first column is the number of the mount, the fifth its mount point (proc(5)). Of two at one
/// point the later is on top.
fn parse(text: &[u8]) -> Table {
    let mut table = Table::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut columns = line.split(|byte| *byte == b' ');
        if let (Some(number), Some(point)) = (columns.next(), columns.nth(3)) {
            let point = OsString::from_vec(unescape(point));
            table.insert(point.into(), number.to_vec());
        }
    }
    table
}

/// Blank, tab, line feed and backslash stand as `\\040` and so on.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(value.unwrap_or(*first));
        let used = if value.is_some() { 3 } else { 0 };
        rest = after.get(used..).unwrap_or_default();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_unmounted_or_on_top_differs() {
        let before = parse(
            b"22 1 8:1 / / rw - ext4 /dev/sda rw\n30 22 0:5 / /mnt/a\\040b rw - tmpfs t rw\n",
        );
        let now = parse(
            b"22 1 8:1 / / rw - ext4 /dev/sda rw\n31 22 0:6 / /mnt/a\\040b rw - tmpfs t rw\n",
        );
        assert_eq!(differing(&before, &before), [] as [PathBuf; 0]);
        assert_eq!(differing(&before, &now)[0], PathBuf::from("/mnt/a b"));
        assert_eq!(differing(&before, &Table::new()).len(), 2);
    }

    #[test]
    fn a_backslash_that_is_no_escape_stays() {
        assert_eq!(unescape(br"/odd\9"), br"/odd\9");
        assert_eq!(unescape(br"/b\134c"), br"/b\c");
    }
}
