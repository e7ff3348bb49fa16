//! The disk as it is: what the index must equal, found without a line of the code under test but
//! for the list of ignored names, which has tests of its own.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use shelfcast::glob::Selection;

/// What can be compared of one entry: size, and modification time in microseconds.
pub type Fact = (u64, i64);

/// Returns all that should be entries below `library`, by path for people. Two names that read the
/// same are both there.
pub fn entries(library: &Path) -> BTreeMap<String, Vec<Fact>> {
    let mut found = BTreeMap::new();
    let Ok(folders) = std::fs::read_dir(library) else {
        return found;
    };
    for folder in folders.flatten() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        if let Ok(fd) = rustix::fs::openat(CWD, folder.path(), flags, Mode::empty()) {
            let name = folder.file_name().into_encoded_bytes();
            walk(fd.as_fd(), &name, &[], &mut found);
        }
    }
    found
}

/// Relative to descriptors, so that no path is too long.
fn walk(fd: BorrowedFd<'_>, folder: &[u8], below: &[u8], found: &mut BTreeMap<String, Vec<Fact>>) {
    let selection = Selection::default();
    let Ok(entries) = Dir::read_from(fd) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let mut path = below.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let Ok(stat) = rustix::fs::statat(fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if selection.enters(&path) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                if let Ok(child) = rustix::fs::openat(fd, entry.file_name(), flags, Mode::empty()) {
                    walk(child.as_fd(), folder, &path, found);
                }
            }
            FileType::RegularFile if selection.is_entry(&path) => {
                let whole = [folder, b"/", &path].concat();
                let time =
                    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
                let fact = (
                    u64::try_from(stat.st_size).unwrap_or_default(),
                    i64::try_from(time / 1000).unwrap_or_default(),
                );
                let facts: &mut Vec<Fact> = found
                    .entry(String::from_utf8_lossy(&whole).into_owned())
                    .or_default();
                facts.push(fact);
                facts.sort_unstable();
            }
            _ => {}
        }
    }
}

/// Returns the entries of a list in the same form.
pub fn of_index(files: &[serde_json::Value]) -> BTreeMap<String, Vec<Fact>> {
    let mut all: BTreeMap<String, Vec<Fact>> = BTreeMap::new();
    for entry in files {
        #[expect(clippy::cast_possible_truncation, reason = "microseconds fit 63 bits")]
        let modified = (entry["modified"].as_f64().unwrap_or_default() * 1e6).round() as i64;
        let fact = (entry["size"].as_u64().unwrap_or_default(), modified);
        let facts = all
            .entry(super::files::text(entry, "path").to_owned())
            .or_default();
        facts.push(fact);
        facts.sort_unstable();
    }
    all
}

/// Says what differs, a line each; nothing if nothing does.
pub fn differences(
    disk: &BTreeMap<String, Vec<Fact>>,
    index: &BTreeMap<String, Vec<Fact>>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, facts) in disk {
        match index.get(path) {
            None => lines.push(format!("only on disk: {path:?} {facts:?}")),
            Some(other) if other != facts => {
                lines.push(format!(
                    "{path:?}: {facts:?} on disk, {other:?} in the index"
                ));
            }
            Some(_) => {}
        }
    }
    let stale = index.keys().filter(|path| !disk.contains_key(*path));
    lines.extend(stale.map(|path| format!("only in the index: {path:?}")));
    lines
}
